package athens

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/pattern"
	"github.com/athens-go/athens/internal/prefetch"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/quota"
)

// Handler serves the GOPROXY protocol. Make one with [NewHandler]. It expects
// the module path to start right after the URL's leading slash; mount it
// elsewhere with [http.StripPrefix].
type Handler struct {
	storage Storage
	opts    Options
	private *pattern.Private // of opts.Private
	server  serverName

	published *published // of opts.Published

	keeper     *keeper
	fetches    *fetches
	answers    *answers
	sums       *sumDBs     // nil: the store keeps nothing of checksum databases
	book       *ledgerBook // nil: there is no ledger
	adoption   *adoption   // nil: there is no ledger
	fills      *scheduling
	pseudo     *quota.Quota                 // of pseudo-versions
	scheduled  *cache.Cache[Fill, struct{}] // fills that Options.AllowFetch was asked about lately
	background *background
	prefetch   *prefetch.Prefetcher // nil: nothing is prefetched

	ctx     context.Context // of all work that requests share
	cancel  context.CancelFunc
	damaged atomic.Uint64
	lines   sync.Pool // of *[]slog.Attr, for the lines of requests
}

// recentBytes bounds the memory for the versions that were fetched lately, and that for
// the fills that were scheduled lately.
const recentBytes = 2 << 20

// NewHandler returns a handler that serves what storage holds and gets the rest
// as opts says; nil means the zero [Options].
func NewHandler(storage Storage, opts *Options) (*Handler, error) {
	if storage == nil {
		return nil, errors.New("athens: NewHandler needs a Storage")
	}
	if err := noNilPointers(map[string]any{"Storage": storage}); err != nil {
		return nil, err
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	private, err := pattern.ParsePrivate(o.Private)
	if err != nil {
		return nil, fmt.Errorf("athens: Private: %w", err)
	}
	published, err := newPublished(o.Published)
	if err != nil {
		return nil, fmt.Errorf("athens: Published: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Handler{
		storage:    storage,
		opts:       o,
		private:    private,
		published:  published,
		server:     serverName("athens-" + strings.ToLower(rand.Text())),
		answers:    newAnswers(ctx, &o),
		fills:      newScheduling(ctx, &o),
		pseudo:     quota.New(o.MaxPseudoVersions),
		scheduled:  cache.New(recentBytes, func(f Fill, _ struct{}) int64 { return int64(len(f.Module.Path) + len(f.Module.Version)) }),
		background: newBackground(ctx, o.MaxDetached),
		ctx:        ctx,
		cancel:     cancel,
	}
	h.keeper = newKeeper(&h.opts, storage)
	h.fetches = newFetches(ctx, h)
	if h.sums, err = newSumDBs(ctx, storage, &h.opts, h.answers); err != nil {
		return nil, err
	}
	if h.sums != nil {
		h.sums.upstream, h.sums.alarm = h.askSumDB, func() { h.keeper.conflicts.Add(1) }
	}
	if o.Prefetch > 0 {
		h.prefetch = prefetch.New(o.Prefetch, h.prefetchFile, h.readMod)
		h.fetches.prefetch = h.prefetch
	}
	if h.book, err = newLedgerBook(o.Ledger); err != nil {
		return nil, err
	}
	h.keeper.book = h.book
	h.adoption = newAdoption(ctx, h.keeper)
	return h, nil
}

// Stats counts what an operator should know of. All counts start at zero with
// the process.
type Stats struct {
	// Conflicts is how often a source offered other content for a version
	// than what is held, or a checksum database contradicted itself.
	Conflicts uint64 `json:"conflicts"`
	// DroppedFills is how many fills the scheduler did not take, or was too
	// slow for.
	DroppedFills uint64 `json:"dropped_fills"`
	// Damaged is how often a version was found damaged in the store, see
	// [Rechecker].
	Damaged uint64 `json:"damaged"`
	// LedgerRecords is how many records the ledger has, as far as this handler has
	// seen; zero if there is no ledger.
	LedgerRecords int64 `json:"ledger_records,omitempty"`
}

// Stats returns the counts so far.
func (h *Handler) Stats() Stats {
	return Stats{Conflicts: h.keeper.conflicts.Load(), DroppedFills: h.fills.dropped.Load(), Damaged: h.damaged.Load(), LedgerRecords: h.book.records()}
}

// cutWait is how long Shutdown waits for fetches that it has canceled, in case a store
// or source ignores its context.
const cutWait = 5 * time.Second

// Shutdown waits for running fetches. When ctx is done it cancels them, waits at most 5
// seconds more, and returns ctx's error. Call it after the server and the FillScheduler
// have stopped: a later request for a version that is not held is answered with 503.
func (h *Handler) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.fills.calls.Wait()
		h.prefetch.Stop()
		h.background.jobs.Wait() // each kind of work may still want the next
		h.fetches.zips.Wait()
		h.fetches.metas.Wait()
		h.sums.wait()
		h.adoption.wait()
		h.answers.calls.Wait()
	}()
	defer h.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		h.cancel()
		timer := time.NewTimer(cutWait)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			h.opts.Logger.Error("fetches are still running after they were canceled")
		}
		return ctx.Err()
	}
}

