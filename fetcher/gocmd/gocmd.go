// Package gocmd fetches module versions by running an installed go command, which
// runs the tools of the version control systems: git, hg, svn, bzr and fossil.
// It is for repositories that package fetcher can't read. Its answers are the go
// command's own, but it is much slower, and it needs those tools on the machine.
// [fetcher.First] combines the two.
//
// A request goes through these steps, each in a file of its own:
//
//   - check.go refuses paths and queries that a tool could misinterpret;
//   - folder.go creates a temporary folder, in which the command has an empty module
//     cache, so that no answer depends on old files;
//   - env.go sets the command's environment: it has this process's home,
//     netrc, ssh agent and proxies, but GOPROXY=direct, GOTOOLCHAIN=local,
//     GOENV=off and no checksum database, which the server checks itself;
//   - ask.go runs the queries, and repeats them if a refusal may be an outage;
//   - run.go runs the command, with limits on time, disk, output and number;
//   - classify.go distinguishes a definite "no" from an outage by the command's error
//     text, and sanitize.go makes the text fit to be shown;
//   - content.go returns the three files.
//
// # Limitations
//
// For Subversion, the go command says "unknown revision" even if the server
// does not answer. Such a refusal is accepted only if it is repeated and the server
// answers another query in between. The same holds for an
// empty list from any system. A refusal that can't be confirmed is an outage.
//
// The go command connects to the hosts that paths and go-import pages name, private
// addresses included. Where it must not, as on a public registry, restrict its
// network.
//
// A module whose go.mod needs a newer Go than the installed one is refused with an
// [*athens.InvalidError], which is final: retrying does not help until the operator
// installs a newer go command.
package gocmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/pattern"
)

// Fetcher is an [athens.Fetcher] that runs a go command.
//
// It classifies failures by the go command's error texts. An [*athens.MissingError] is
// a text that can have no other meaning. An [*athens.InvalidError] means that the
// version's files don't form a valid module, or need a newer go command. An
// [*athens.BlockedError] means that GOVCS does not allow the version control system. All
// other failures are an [*athens.UnavailableError]: a server that is
// down, unknown credentials, a tool that is not installed.
type Fetcher struct {
	opts    Options
	private *pattern.Private // of opts.Private
	program string
	env     []string
	slots   chan struct{} // one for each running command
	stop    context.CancelCauseFunc

	lists   *flight.Calls[request, []string]
	queries *flight.Calls[request, *athens.Info]
	fetches *flight.Calls[request, *version]
	zips    *flight.Calls[*version, string]

	mu       sync.Mutex
	closed   bool
	cached   map[module.Version]*version
	removing sync.WaitGroup
}

var _ athens.Fetcher = (*Fetcher)(nil)

// errClosed is the error of requests after [Fetcher.Close].
var errClosed = errors.New("the fetcher is closed")

// startLimit bounds the check whether there is a go command.
const startLimit = 30 * time.Second

// New returns a Fetcher. It fails if there is no working go command.
func New(opts *Options) (*Fetcher, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	private, err := pattern.ParsePrivate(o.Private)
	if err != nil {
		return nil, fmt.Errorf("gocmd: Private: %w", err)
	}
	program, err := exec.LookPath(o.Go)
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return nil, fmt.Errorf("gocmd: find the go command: %w", err)
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("gocmd: %w", err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	f := &Fetcher{
		opts: o, private: private, program: program, env: environ(&o), stop: stop,
		slots:   make(chan struct{}, o.Concurrency),
		lists:   flight.NewCalls[request, []string](ctx),
		queries: flight.NewCalls[request, *athens.Info](ctx),
		fetches: flight.NewCalls[request, *version](ctx),
		zips:    flight.NewCalls[*version, string](ctx),
		cached:  make(map[module.Version]*version),
	}
	f.sweep()
	if err := f.try(ctx); err != nil {
		stop(err)
		return nil, fmt.Errorf("gocmd: try %s: %w", program, err)
	}
	return f, nil
}

// try checks that the program is a go command and that folders can be created.
func (f *Fetcher) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	dir, err := f.newFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stdout, stderr, err := f.execute(ctx, dir, []string{"env", "GOVERSION"})
	if err != nil {
		return fmt.Errorf("%w: %s", err, sanitize(string(stderr), dir))
	}
	if words := string(stdout); !strings.HasPrefix(words, "go") && !strings.HasPrefix(words, "devel") {
		return fmt.Errorf("it is not a go command: its version is %q; Options.Go names the command", sanitize(words, dir))
	}
	return nil
}

// Close kills running commands and removes all temporary folders. Later requests
// fail.
func (f *Fetcher) Close() error {
	f.stop(errClosed)
	f.lists.Wait()
	f.queries.Wait()
	f.fetches.Wait()
	f.zips.Wait()
	f.mu.Lock()
	for _, v := range f.cached {
		f.retire(v)
	}
	f.closed = true
	f.mu.Unlock()
	f.removing.Wait()
	return nil
}

// request identifies what several callers may ask at the same time.
type request struct {
	module  module.Version
	private bool
}

// request returns what a caller asks about m.
func (f *Fetcher) requestFor(ctx context.Context, m module.Version) request {
	if private := athens.RequestInfoFrom(ctx).Private; private != nil {
		return request{m, *private}
	}
	return request{m, f.private.Match(m.Path)}
}

// context returns a context for the go command that answers q.
func (q request) context(ctx context.Context) context.Context {
	return athens.RequestInfo{Private: &q.private}.Context(ctx)
}

// Versions implements [athens.Fetcher]. As in the list of any GOPROXY server, retracted
// versions are included.
func (f *Fetcher) Versions(ctx context.Context, path string) ([]string, error) {
	if err := checkPath(path, ""); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	q := f.requestFor(ctx, module.Version{Path: path})
	list, err := f.lists.Do(ctx, q, func(ctx context.Context) ([]string, error) { return f.list(q.context(ctx), path) })
	return slices.Clone(list), f.toAthensError(ctx, path, err)
}

// Resolve implements [athens.Fetcher]. A query is a version, a prefix of one, a
// tag, a branch, a commit or "latest". It may contain only letters, digits and . _ + / -,
// because some tools have expression languages for revisions.
func (f *Fetcher) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	if err := checkQuery(path, query); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	m := module.Version{Path: path, Version: query}
	q := f.requestFor(ctx, m)
	info, err := f.queries.Do(ctx, q, func(ctx context.Context) (*athens.Info, error) { return f.resolve(q.context(ctx), m) })
	if err != nil {
		return nil, f.toAthensError(ctx, path, err)
	}
	return clone(info), nil
}

// Fetch implements [athens.Fetcher]. It gets the .info and .mod; the zip is created
// when it is requested.
func (f *Fetcher) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	if err := checkVersion(m); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	v, err := f.version(ctx, m)
	if err != nil {
		return nil, f.toAthensError(ctx, m.Path, err)
	}
	return &content{f, v}, nil
}

// toAthensError turns an error that is not one of package athens into an outage. The
// cancellation of the caller's context is not an error of the source.
func (f *Fetcher) toAthensError(ctx context.Context, path string, err error) error {
	var (
		missing *athens.MissingError
		invalid *athens.InvalidError
		blocked *athens.BlockedError
		down    *athens.UnavailableError
	)
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &missing), errors.As(err, &invalid),
		errors.As(err, &blocked), errors.As(err, &down):
		return err
	}
	return &athens.UnavailableError{Source: "version control of " + path, Err: err}
}

func clone(info *athens.Info) *athens.Info {
	c := *info
	if c.Origin != nil {
		origin := *c.Origin
		c.Origin = &origin
	}
	return &c
}
