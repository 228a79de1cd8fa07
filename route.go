package athens

import (
	"context"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/pattern"
	"github.com/athens-go/athens/internal/protocol"
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
	// Until says of a Blocked version that it is only too young, and when it may be
	// served. Its .info is then refused as its .zip is, so that nobody selects it.
	// The zero time means that the version stays blocked.
	Until time.Time
	// From is where a public module comes from, in this order, in place of
	// Options.Upstream. Requests to checksum databases go to Options.Upstream all the
	// same. If it is empty, the module comes from Options.Upstream, and without one from
	// Options.Fetcher. A private module comes from Options.Fetcher whatever From says.
	From []Source
	// Advisory is what is known against a version that is served all the same, such as a
	// vulnerability. It is in the log line and the [Event] of each request for a file of
	// that version. Empty means nothing.
	Advisory string
}

// refusal returns why m may not be served; nil means that it may.
func (r Route) refusal(m module.Version) error {
	if r.Blocked == "" {
		return nil
	}
	return &BlockedError{Path: m.Path, Version: m.Version, Reason: r.Blocked, Until: r.Until}
}

// route asks Options.Private and Options.Route. An empty version means the module
// as a whole. It returns errors of kinds that keep a go command from asking elsewhere.
func (h *Handler) route(ctx context.Context, m module.Version) (r Route, err error) {
	if h.opts.Route != nil {
		r, err = h.opts.Route(ctx, m)
	}
	r.Private = r.Private || h.private.Match(m.Path)
	switch outermost(err).(type) {
	case *BlockedError, *UnavailableError:
		return r, err
	}
	if err != nil {
		return r, &UnavailableError{Source: "the routing policy", Err: err}
	}
	return r, nil
}

// mentionsPrivate reports whether a text that is no module path names a private
// one.
func (h *Handler) mentionsPrivate(ctx context.Context, text string) (bool, error) {
	for _, path := range pattern.Mentions(text) {
		r, err := h.route(ctx, module.Version{Path: path})
		if _, blocked := outermost(err).(*BlockedError); blocked {
			err = nil // it may be no path at all
		}
		if r.Private || err != nil {
			return r.Private, err
		}
	}
	return false, nil
}

// sourceOf returns where a module with that route comes from. A public module comes from
// the sources that its route names, otherwise from the Upstream, if there is one. All
// others come from version control.
func (h *Handler) sourceOf(ctx context.Context, m module.Version, route Route) (source, error) {
	parent := RequestInfoFrom(ctx).TraceParent
	switch {
	case h.published.has(m.Path):
		return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errUnpublished}
	case h.opts.Offline:
		return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errOffline}
	case len(route.From) > 0 && !route.Private:
		return h.opts.sourceFrom(route, parent), nil
	case h.opts.Upstream != nil && !route.Private:
		return source{Fetcher: h.opts.Upstream, Route: route, name: SourceUpstream, parent: parent, location: h.opts.Upstream}, nil
	case h.opts.Fetcher != nil:
		return source{Fetcher: h.opts.Fetcher, Route: route, name: SourceVCS, vcs: true, parent: parent}, nil
	case route.Private && h.opts.Upstream != nil:
		// Not a 404: a go command would then take the private path outside.
		return source{}, &UnavailableError{Source: "version control", Err: errNoFetcher}
	}
	return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errNoSource}
}

// FromUpstream reports whether a version comes from the Upstream: it is not private, and Route
// names no other source for it. The Upstream has a say on no other.
func (h *Handler) FromUpstream(ctx context.Context, m module.Version) bool {
	route, err := h.route(ctx, m)
	return err == nil && h.opts.Upstream != nil && !route.Private && len(route.From) == 0
}

// serverName is the name of one Handler in Via headers.
type serverName string

// maxServers is how many servers may ask one another before it counts as a
// loop.
const maxServers = 10

// chain returns the servers like this one that a question came through. Other
// kinds of proxies name themselves in Via headers, too, and do not count.
func (n serverName) chain(header http.Header) (string, error) {
	values := header.Values("Via")
	if len(values) == 0 {
		return "", nil
	}
	var servers []string
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if _, name, ok := strings.Cut(strings.TrimSpace(entry), " "); ok && isServer(name) {
			servers = append(servers, "1.1 "+name)
			if name == string(n) || len(servers) > maxServers {
				return "", &InvalidError{Err: &protocol.LoopError{Via: strings.Join(servers, ", ")}}
			}
		}
	}
	return strings.Join(servers, ", "), nil
}

// isServer reports whether a name in a Via header is one that NewHandler gives.
func isServer(name string) bool {
	id, ok := strings.CutPrefix(name, "athens-")
	return ok && len(id) == 26 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// RequestInfo says what is known of a request, in a context. Middleware tells a [Handler]
// something, in the context of a request, and a Handler tells the [Fetcher] or [Upstream]
// that it calls about the request behind the call.
type RequestInfo struct {
	// Private says whether the module path is private. If it is nil, no handler has
	// decided that, and a Fetcher decides by its own options.
	Private *bool
	// NoCache asks for an answer that is not from memory: a client sent Cache-Control:
	// no-cache, or [Handler.Refresh] was called. A Fetcher that remembers answers then
	// asks its source, and an Upstream passes the directive on.
	NoCache bool
	// Via is the Via header for requests to other servers: the servers that the request
	// came through, this one last. An Upstream sends it, so that a server that finds its
	// own name there answers that the servers ask each other in a loop.
	Via string
	// TraceParent is a value of a tracing library that middleware has put into the
	// context of a client's request, or of a fill. Fetches are shared: they outlive the
	// request that needs them first, and get nothing else from its context. A hook such
	// as [Options].Trace reads it.
	TraceParent any
	// User is who asks: middleware that has checked a login says so for the log and for
	// [Options].Observe. It decides nothing here; package serve/limit goes by it. A
	// Fetcher or Upstream is not told, since several requests share its work.
	User string
}

type requestInfoKey struct{}

// RequestInfoFrom returns the info that ctx carries; it is zero if there is none.
func RequestInfoFrom(ctx context.Context) RequestInfo {
	if info, ok := ctx.Value(requestInfoKey{}).(*RequestInfo); ok {
		return *info
	}
	return RequestInfo{}
}

// Context returns a context that carries i in place of any other info.
func (i RequestInfo) Context(ctx context.Context) context.Context {
	return &infoContext{ctx, i}
}

// infoContext is a context with a RequestInfo, in one allocation.
type infoContext struct {
	context.Context
	info RequestInfo
}

func (c *infoContext) Value(key any) any {
	if key == (requestInfoKey{}) {
		return &c.info
	}
	return c.Context.Value(key)
}

// onward returns the context for calls of src, with this server added to chain.
func (n serverName) onward(ctx context.Context, src source, chain string) context.Context {
	if chain != "" {
		chain += ", "
	}
	info := RequestInfoFrom(ctx)
	info.Private, info.Via, info.User = new(src.Private), chain+"1.1 "+string(n), ""
	if src.parent != nil {
		info.TraceParent = src.parent
	}
	return info.Context(ctx)
}
