package athens

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens/internal/protocol"
)

// serveList answers @v/list: the source's versions without what is blocked, or the
// held ones while the source can't be asked.
func (x *exchange) serveList() error {
	versions, err := x.list()
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, v := range versions {
		b.WriteString(v)
		b.WriteByte('\n')
	}
	return x.serveAnswer("text/plain; charset=utf-8", x.maxAge(), []byte(b.String()))
}

// list returns the versions that may be listed. A held version that its source no longer
// lists is not among them: clients that pin it still get it, and no query chooses it.
func (x *exchange) list() ([]string, error) {
	path := x.req.Module.Path
	if x.route.Blocked != "" {
		x.outcome = OutcomeBlocked
		return nil, nil // an error would end a "go list -m -u all" of a graph that mentions the module
	}
	held := sync.OnceValues(x.held)
	versions, err := x.sourceList(func() bool { versions, err := held(); return err == nil && len(versions) > 0 })
	if err != nil {
		if refused(err) {
			return nil, err
		}
		known, heldErr := held()
		if heldErr != nil {
			return nil, heldErr
		}
		if len(known) == 0 {
			return nil, err
		}
		versions, x.source, x.outcome = known, SourceStore, OutcomeHeld
	}
	all := slices.Clone(versions)
	semver.Sort(all)
	listed := slices.DeleteFunc(slices.Compact(all), func(v string) bool {
		return !protocol.Canonical(module.Version{Path: path, Version: v}) || module.IsPseudoVersion(v) || x.mayNotServe(v)
	})
	return listed, x.policy
}

// held returns the versions of the module that the store holds.
func (x *exchange) held() ([]string, error) {
	versions, err := x.h.storage.Versions(x.r.Context(), x.req.Module.Path)
	if err != nil {
		return nil, &storeError{err}
	}
	return x.h.completeOnly(x.r.Context(), x.req.Module.Path, versions)
}

// blocked returns why a version of the module may not be served: the policy forbids it,
// or failed.
func (x *exchange) blocked(version string) error {
	m := module.Version{Path: x.req.Module.Path, Version: version}
	route, err := x.h.route(x.r.Context(), m)
	if err == nil {
		err = route.refusal(m)
	}
	return err
}

// mayNotServe reports whether a version is unlisted, and keeps a failure of the policy or
// of the store's marks in x.policy.
func (x *exchange) mayNotServe(version string) bool {
	err := x.unlisted(version)
	if _, blocked := outermost(err).(*BlockedError); err != nil && !blocked {
		x.policy = err
	}
	return err != nil
}

// serveLatest answers @latest. If the version that the source names is blocked, the
// answer is the highest one that is not.
func (x *exchange) serveLatest() error {
	if x.route.Blocked != "" {
		return x.serveNoUpgrade(x.route.Blocked)
	}
	held := sync.OnceValues(x.held)
	choose := func(versions []string) string {
		retracted := x.retractions(versions, false)
		return highest(versions, func(v string) bool { return !retracted.Include(v) && !x.mayNotServe(v) })
	}
	info, err := x.resolve(OpLatest, "latest", func() bool { versions, err := held(); return err == nil && choose(versions) != "" })
	if err != nil {
		if refused(err) || x.noneFits(err) {
			return err
		}
		versions, heldErr := held()
		if heldErr != nil {
			return heldErr
		}
		best := choose(versions)
		if x.policy != nil {
			return x.policy
		}
		if best == "" {
			return err
		}
		return x.serveVersion(best, nil)
	}
	if err := x.unlisted(info.Version); err != nil {
		if blocked, ok := outermost(err).(*BlockedError); ok {
			return x.serveHighestLeft(info.Version, "", blocked)
		}
		return err
	}
	return x.serveVersion(info.Version, info)
}

