// Package fetcher fetches module versions directly from git repositories. It needs
// neither git nor the go command on the machine. The .info, .mod and .zip files, the
// version lists and the answers to queries are byte for byte those that
// "GOPROXY=direct go mod download" produces from the same repository.
//
// A request goes through these steps, each in a file of its own:
//
//   - discover.go finds the repository of a module path, from the path alone or from
//     a go-import page (meta.go);
//   - refs.go lists the repository's branches and tags, once for many requests;
//   - revision.go finds the commit that a tag, a branch or a hash names, and
//     repo.go and pack.go fetch it, without its history where possible;
//   - module.go finds the module root in the commit, version.go derives the commit's
//     version, and pseudo.go checks a pseudo-version; list.go lists versions, and
//     query.go answers queries such as "latest";
//   - content.go returns the three files, and zip.go makes the zip as "git archive"
//     would.
//
// Two packages replace parts of git: internal/gitpack indexes and unpacks a pack,
// and internal/gitattr converts files as their attributes say.
//
// Each repository is cached as a bare repository in a folder, so that nothing is
// fetched twice. Several processes can share the folder.
package fetcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/pattern"
)

// Fetcher is an [athens.Fetcher] of git repositories.
//
// An [*athens.MissingError] means that a server said that something does not exist,
// or that the go command would refuse to derive a version from it. If a server can't
// be reached, fails, or asks for unknown credentials, the error is an
// [*athens.UnavailableError]: a private repository must not look as if it did not
// exist.
type Fetcher struct {
	dir      string
	opts     Options
	private  *pattern.Private // of opts.Private
	clients  map[networkPolicy]*clients
	vcsRules vcsRules
	limiter  hostLimiter
	hosts    *hostHealth
	work     *budget.Budget
	idle     idleReaders
	incoming *incoming
	stop     context.CancelFunc

	locating *flight.Calls[string, *repoLocation]
	paging   *flight.Calls[string, importPage]
	listings *flight.Calls[string, *refSet]
	fetches  *flight.Calls[string, struct{}]

	lists      *cache.Cache[string, *refSet]
	largeLists *limit.Semaphore // for large lists of references that are being read
	listUse    listUse          // for lists that questions use

	locations ttlCache[*repoLocation]
	pages     ttlCache[importPage]
	plainHTTP ttlCache[struct{}] // hosts that did not answer by https
	failures  ttlCache[struct{}] // repositories that could not be listed, and why

	warnings warnings
	newHosts newHosts

	received atomic.Int64 // bytes since the cache was last measured
	trimming sync.Mutex
	mu       sync.Mutex
	repos    map[string]*repo
}

var _ athens.Fetcher = (*Fetcher)(nil)

