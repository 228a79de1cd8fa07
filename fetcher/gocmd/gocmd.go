// Package gocmd gets module versions by asking an installed go command, which
// asks the tools of the version control systems: git, hg, svn, bzr and fossil.
// It is for what package fetcher can't read, and its answers are the go
// command's own; it is much slower, and it needs those tools on the machine.
// Package fetcher's First puts the two together.
//
// A question goes through these steps, each in a file of its own:
//
//   - check.go refuses paths and queries that a tool could take for something
//     else;
//   - folder.go makes a temporary folder, in which the command finds a module
//     cache of its own, so that nothing old is part of an answer;
//   - env.go says what the command sees of this process's environment: home,
//     netrc, ssh agent and proxies, but GOPROXY=direct, GOTOOLCHAIN=local,
//     GOENV=off and no checksum database, for the server checks by itself;
//   - ask.go asks, and asks again where a refusal may be an outage;
//   - run.go runs the command, with limits of time, disk, output and number;
//   - judge.go tells a definite "no" from an outage by the command's words,
//     and words.go makes them fit to be shown;
//   - content.go gives the three files out.
//
// # What it can't promise
//
// The go command says "unknown revision" of Subversion also when the server
// does not answer. Such a refusal is believed only when the question gets it
// twice and the server answers another one in between; the same holds for an
// empty list of any system. What can't be told apart is an outage.
//
// The go command connects to where paths and go-import pages send it, private
// addresses included: whoever must not let it, as on a public registry, keeps
// it in a network of its own.
//
// A module whose go.mod demands a newer Go than the installed one is an outage:
// a newer go command will fetch it.
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
)

// Fetcher is an [athens.Fetcher] that asks a go command.
//
// Missing is what the go command says in words that have no other meaning. All
// else that it fails with is an [*athens.UnavailableError]: a server that is
// down, credentials that are not known, a tool that is not installed, a version
// control system that GOVCS does not allow. A version whose files make no valid
// zip is an [*athens.InvalidError].
type Fetcher struct {
	opts    Options
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

// errClosed is what questions fail with after [Fetcher.Close].
var errClosed = errors.New("the fetcher is closed")

// startLimit bounds the question whether there is a go command.
const startLimit = 30 * time.Second

// New returns a Fetcher. It fails if there is no go command that works.
func New(opts *Options) (*Fetcher, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
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
		opts: o, program: program, env: environ(&o), stop: stop,
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

// try finds out whether the program is a go command, and can write its folders.
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
		return fmt.Errorf("it is no go command: its version is %q", sanitize(words, dir))
	}
	return nil
}

// Close ends the commands that run, and removes all temporary folders. After it,
// questions fail.
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

// request is what several callers may ask at the same time.
type request struct {
	module  module.Version
	private bool
}

// request returns what a caller asks about m.
func (f *Fetcher) requestFor(ctx context.Context, m module.Version) request {
	private, known := athens.IsPrivate(ctx)
	if !known {
		private = f.opts.Private.Match(m.Path)
	}
	return request{m, private}
}

// context returns a context for a go command that answers q.
func (q request) context(ctx context.Context) context.Context {
	return athens.WithPrivate(ctx, q.private)
}

// Versions implements [athens.Fetcher]. Retracted versions are among them, as in
// the list of any GOPROXY server.
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
// tag, a branch, a commit or "latest": of letters, digits and . _ + / - only,
// because some tools have languages of their own for revisions.
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

// Fetch implements [athens.Fetcher]. It gets the .info and .mod; the zip is made
// when it is asked for.
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

// toAthensError makes an outage of an error that is none of the contract's. That the
// caller does not wait any longer is no error of the source.
func (f *Fetcher) toAthensError(ctx context.Context, path string, err error) error {
	var (
		missing *athens.MissingError
		invalid *athens.InvalidError
		down    *athens.UnavailableError
	)
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &missing), errors.As(err, &invalid), errors.As(err, &down):
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