// serveHighestLeft answers @latest when the latest version is blocked or taken back, or a
// query for a prefix when the latest version with that prefix is taken back or too young.
// It chooses none of the versions that a blocked latest one retracts.
func (x *exchange) serveHighestLeft(latest, prefix string, blocked *BlockedError) error {
	listed, err := x.list()
	if err != nil {
		return err
	}
	mark, err := x.takenBack(latest)
	if err != nil {
		return err
	}
	say := slices.Clone(listed) // what says which are retracted
	if mark == nil {
		say = append(say, latest)
	}
	retracted := x.retractions(say, true)
	best := highest(listed, func(v string) bool { return strings.HasPrefix(v, prefix) && !retracted.Include(v) })
	switch {
	case best != "":
		return x.serveVersion(best, nil)
	case mark != nil && mark.Removed, !blocked.Until.IsZero(): // the lowest version is too young as well
		return blocked
	case mark != nil:
		return &MissingError{Path: x.req.Module.Path, Query: x.req.Module.Version, Err: fmt.Errorf("what it means is hidden: %s", mark.Reason)}
	}
	return x.serveNoUpgrade(blocked.Reason)
}

// serveNoUpgrade answers @latest of a module all of whose versions are blocked, with the
// lowest version, which is an upgrade for no client. An error would end a "go list -m -u
// all" of a graph that mentions the module, and after a 404 a client would ask elsewhere.
// The .zip of that version is refused with the reason.
func (x *exchange) serveNoUpgrade(reason string) error {
	blocked := &BlockedError{Path: x.req.Module.Path, Version: "latest", Reason: reason}
	versions, err := x.sourceList(nil)
	if err != nil || len(versions) == 0 {
		if versions, err = x.held(); err != nil {
			return err
		}
	}
	lowest := ""
	for _, v := range versions {
		if protocol.Canonical(module.Version{Path: x.req.Module.Path, Version: v}) && (lowest == "" || semver.Compare(v, lowest) < 0) {
			lowest = v
		}
	}
	var info *Info
	if lowest == "" { // no tags: a pseudo-version
		if info, err = x.resolve(OpLatest, "latest", nil); err != nil {
			return blocked
		}
		lowest = info.Version
	}
	err = x.serveVersion(lowest, info)
	if _, missing := outermost(err).(*MissingError); missing {
		return blocked
	}
	return err
}

// serveQuery answers for a branch, a commit, a prefix, …
func (x *exchange) serveQuery() error {
	m := x.req.Module
	if x.route.Blocked != "" {
		return &BlockedError{Path: m.Path, Version: m.Version, Reason: x.route.Blocked}
	}
	if !x.route.Private {
		private, err := x.h.mentionsPrivate(x.r.Context(), m.Version)
		if err != nil {
			return err
		}
		if private {
			return &BlockedError{Path: m.Path, Version: m.Version, Reason: "a version query must not name a private path"}
		}
	}
	held := sync.OnceValues(x.held)
	info, err := x.resolve(OpQuery, m.Version, func() bool { versions, err := held(); return err == nil && x.heldFor(versions) != "" })
	var version string
	if err == nil {
		version = info.Version
	} else {
		if refused(err) || x.noneFits(err) {
			return err
		}
		versions, heldErr := held()
		if heldErr != nil {
			return heldErr
		}
		if version = x.heldFor(versions); version == "" {
			return err
		}
	}
	err = x.blocked(version)
	mark, marksErr := x.takenBack(version)
	if err == nil && mark != nil && (mark.Removed || isPrefix(m.Version)) {
		err = mark // a commit or a branch that leads to a hidden version pins it
	}
	if err = cmp.Or(err, marksErr); err != nil {
		if blocked, ok := outermost(err).(*BlockedError); ok && (!blocked.Until.IsZero() || mark != nil) && isPrefix(m.Version) {
			return x.serveHighestLeft(version, m.Version+".", blocked)
		}
		return err
	}
	return x.serveVersion(version, info)
}

// serveVersion answers a query with the version that it means. A held .info takes
// precedence over info, the source's answer, except for its Origin: that says what the
// choice of the version depended on. Info may be nil if the version is held or can be
// fetched.
func (x *exchange) serveVersion(version string, info *Info) error {
	m := module.Version{Path: x.req.Module.Path, Version: version}
	if info != nil {
		body, err := x.heldInfo(m, info)
		if err != nil {
			return err
		}
		if body != nil {
			sum := sha256.Sum256(body)
			tag := `"` + hex.EncodeToString(sum[:12]) + `"`
			return x.serveContent(contentTypes[InfoFile], x.maxAge(), tag, time.Time{}, bytes.NewReader(body), int64(len(body)))
		}
	}
	if held, err := x.serveHeld(m, InfoFile, x.maxAge()); held || err != nil {
		return err
	}
	if info == nil {
		src, err := x.h.sourceOf(x.r.Context(), m, x.route)
		if err != nil {
			return err
		}
		x.source, x.outcome = src.name, OutcomeFetch
		a := x.ask(src, question{OpQuery, m.Path, version}, nil, func(ctx context.Context) (answer, error) {
			ctx = x.h.server.onward(ctx, src, x.chainTo(src))
			content, err := src.Fetch(ctx, m)
			if err != nil {
				return answer{}, err
			}
			info, err := x.h.keeper.getInfo(ctx, src, content, m)
			return answer{info: info}, err
		})
		if err := a.failure(); err != nil {
			return err
		}
		info = a.info
	}
	body, err := info.Encode()
	if err != nil {
		return fmt.Errorf("encode .info: %w", err)
	}
	return x.serveAnswer(contentTypes[InfoFile], x.maxAge(), body)
}

