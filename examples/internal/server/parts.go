package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/redirect/rules"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/serve/events"
	"github.com/athens-go/athens/serve/limit"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/serve/web"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/evict"
)

// Store is where a server keeps versions.
type Store interface {
	athens.Storage
	// Writable returns why nothing can be stored now, nil if something can.
	Writable(ctx context.Context) error
}

// Parts are what every server is put together from.
type Parts struct {
	Flags   *Flags
	Store   Store
	Fills   athens.FillScheduler
	Log     *slog.Logger
	Private string // patterns of what is private, by all rules
	// Options are ready for a server without an upstream.
	Options athens.Options
	// Health answers the probes, on both addresses.
	Health *serve.Health
	// CertFile and KeyFile are for TLS; empty means plain HTTP.
	CertFile, KeyFile string
	// Grace is how long what is under way may go on when the server is told to
	// stop. Zero means 20 seconds.
	Grace time.Duration

	metrics    *metrics.Metrics // nil: no operator would see them
	handler    atomic.Pointer[athens.Handler]
	site       *web.Site               // nil: a page of text alone
	evicting   *evict.Store            // nil: the store has no bound
	upstream   string                  // for the log, without credentials
	background []func(context.Context) // what runs while Serve does
	reloads    []func() error          // what SIGHUP does
	events     *events.Feed            // nil: nobody is told of changes
	follow     bool                    // the upstream's events
	rules      *rules.File             // nil: there is no file
	tokens     *auth.File              // nil: everybody is let in
	limiter    *limit.Limiter          // nil: clients are not limited
	follower   *follow.Follower        // nil: no registry is followed
	telemetry  Telemetry               // nil: nothing is sent elsewhere
	sumdb      string                  // key of the ledger, NAME+HASH+KEY; empty if there is none
	closers    []func()                // what Serve does last
}

// Open opens what the flags name: a store on disk, version control, a fill
// queue with its journal beside the store, rules, a checksum database.
func Open(flags *Flags, log *slog.Logger) (*Parts, error) {
	dir, err := flags.StoreDir()
	if err != nil {
		return nil, err
	}
	store, err := storage.NewDisk(dir, nil)
	if err != nil {
		return nil, err
	}
	fills, err := fill.Open(filepath.Join(dir, ".fills"), &fill.Options{Workers: flags.follow.workers(), Logger: log}) // no module path can have that name
	if err != nil {
		return nil, err
	}
	p, err := OpenOn(store, fills, flags, log)
	if err != nil {
		return nil, errors.Join(err, fills.Close())
	}
	p.closes(fills)
	return p, nil
}

// OpenOn opens the rest of what the flags name, for a store and a queue that are
// there already; they stay the caller's to close.
func OpenOn(store Store, fills athens.FillScheduler, flags *Flags, log *slog.Logger) (*Parts, error) {
	p := &Parts{Flags: flags, Store: store, Fills: fills, Log: log, CertFile: flags.CertFile, KeyFile: flags.KeyFile}
	p.Options = athens.Options{Fills: fills, Private: "none", Logger: log}
	p.Health = serve.NewHealth(&serve.HealthOptions{Ready: p.ready, Logger: log})
	if err := p.openSources(); err != nil {
		p.close()
		return nil, err
	}
	flags.freshness(&p.Options)
	if flags.Ops != "" {
		p.metrics = metrics.New()
		p.metrics.Watch(&p.Options)
	}
	return p, nil
}

// openSources opens what the handler asks: rules, version control, a checksum database.
func (p *Parts) openSources() (err error) {
	if err = p.useRules(); err != nil {
		return err
	}
	if err = p.useTokens(); err != nil {
		return err
	}
	if err = p.usePublished(); err != nil {
		return err
	}
	if err = p.useLimits(); err != nil {
		return err
	}
	if p.Flags.Offline {
		p.Fills, p.Options.Fills, p.Options.Offline = nil, nil, true // what is pending stays so
		return nil
	}
	if p.Flags.follow.url != "" {
		return nil // all comes from the primary, and its ledger verifies it
	}
	if p.Options.Fetcher, err = p.versionControl(); err != nil {
		return err
	}
	sums, err := p.Flags.Checksums(p.Log)
	if err != nil {
		return err
	}
	p.Options.Checksums = sums
	p.closes(sums)
	return nil
}

// closes makes Serve close part, if it can be closed, when it ends.
func (p *Parts) closes(part any) {
	if c, ok := part.(io.Closer); ok {
		p.closers = append(p.closers, func() {
			if err := c.Close(); err != nil {
				p.Log.Warn("closing", "error", err)
			}
		})
	}
	if c, ok := part.(interface{ CloseIdleConnections() }); ok {
		p.closers = append(p.closers, c.CloseIdleConnections)
	}
}

// versionControl returns the source of what does not come from an upstream.
func (p *Parts) versionControl() (athens.Fetcher, error) {
	dir, err := p.gitDir()
	if err != nil {
		return nil, err
	}
	git, err := fetcher.New(dir, &fetcher.Options{
		Logger:        p.Log,
		MaxCacheBytes: p.Flags.CacheBytes,
		Private:       "none", // the handler says by its Route what is private
	})
	if err != nil {
		return nil, err
	}
	p.closes(git)
	if p.Flags.VCS == "git" {
		return git, nil
	}
	if p.Flags.VCS != "go" {
		return nil, fmt.Errorf("-vcs is git or go, not %q", p.Flags.VCS)
	}
	others, err := gocmd.New(&gocmd.Options{Private: "none", Logger: p.Log})
	if err != nil {
		return nil, err
	}
	p.closes(others)
	return fetcher.First(git, others), nil
}

// Close ends the parts of a program that does not Serve.
func (p *Parts) Close() { p.close() }

// close ends the parts, the last one first.
func (p *Parts) close() {
	for _, end := range slices.Backward(p.closers) {
		end()
	}
}

// UseUpstream sets the upstream that -upstream, whose value is given, names.
func (p *Parts) UseUpstream(value string) error {
	if p.Flags.Offline {
		return nil
	}
	url, err := p.Flags.Upstream(value)
	if err != nil {
		return err
	}
	if url == Off {
		if p.Flags.upstreamFrom != "" {
			p.Log.Warn("no upstream: GOPROXY names no server other than this one; all modules come from version control (-upstream)")
		}
		return nil
	}
	up, err := redirect.New(url, &redirect.Options{Logger: p.Log, Header: p.upstreamHeader()})
	if err != nil {
		return err
	}
	p.Options.Upstream, p.upstream = up, up.String()
	p.closes(up)
	return nil
}
