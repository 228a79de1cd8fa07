package athens

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

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
	// Until says of a Blocked version that it is only too young, and when it may be
	// served. Its .info is then refused as its .zip is, so that nobody selects it.
	// The zero time means that the version stays blocked.
	Until time.Time
}

// refusal returns why m may not be served, nil if it may.
func (r Route) refusal(m module.Version) error {
	if r.Blocked == "" {
		return nil
	}
	return &BlockedError{Path: m.Path, Version: m.Version, Reason: r.Blocked, Until: r.Until}
}

// route asks Options.Private and Options.Route. An empty version means the module
// as a whole. The error is of a kind that makes no go command ask elsewhere.
func (h *Handler) route(ctx context.Context, m module.Version) (r Route, err error) {
	if h.opts.Route != nil {
		r, err = h.opts.Route(ctx, m)
	}
	r.Private = r.Private || h.opts.Private.Match(m.Path)
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

// source is where what is not held comes from.
type source struct {
	Fetcher
	Route
	name string // for errors and logs
	vcs  bool   // version control: stored before it is answered, and whole

	parent any // RequestInfo.TraceParent of the request or fill that needs it first
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
func (h *Handler) sourceOf(ctx context.Context, m module.Version, route Route) (source, error) {
	parent := RequestInfoFrom(ctx).TraceParent
	switch {
	case h.opts.Offline:
		return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errOffline}
	case h.opts.Upstream != nil && !route.Private:
		return source{h.opts.Upstream, route, SourceUpstream, false, parent}, nil
	case h.opts.Fetcher != nil:
		return source{h.opts.Fetcher, route, SourceVCS, true, parent}, nil
	case route.Private && h.opts.Upstream != nil:
		// Not a 404: a go command would then take the private path outside.
		return source{}, &UnavailableError{Source: "version control", Err: errNoFetcher}
	}
	return source{}, &MissingError{Path: m.Path, Query: m.Version, Err: errNoSource}
}

// maxServers is how many servers may ask one another before it counts as a
// loop.
const maxServers = 10

// chain returns the servers like this one that a question came through. Other
// kinds of proxies name themselves in Via headers, too, and do not count.
func (h *Handler) chain(header http.Header) (string, error) {
	values := header.Values("Via")
	if len(values) == 0 {
		return "", nil
	}
	var servers []string
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if _, name, ok := strings.Cut(strings.TrimSpace(entry), " "); ok && isServer(name) {
			servers = append(servers, "1.1 "+name)
			if name == h.id || len(servers) > maxServers {
				return "", &LoopError{Via: strings.Join(servers, ", ")}
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

// RequestInfo is what a [Handler] tells the [Fetcher] or [Upstream] that it calls about
// the request behind the call. It travels in the context of the call.
type RequestInfo struct {
	// Private says whether the module path is private. If it is nil, no handler has
	// decided that, and a Fetcher decides by its own options.
	Private *bool
	// NoCache asks for an answer that is not from memory: a client sent Cache-Control:
	// no-cache, or [Handler.Refresh] was called. A Fetcher that remembers answers then
	// asks its source, and an Upstream passes the directive on.
	NoCache bool
	// Via is the Via header for requests to other servers: the servers that the request
	// came through, this one last. An Upstream sends it, so that a server that reads its
	// own name answers with a [*LoopError].
	Via string
	// TraceParent is a value of a tracing library that middleware has put into the
	// context of a client's request, or of a fill. Fetches are shared: they outlive the
	// request that needs them first, and get nothing else from its context. A hook such
	// as [Options].Trace reads it.
	TraceParent any
}

type requestInfoKey struct{}

// RequestInfoFrom returns the info that ctx carries; it is zero if there is none.
func RequestInfoFrom(ctx context.Context) RequestInfo {
	info, _ := ctx.Value(requestInfoKey{}).(RequestInfo)
	return info
}

// Context returns a context that carries i in place of any other info.
func (i RequestInfo) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestInfoKey{}, i)
}

// onward returns the context for calls of src, with this server added to chain.
func (h *Handler) onward(ctx context.Context, src source, chain string) context.Context {
	if chain != "" {
		chain += ", "
	}
	info := RequestInfoFrom(ctx)
	info.Private, info.Via = new(src.Private), chain+"1.1 "+h.id
	if src.parent != nil {
		info.TraceParent = src.parent
	}
	return info.Context(ctx)
}

// Patterns is a list of module path patterns with the syntax of GOPRIVATE. It
// matches a path in every spelling: upper or lower case, escapes, a port or a dot
// behind the host, endings such as ".git" and ".v2". A nil *Patterns matches
// nothing, as the zero Patterns does. It does not change.
type Patterns struct {
	list []string
	set  pattern.Set
}

// ParsePatterns reads a list as in GOPRIVATE: glob patterns of path prefixes,
// separated by commas. The error names the first pattern that is malformed.
func ParsePatterns(list string) (*Patterns, error) {
	globs, err := pattern.Parse(list)
	if err != nil {
		return nil, fmt.Errorf("athens: %w", err)
	}
	p := &Patterns{list: globs}
	p.set.Add(0, globs)
	return p, nil
}

// EnvPatterns returns the patterns of GOPRIVATE and GONOPROXY: those of the
// process's environment, or, for a variable that is not set there, those that
// "go env -w" has written. It does not need a go command. A value of "none"
// is no pattern.
func EnvPatterns() (*Patterns, error) {
	file := sync.OnceValue(goEnvFile)
	var lists []string
	for _, name := range []string{"GOPRIVATE", "GONOPROXY"} {
		value := os.Getenv(name)
		if value == "" {
			value = file()[name]
		}
		if value != "none" {
			lists = append(lists, value)
		}
	}
	p, err := ParsePatterns(strings.Join(lists, ","))
	if err != nil {
		return nil, fmt.Errorf("GOPRIVATE or GONOPROXY of the environment: %w", err)
	}
	return p, nil
}

// goEnvFile reads the go command's configuration file (see "go help env"). One
// that can't be read has nothing, as for the go command.
func goEnvFile() map[string]string {
	name := os.Getenv("GOENV")
	if name == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil
		}
		name = filepath.Join(dir, "go", "env")
	}
	if name == "off" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	vars := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// Match reports whether a module path is covered by one of the patterns.
func (p *Patterns) Match(path string) bool {
	return p != nil && p.set.Last(path) > pattern.None
}

// String returns the patterns as a list for GOPRIVATE or GONOSUMDB, each once.
func (p *Patterns) String() string {
	if p == nil {
		return ""
	}
	var once []string
	seen := make(map[string]bool)
	for _, g := range p.list {
		if !seen[g] {
			seen[g] = true
			once = append(once, g)
		}
	}
	return strings.Join(once, ",")
}
