package athens

import (
	"context"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/pattern"
)

// Route says where a module comes from and whether it may be served. The zero
// Route is public and not blocked. Package redirect/rules makes routes from a rules
// file.
type Route struct {
	// Private modules are fetched from version control only: the Upstream
	// never hears of them. What Options.Private matches is private as well.
	Private bool
	// Blocked is why the version may not be served, shown to the user; empty
	// if it may. Its .mod and .info are served all the same, because module
	// graphs mention versions that nobody selects, and its .zip is not.
	Blocked string
}

// route asks Options.Private and Options.Route. An empty version means the module
// as a whole. The error is of a kind that makes no go command ask elsewhere.
func (h *Handler) route(ctx context.Context, m module.Version) (r Route, err error) {
	if h.opts.Route != nil {
		r, err = h.opts.Route(ctx, m)
		switch outermost(err).(type) {
		case *BlockedError, *UnavailableError:
			return r, err
		}
		if err != nil {
			return r, &UnavailableError{Source: "the routing policy", Err: err}
		}
	}
	r.Private = r.Private || h.opts.Private.Match(m.Path)
	return r, nil
}

// mentionsPrivate reports whether a text that is no module path names a private
// one.
func (h *Handler) mentionsPrivate(ctx context.Context, text string) (bool, error) {
	for _, path := range pattern.Mentions(text) {
		if r, err := h.route(ctx, module.Version{Path: path}); r.Private || err != nil {
			return r.Private, err
		}
	}
	return false, nil
}

// source is where what is not held comes from.
type source struct {
	Fetcher
	Route
	name string // for errors and logs
	vcs  bool   // version control: stored before it is answered, and whole
}

// host is what is silent when a question about a module is not answered: the
// upstream, or the host that the module is on.
func (s source) host(path string) string {
	if !s.vcs {
		return s.name
	}
	host, _, _ := strings.Cut(path, "/")
	return s.name + " of " + host
}

// sourceOf returns where a module of that route comes from: an Upstream for what
// is public, otherwise version control.
func (h *Handler) sourceOf(m module.Version, route Route) (source, error) {
	switch {
	case h.opts.Upstream != nil && !route.Private:
		return source{h.opts.Upstream, route, SourceUpstream, false}, nil
	case h.opts.Fetcher != nil:
		return source{h.opts.Fetcher, route, SourceVCS, true}, nil
	case route.Private && h.opts.Upstream != nil:
		// Not a 404: a go command would then take the private path outside.
		return source{}, &UnavailableError{Source: "version control", Err: errNoFetcher}
	}
	return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errNoSource}
}
