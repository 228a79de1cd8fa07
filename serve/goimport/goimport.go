// Package goimport tells go commands that the modules of a host come from this server. A go
// command that uses no proxy looks for a module by a request with "?go-get=1" to the host in
// its path, and this package answers that request. So "go get corp.example/x" works with a
// default environment, if this server answers for corp.example.
//
//	pages, err := goimport.New("corp.example", nil)
//	…
//	root := pages.Front(tokens.Require(serve.Front(handler, health, page)))
//
// The answer is a page with a go-import tag of kind mod, which names the module and the URL
// of this server. For a package, the tag names the module with the longest path that
// contains it. To find that module, the pages ask the handler behind them for lists of
// versions. The handler also decides who may know: if it answers 401 or 403, so do the
// pages.
//
// When this server looks for a repository itself, it may find its own page. That is not a
// loop: a module that it does not hold, and that only its own page could locate, is "not
// found".
package goimport

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/captured"
	"github.com/athens-go/athens/internal/pattern"
	"github.com/athens-go/athens/internal/protocol"
)

const (
	maxElements = 16          // of an import path that is looked at
	maxText     = 4 << 10     // bytes that are kept of an answer
	askTimeout  = time.Minute // for all questions about one path
)

// Options configures [Pages]. The zero value is that of a server at the root of its hosts.
type Options struct {
	// URL is where go commands reach this server, such as https://corp.example. If it is
	// empty, it is the host of the request, by https if the request came over TLS or has
	// X-Forwarded-Proto: https, and otherwise by http.
	URL string
	// Prefix is the path below which the server is mounted, such as /go: the module
	// corp.example/go/x is then asked for as /x. Empty means at the root.
	Prefix string
}

// Pages answers the questions. Make one with [New].
type Pages struct {
	serves pattern.Index
	opts   Options
}

// New returns the pages for the module paths that the patterns match, which have GOPRIVATE's
// syntax. A nil opts means the zero [Options].
func New(patterns string, opts *Options) (*Pages, error) {
	globs, err := pattern.Parse(patterns)
	if err != nil {
		return nil, fmt.Errorf("goimport: bad %w", err)
	}
	if len(globs) == 0 {
		return nil, errors.New("goimport: New needs the patterns of the module paths to answer for, such as corp.example")
	}
	p := &Pages{}
	p.serves.Add(0, globs)
	if opts != nil {
		p.opts = *opts
	}
	p.opts.Prefix = strings.TrimSuffix(p.opts.Prefix, "/")
	if p.opts.Prefix != "" && module.CheckImportPath("host.test"+p.opts.Prefix) != nil {
		return nil, fmt.Errorf("goimport: the prefix %q is not a path such as /go", p.opts.Prefix)
	}
	if p.opts.URL == "" {
		return p, nil
	}
	u, err := url.Parse(p.opts.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(p.opts.URL, " \t\r\n\"'<>") {
		return nil, errors.New("goimport: URL is malformed; give one such as https://corp.example, without a login or a query")
	}
	p.opts.URL = strings.TrimSuffix(p.opts.URL, "/")
	return p, nil
}

// Front returns a handler that answers questions about the paths of New, and passes all other
// requests on to next. It also asks next which modules there are, by the GOPROXY protocol and
// with the login of the request: next checks logins and limits.
//
// X-Forwarded-Host and X-Forwarded-Proto count, so put it behind what removes them from
// requests that did not come from a trusted proxy, such as serve.Proxies.
func (p *Pages) Front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.RawQuery == "" || r.URL.Query().Get("go-get") != "1" {
			next.ServeHTTP(w, r)
			return
		}
		host, name := hostOf(r)
		asked := name + p.opts.Prefix + strings.TrimSuffix(r.URL.Path, "/")
		if !p.matches(asked) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		root, refused := p.find(next, r, asked)
		if refused != nil {
			refuse(w, refused)
			return
		}
		base := p.opts.URL
		if base == "" {
			base = scheme(r) + "://" + host + p.opts.Prefix
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// Nothing of these needs to be escaped: a path has no such characters.
		fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head>\n<meta charset=\"utf-8\">\n<meta name=\"go-import\" content=\"%s mod %s\">\n</head><body>go get %s</body></html>\n",
			html.EscapeString(root), html.EscapeString(base), html.EscapeString(asked))
	})
}

// matches reports whether these pages answer for an import path.
func (p *Pages) matches(asked string) bool {
	return module.CheckImportPath(asked) == nil && strings.Count(asked, "/") < maxElements && p.serves.Last(asked) > pattern.None
}

// hostOf returns the host that a request was sent to, and its name, without a port and in
// lower case, as import paths have it. What is no host has an empty name.
func hostOf(r *http.Request) (host, name string) {
	host = r.Host
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
		forwarded, _, _ = strings.Cut(forwarded, ",")
		host = strings.TrimSpace(forwarded)
	}
	host = strings.ToLower(host)
	name = host
	if before, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", ""
		}
		name = before
	}
	if module.CheckImportPath(name) != nil || strings.Contains(name, "/") {
		return "", ""
	}
	return host, name
}

// scheme returns the one by which the client asks.
func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}

// find returns the longest path above an import path, or the path itself, that is a module.
func (p *Pages) find(next http.Handler, r *http.Request, asked string) (root string, refused *captured.Answer) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	missing := &captured.Answer{Status: http.StatusNotFound, Body: []byte("no module here has the package " + asked)}
	refused = missing
	for root = asked; root != "." && p.serves.Last(root) > pattern.None; root = path.Dir(root) {
		list, err := protocol.ListPath(root)
		if err != nil || module.CheckPath(root) != nil {
			continue
		}
		a := ask(ctx, next, r, "/"+list)
		switch {
		case a.Status == http.StatusOK:
			return root, nil
		case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
			return "", a
		case a.Status == http.StatusNotFound, a.Status == http.StatusGone:
		case a.Status == http.StatusBadGateway && protocol.LoopIn(string(a.Body)) != nil: // it asks itself where the module is
		case refused == missing:
			refused = a // it is not known whether this is a module
		}
	}
	return "", refused
}

// ask asks next a question of the GOPROXY protocol, as the client of r.
func ask(ctx context.Context, next http.Handler, r *http.Request, question string) *captured.Answer {
	q := r.Clone(ctx)
	q.Method, q.Body, q.ContentLength = http.MethodGet, http.NoBody, 0
	q.URL, q.RequestURI = &url.URL{Path: question}, question
	for _, name := range []string{"Accept-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding", "Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		q.Header.Del(name)
	}
	return captured.Serve(next, q, maxText)
}

// refuse answers with a refusal of the handler.
func refuse(w http.ResponseWriter, a *captured.Answer) {
	for _, name := range []string{"Www-Authenticate", "Retry-After"} {
		for _, value := range a.Header[name] {
			w.Header().Add(name, value)
		}
	}
	http.Error(w, strings.TrimSuffix(string(a.Body), "\n"), a.Status)
}