// ServeHTTP answers one request of the protocol.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	x := &exchange{h: h, w: recorder{ResponseWriter: w, request: r, start: now, patience: h.opts.WriteTimeout}, r: r, start: now}
	defer x.observe()
	x.expectBody()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
	x.w.settle()
}

// exchange is one request and what becomes of it.
type exchange struct {
	h     *Handler
	w     recorder
	r     *http.Request
	start time.Time

	req     protocol.Request
	route   Route
	chain   string                                  // of servers that the question came through
	policy  error                                   // why Options.Route, or the store's marks, could not be asked about a version
	marks   func() (map[string]BlockedError, error) // of the module, see Remover; nil before the first use
	outcome string                                  // OutcomeHeld, …
	source  string                                  // SourceStore, …

	mayCost    bool   // Options.AllowFetch was asked and agreed
	remembered bool   // the source's answer came from memory
	failure    string // for the client and the log
	err        error  // what failure describes
}

// serve answers the request, or returns the error to answer with.
func (x *exchange) serve() error {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.w.Header().Set("Allow", "GET, HEAD")
		return &requestError{http.StatusMethodNotAllowed, errors.New("only GET and HEAD are allowed")}
	}
	if strings.Contains(strings.ToLower(x.r.URL.RawPath), "%2f") {
		return &requestError{http.StatusBadRequest, errors.New("malformed path: encoded slash")}
	}
	path := strings.TrimPrefix(x.r.URL.Path, "/")
	if path == "index" {
		if err := x.allow(module.Version{}); err != nil {
			return err
		}
		return x.serveIndex()
	}
	req, err := protocol.Parse(path)
	x.req = req
	switch {
	case errors.Is(err, protocol.ErrUnknown):
		return &requestError{http.StatusNotFound, fmt.Errorf("%w: %+.120q", err, path)}
	case errors.Is(err, protocol.ErrVersion):
		return &requestError{http.StatusNotFound, err}
	case errors.Is(err, protocol.ErrTooLong):
		return &requestError{http.StatusRequestURITooLong, err}
	case err != nil:
		return &requestError{http.StatusBadRequest, err}
	}
	if err := x.allow(req.Module); err != nil {
		return err
	}
	if x.chain, err = x.h.server.chain(x.r.Header); err != nil {
		return err
	}
	if x.route, err = x.h.route(x.r.Context(), routed(req)); err != nil {
		return err
	}
	switch req.Kind {
	case protocol.List:
		return x.serveList()
	case protocol.Latest:
		return x.serveLatest()
	case protocol.Query:
		return x.serveQuery()
	case protocol.SumDB:
		return x.serveSumDB()
	}
	return x.serveFile()
}

// allow asks Options.Allow.
func (x *exchange) allow(m module.Version) error {
	if x.h.opts.Allow == nil {
		return nil
	}
	return refusedRequest(x.h.opts.Allow(x.r, m))
}

// routed is what Options.Route is asked about for a request: a query is not
// known to be any version yet.
func routed(req protocol.Request) module.Version {
	if req.Kind == protocol.Query {
		return module.Version{Path: req.Module.Path}
	}
	return req.Module
}