// serveAnswer answers with something that is not stored.
func (x *exchange) serveAnswer(contentType, cacheControl string, body []byte) error {
	if x.outcome == "" {
		x.outcome = OutcomeFetch
	}
	return x.serveContent(contentType, cacheControl, "", time.Time{}, bytes.NewReader(body), int64(len(body)))
}

// maxAge is the Cache-Control of answers that change.
func (x *exchange) maxAge() string {
	return "max-age=" + strconv.Itoa(int(x.h.opts.ListTTL.Seconds()))
}

// highest returns the version that "latest" means among versions: the highest release,
// otherwise the highest pre-release, otherwise the highest pseudo-version. It leaves out
// versions for which ok returns false; ok may be nil.
func highest(versions []string, ok func(string) bool) string {
	best, bestRank := "", -1
	for _, v := range versions {
		rank := 2
		switch {
		case module.IsPseudoVersion(v):
			rank = 0
		case semver.Prerelease(v) != "":
			rank = 1
		}
		if (rank > bestRank || rank == bestRank && semver.Compare(v, best) > 0) && (ok == nil || ok(v)) {
			best, bestRank = v, rank
		}
	}
	return best
}

// heldFor returns the held version that the query means, or "". Only a version prefix or
// a commit can be resolved without the source.
func (x *exchange) heldFor(held []string) string {
	query := x.req.Module.Version
	if isPrefix(query) {
		retracted := x.retractions(held, false)
		return highest(held, func(v string) bool { return strings.HasPrefix(v, query+".") && !retracted.Include(v) })
	}
	const short = 12 // digits of a commit in a pseudo-version
	if len(query) < short || strings.Trim(query, "0123456789abcdef") != "" {
		return ""
	}
	return highest(held, func(v string) bool {
		rev, err := module.PseudoVersionRev(v)
		return err == nil && rev == query[:short]
	})
}

// isPrefix reports whether a query is a version prefix: v1 or v1.2.
func isPrefix(query string) bool {
	return semver.IsValid(query) && strings.Count(query, ".") < 2 && !strings.ContainsAny(query, "-+")
}

// heldInfo returns the held .info of a version with the Origin of info, the source's
// answer to a query. That Origin names the branch, tag or list of tags that the answer
// depends on; the held one does not. It returns nil if the version is not held, if the two
// contradict each other, or if an upstream leaves the Origin out.
func (x *exchange) heldInfo(m module.Version, info *Info) ([]byte, error) {
	src, err := x.h.sourceOf(x.r.Context(), m, x.route)
	if err != nil || info.Origin == nil && !src.vcs {
		return nil, err
	}
	data, err := x.h.keeper.read(x.r.Context(), m, InfoFile, maxInfo)
	if err != nil {
		return nil, nil // it is not held, or serveHeld reports the store's failure
	}
	var (
		held   Info
		fields map[string]json.RawMessage // including fields that this package does not know
	)
	if json.Unmarshal(data, &held) != nil || json.Unmarshal(data, &fields) != nil {
		return nil, nil // serveHeld serves it as it is
	}
	if a, b := compareInfos(&held, info, src.vcs); a != "" || b != "" {
		return nil, nil
	}
	delete(fields, "Origin")
	if info.Origin != nil {
		if fields["Origin"], err = json.Marshal(info.Origin); err != nil {
			return nil, fmt.Errorf("encode .info: %w", err)
		}
	}
	if data, err = json.Marshal(fields); err != nil {
		return nil, fmt.Errorf("encode .info: %w", err)
	}
	return data, nil
}
