// Package web shows in a browser what a server of modules holds and does.
//
//	site, err := web.New(store, &web.Options{Name: "our Go modules"})
//	site.Watch(&options)                        // before NewHandler
//	handler, err := athens.NewHandler(store, &options)
//	go site.Run(ctx)
//	err = serve.Run(ctx, handler, &serve.Options{Page: site})
//
// A [Site] answers / and everything below /-/, which no module path begins with:
//
//	/                       how to use the server, search, traffic, what came lately and what fails
//	/-/m/PATH[@VERSION]     a module: README, versions, requirements and who has them, files
//	/-/f/PATH@VERSION/FILE  one file of a version
//	/-/d/PATH@OLD..NEW      what changed between two versions
//	/-/fills                what is fetched in the background, what failed, and why
//	/-/policy               the rules in force, what they blocked, and which cooldowns end
//	/-/ledger               the head of the ledger, and a version's record with its proof
//	/-/store                which hosts and modules take how much room
//
// The pages are HTML from html/template with one stylesheet. They need no script to be read;
// a small one updates numbers and searches while the reader types. A strict
// Content-Security-Policy keeps whatever a module contains from running, and from loading
// anything from elsewhere.
//
// Who sees what: without [Options].Allow everybody sees public modules, and nobody sees
// private ones. With it, a reader sees the modules that it lets through, in lists, search,
// counts and requirements alike.
//
// Bounds: the index has at most about 200 bytes for each version, lists are cut into
// pages, and each file, README and comparison has a limit of bytes and steps.
package web

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/limit"
)

//go:embed pages/*.html assets/*
var files embed.FS

// Options configures a [Site]. With the zero Options it shows all public modules.
type Options struct {
	// What is served

	// Name is what the pages call the server. Empty means "Go modules".
	Name string
	// URL is the address that clients use, for a server behind something that
	// changes it. Empty means the one that the request came to.
	URL string
	// SumDB is the key of the checksum database that knows all modules of the server,
	// NAME+HASH+KEY: that of its ledger. Empty means that clients verify by their own.
	SumDB string

	// Policy

	// CurrentPrivate returns the patterns of the private modules, in GOPRIVATE's syntax, beside
	// what the Route of the handler calls private; empty means no path. It is called again
	// and again, since a reload of rules can change them. If it is nil, Private of the
	// options given to [Site.Watch] is used, and if that is empty, GOPRIVATE and GONOPROXY
	// of the environment.
	CurrentPrivate func() string
	// NoSumDB has GOPRIVATE's syntax: modules that everybody may see, but that no public
	// checksum database knows, since they are published here. The line that clients paste
	// has them beside the private ones. Empty means none.
	NoSumDB string
	// Allow decides whether a reader may see a module; m.Version is empty. If it is nil,
	// that of the options given to [Site.Watch] is used; if that is nil too, readers see
	// public modules and no private ones.
	Allow func(r *http.Request, m module.Version) error
	// AllowAll reports whether a reader may see everything: all modules, totals with the
	// private ones in them, and errors in full. If it is nil, no reader may.
	AllowAll func(r *http.Request) bool

	// Rules returns the lines of the policy in force, which are shown to readers who may
	// see everything. If it is nil, the page says only what was blocked.
	Rules func() []Rule
	// Following says how far a server is that follows another, for the page of the ledger.
	// If it is nil, the server follows none.
	Following func() Following
	// FollowedBy returns the servers that follow this one, for the page of the ledger; readers
	// who may not see everything are shown their number. If it is nil, nothing is shown of
	// them.
	FollowedBy func() []Follower
	// Stats returns the counts of the handler, see [athens.Handler.Stats]. If it is nil,
	// none are shown.
	Stats func() athens.Stats
	// Evictions returns what a store with a bound has evicted, which is shown to readers who
	// may see everything. If it is nil, nothing is shown of it.
	Evictions func() Evictions

	// Limits

	// MaxMeasured is of how many modules Run reads the sizes and requirements, with one
	// or two calls of the store for each version. Zero means 20,000; a negative value
	// means none.
	MaxMeasured int
	// RebuildInterval is how often Run walks over the store again, for what other
	// processes stored or removed. Zero means an hour; a negative value means never.
	RebuildInterval time.Duration

	// StateFile keeps the traffic of the last day, the growth of the store, failures and
	// what was blocked over a restart. It is written every 10 minutes in which something
	// happened and at the end, and has at most a few hundred kilobytes. Where several
	// processes show one store, each has a file of its own. Its folder is made if the folder
	// that it is in exists. Empty means that all of it is kept in memory alone.
	StateFile string

	// Reports

	// Logger gets a line when the index is built, and when a page fails. If it is nil,
	// nothing is logged.
	Logger *slog.Logger
}