// New returns a Fetcher that keeps its bare repositories in dir, which it creates
// if necessary.
func New(dir string, opts *Options) (*Fetcher, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	private, err := pattern.ParsePrivate(o.Private)
	if err != nil {
		return nil, fmt.Errorf("fetcher: Private: %w", err)
	}
	rules, err := parseVCSRules(o.GOVCS)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("fetcher: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("fetcher: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &Fetcher{
		dir: dir, opts: o, private: private, stop: stop,
		hosts:      newHostHealth(o.DownTTL),
		vcsRules:   rules,
		limiter:    newHostLimiter(o.Concurrency),
		work:       budget.New(o.MaxWorkBytes, o.MaxWorkSteps),
		locating:   flight.NewCalls[string, *repoLocation](ctx),
		paging:     flight.NewCalls[string, importPage](ctx),
		listings:   flight.NewCalls[string, *refSet](ctx),
		fetches:    flight.NewCalls[string, struct{}](ctx),
		lists:      cache.New(o.RefsCacheBytes, func(key string, rs *refSet) int64 { return int64(len(key)) + rs.bytes() }),
		largeLists: limit.NewSemaphore(1),
		listUse:    newListUse(o.MaxRefsBytes, o.RefsCacheBytes, o.MaxModBytes),
		locations:  newTTLCache(ttlCacheBytes, (*repoLocation).size),
		pages:      newTTLCache(ttlCacheBytes, importPage.size),
		plainHTTP:  newTTLCache(ttlCacheBytes, noBytes),
		failures:   newTTLCache(ttlCacheBytes, noBytes),
		repos:      make(map[string]*repo),
	}
	f.clients = newClients(&o, f.hosts)
	f.incoming = &incoming{limit: o.MaxCacheBytes, trim: func() { f.trim(nil) }}
	f.sweep()
	return f, nil
}

// Close cancels running requests and closes open files. Later requests fail.
func (f *Fetcher) Close() error {
	f.stop()
	for _, r := range f.clients {
		r.pages.CloseIdleConnections()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropRepos()
	return nil
}

// Versions implements [athens.Fetcher].
func (f *Fetcher) Versions(ctx context.Context, path string) ([]string, error) {
	return ask(ctx, f, path, "", (*codeRepo).versions, func(ctx context.Context, g *goproxy) ([]string, error) {
		return g.versions(ctx)
	})
}

// Resolve implements [athens.Fetcher]. Like the go command, "latest" skips versions
// that the module retracts.
func (f *Fetcher) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	return ask(ctx, f, path, query, func(s *codeRepo, ctx context.Context) (*athens.Info, error) {
		return resolve(ctx, s, path, query)
	}, func(ctx context.Context, g *goproxy) (*athens.Info, error) {
		return resolve(ctx, g, path, query)
	})
}

// Fetch implements [athens.Fetcher].
func (f *Fetcher) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	if err := module.Check(m.Path, m.Version); err != nil {
		return nil, &athens.MissingError{Path: m.Path, Query: m.Version, Err: err}
	}
	return ask(ctx, f, m.Path, m.Version, func(s *codeRepo, ctx context.Context) (athens.Content, error) {
		v, err := s.find(ctx, m.Version)
		if err != nil {
			return nil, err
		}
		if v.version != m.Version {
			return nil, notFoundf("resolves to %s", v.version)
		}
		return newContent(m, s, v), nil
	}, func(ctx context.Context, g *goproxy) (athens.Content, error) {
		return g.content(m), nil
	})
}

// ask locates the module and answers a request from its repository, or from the
// GOPROXY server that its go-import page names. Before it returns a "not found" that
// comes from old references, it lists them again.
func ask[T any](ctx context.Context, f *Fetcher, path, query string,
	git func(*codeRepo, context.Context) (T, error), proxy func(context.Context, *goproxy) (T, error)) (answer T, err error) {
	defer func() { err = toAthensError(path, query, err) }()
	if err := checkPath(path); err != nil {
		return answer, err
	}
	p, err := f.locate(ctx, path)
	if err != nil {
		return answer, err
	}
	if p.vcs == vcsMod {
		g, err := f.goproxy(p, path)
		if err != nil {
			return answer, err
		}
		return proxy(ctx, g)
	}
	if path == toolchain {
		return answer, notFoundf("toolchains are not kept in version control")
	}
	r := f.acquireRepo(p.url, p.policy)
	defer r.release()
	maxAge := f.opts.RefsTTL
	if athens.RequestInfoFrom(ctx).NoCache {
		maxAge = min(maxAge, noCacheAge)
	}
	for ; ; maxAge = f.opts.MissTTL {
		rs, err := r.refs(ctx, maxAge)
		if err != nil {
			return answer, err
		}
		answer, err = askWith(ctx, p, path, r, rs, git)
		f.repair(r, err)
		if !isNotFound(err) || time.Since(rs.fetchedAt) <= f.opts.MissTTL || maxAge == f.opts.MissTTL {
			return answer, err
		}
	}
}

// askWith asks a question of a repository with one list of its references.
func askWith[T any](ctx context.Context, p *repoLocation, path string, r *repo, rs *refSet, git func(*codeRepo, context.Context) (T, error)) (answer T, err error) {
	release, err := r.f.use(ctx, rs)
	if err != nil {
		return answer, err
	}
	defer release()
	s, err := newSource(p, path, r, rs)
	if err != nil {
		return answer, err
	}
	defer s.end()
	return git(s, ctx)
}

// noCacheAge is how old references may be for a request that must not be answered from
// the cache: such requests share only a listing that is already running.
const noCacheAge = time.Nanosecond

// toolchain is the module of Go's releases, which only GOPROXY servers have.
const toolchain = "golang.org/toolchain"

// checkPath refuses paths that no repository can contain.
func checkPath(path string) error {
	if err := module.CheckPath(path); err != nil {
		return notFound{err}
	}
	// The go command never asks for these.
	if hasPathPrefix(path, "example.net") || path == "rsc.io" {
		return notFoundf("it is not kept in version control")
	}
	return nil
}
