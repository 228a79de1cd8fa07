package athens

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

type noCacheKey struct{}

// WithNoCache returns a context for questions that must not be answered from memory: a
// client asked for that with Cache-Control: no-cache, or [Handler.Refresh] was called.
func WithNoCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCacheKey{}, true)
}

// NoCache reports whether ctx is one of [WithNoCache]. A [Fetcher] that remembers
// answers then asks its source, and an [Upstream] passes the wish on.
func NoCache(ctx context.Context) bool {
	noCache, _ := ctx.Value(noCacheKey{}).(bool)
	return noCache
}

// noCache reports whether a request asks for no remembered answer, as RFC 9111 has it.
func noCache(header http.Header) bool {
	values, old := header["Cache-Control"], header["Pragma"]
	if len(values) == 0 {
		return len(old) > 0 && strings.Contains(strings.ToLower(strings.Join(old, ",")), "no-cache")
	}
	for directive := range strings.SplitSeq(strings.Join(values, ","), ",") {
		switch strings.ToLower(strings.ReplaceAll(directive, " ", "")) {
		case "no-cache", "no-store", "max-age=0":
			return true
		}
	}
	return false
}

// Refresh forgets what sources said about a module: the next question for its list,
// @latest or a query asks its source, and what was not found is looked for again. What
// is held stays. While the source can't be asked, its last answers still serve.
func (h *Handler) Refresh(path string) {
	h.answers.put(question{op: "refresh", path: path}, answer{at: time.Now()})
}

// refreshed reports whether Refresh was called for a module since at.
func (as *answers) refreshed(path string, at time.Time) bool {
	called := as.get(question{op: "refresh", path: path})
	return called.good() && !called.at.Before(at)
}

// contradicted reports whether a "not found" of that time is out of date: the module
// was refreshed since, or a newer answer names what was missing.
func (as *answers) contradicted(q question, at time.Time) bool {
	if as.refreshed(q.path, at) {
		return true
	}
	list := as.get(question{op: OpList, path: q.path})
	if !list.usable() || !list.at.After(at) {
		return false
	}
	switch {
	case q.op == OpLatest:
		return len(list.versions) > 0
	case q.op == OpQuery && isPrefix(q.query):
		return slices.ContainsFunc(list.versions, func(v string) bool { return strings.HasPrefix(v, q.query+".") })
	}
	return q.query != "" && slices.Contains(list.versions, q.query)
}

// named drops every "not found" that an answer of @latest or a query has contradicted.
// For lists, contradicted looks the other way round: a list names many versions.
func (as *answers) named(path string, a answer) {
	if a.info == nil {
		return
	}
	m := module.Version{Path: path, Version: a.info.Version}
	for _, q := range []question{
		{op: OpList, path: path}, {OpLatest, path, "latest"}, {OpQuery, path, m.Version},
		fileQuestion(m, InfoFile), fileQuestion(m, ModFile), fileQuestion(m, ZipFile),
	} {
		if as.get(q).missing != nil {
			as.known.Delete(q)
		}
	}
}