// Site is the pages. Make one with [New]; its methods may be called from many goroutines
// at once.
type Site struct {
	opts     Options
	storage  athens.Storage
	lister   athens.Lister // nil: the store can't list everything
	index    *index
	activity *activity
	pages    *template.Template
	static   map[string]asset
	readmes  *cache.Cache[module.Version, template.HTML]
	heavy    *limit.Semaphore // for what takes a lot of a processor or memory
	kinds    *privacy
	wake     chan struct{}    // versions wait for Run
	streams  *limit.Semaphore // for browsers that watch
	ended    chan struct{}    // closed when Run ends
	end      func()           // closes it

	saved   int64 // events when StateFile was written; only Run has it
	unsaved bool  // it could not be written
	seeding seed  // what measure finds is of days before; nil: not wanted

	watched atomic.Pointer[athens.Options]
	mu      sync.Mutex
	newest  []module.Version // stored since Run looked
}

// How much the pages do at once, and keep.
const (
	heavyAtOnce  = 4
	readmeBytes  = 16 << 20
	maxWaiting   = 10_000 // versions that wait for Run
	buildTimeout = time.Hour
)

// New returns the pages over a store. A nil opts means the zero [Options].
func New(storage athens.Storage, opts *Options) (*Site, error) {
	if storage == nil {
		return nil, errors.New("web: New needs a Storage")
	}
	s := &Site{storage: storage, index: newIndex(), activity: newActivity(), heavy: limit.NewSemaphore(heavyAtOnce), wake: make(chan struct{}, 1)}
	if opts != nil {
		s.opts = *opts
	}
	s.streams, s.ended = limit.NewSemaphore(maxStreams), make(chan struct{})
	s.end = sync.OnceFunc(func() { close(s.ended) })
	s.lister, _ = storage.(athens.Lister)
	o := &s.opts
	o.Name = cmp.Or(o.Name, "Go modules")
	o.MaxMeasured = cmp.Or(o.MaxMeasured, 20_000)
	o.RebuildInterval = cmp.Or(o.RebuildInterval, time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s.kinds = newPrivacy(s)
	s.readmes = cache.New(readmeBytes, func(m module.Version, html template.HTML) int64 {
		return int64(len(m.Path) + len(m.Version) + len(html))
	})
	s.watched.Store(&athens.Options{})
	if err := s.kinds.use(s.privateList()); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	var err error
	if s.pages, err = template.New("").Funcs(functions()).ParseFS(files, "pages/*.html"); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	s.static, err = readAssets(assets)
	return s, err
}

// Watch lets the site see what a handler with these options does, and takes over their
// Private, Route, Allow, Ledger and Fills, where its own options have none. It is called
// before [athens.NewHandler], and before Run.
func (s *Site) Watch(o *athens.Options) {
	observe := o.Observe
	o.Observe = func(e athens.Event) {
		s.observe(&e)
		if observe != nil {
			observe(e)
		}
	}
	watched := *o
	s.watched.Store(&watched)
	_ = s.kinds.use(s.privateList()) // NewHandler refuses malformed ones
}

// observe notes an event. It is on the way of each request.
func (s *Site) observe(e *athens.Event) {
	private := e.Module.Path != "" && s.kinds.private(e.Module.Path)
	s.activity.note(e, private)
	if e.Op == athens.OpPut && e.Outcome == athens.OutcomeDone {
		s.noteStored(e.Module)
	}
}

// noteStored leaves a version to Run.
func (s *Site) noteStored(m module.Version) {
	s.mu.Lock()
	if len(s.newest) < maxWaiting {
		s.newest = append(s.newest, m)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run builds the index and keeps it, until ctx is done. Until it has walked over the
// store once, lists and search have what was stored meanwhile; the page of a module is
// complete at any time.
func (s *Site) Run(ctx context.Context) {
	defer s.end() // or browsers that watch would keep a server from stopping
	s.load()
	defer s.save()
	s.rebuild(ctx)
	s.sample()
	due := time.Now().Add(saveInterval)
	var again <-chan time.Time
	if s.opts.RebuildInterval > 0 {
		ticker := time.NewTicker(s.opts.RebuildInterval)
		defer ticker.Stop()
		again = ticker.C
	}
	tidy := time.NewTicker(time.Minute)
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again:
			s.rebuild(ctx)
		case <-s.wake:
			s.measureNewest(ctx)
		case <-tidy.C:
			s.index.merge(false)
			due = s.keep(due)
		}
	}
}
