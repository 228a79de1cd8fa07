package serve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/athens-go/athens/internal/protocol"
)

// How readiness is checked.
const (
	readyInterval = time.Second      // clients that ask more often get the last result
	readyTimeout  = 10 * time.Second // a check that takes longer has failed
)

// errStopping is the reason why a stopping service is not ready.
var errStopping = errors.New("stopping")

// Health answers health probes: GET /healthz is 200 while the process lives; GET /readyz is
// 200 while the service should get requests, and 503 otherwise. Clients may reach it: the body of
// /readyz does not say what is wrong (the log does), and the check runs at most once a second.
type Health struct {
	opts     HealthOptions
	stopping atomic.Bool
	unready  atomic.Bool // so the log said

	turn    chan struct{} // held while a check runs
	checked time.Time     // when the last check ended; zero: never
	result  error         // of the last check
}

// HealthOptions configures a [Health]. Its zero value is ready until [Health.Stop].
type HealthOptions struct {
	// Ready returns why the service should get no requests now. It is called by one
	// goroutine at a time, with a context that ends after 10 seconds. If it is nil,
	// the service is ready.
	Ready func(ctx context.Context) error
	// Logger receives a warning when the service becomes unready, with the reason,
	// and a line when it is ready again. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// NewHealth returns a Health. A nil opts means the zero [HealthOptions].
func NewHealth(opts *HealthOptions) *Health {
	h := &Health{turn: make(chan struct{}, 1)}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Logger == nil {
		h.opts.Logger = slog.New(slog.DiscardHandler)
	}
	return h
}

// Stop makes the service unready for good. [Run] calls it when it begins to drain.
func (h *Health) Stop() { h.stopping.Store(true) }

// Ready returns why the service should get no requests now, nil if it should. A check
// that ended less than a second ago is not repeated.
func (h *Health) Ready(ctx context.Context) error { return h.ready(ctx, readyInterval) }

// ready is Ready with a result that is younger than maxAge.
func (h *Health) ready(ctx context.Context, maxAge time.Duration) error {
	if h.stopping.Load() {
		return errStopping
	}
	if h.opts.Ready == nil {
		return nil
	}
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.turn }()
	if !h.checked.IsZero() && time.Since(h.checked) < maxAge {
		return h.result
	}
	// The result is for others too: a client that leaves must not make it a failure.
	check, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	h.result = h.opts.Ready(check)
	h.checked = time.Now()
	if failed := h.result != nil; h.unready.Swap(failed) != failed {
		if failed {
			h.opts.Logger.Warn("not ready", "error", h.result)
		} else {
			h.opts.Logger.Info("ready again")
		}
	}
	return h.result
}

// ServeHTTP answers GET and HEAD of /healthz and /readyz, and 404 for other paths.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !protocol.IsProbe(r) {
		http.NotFound(w, r)
		return
	}
	if r.URL.Path == "/healthz" {
		writeText(w, http.StatusOK, "ok\n")
		return
	}
	switch err := h.Ready(r.Context()); {
	case err == nil:
		writeText(w, http.StatusOK, "ok\n")
	case errors.Is(err, errStopping):
		writeText(w, http.StatusServiceUnavailable, "stopping\n")
	default:
		writeText(w, http.StatusServiceUnavailable, "not ready: the server's log says why\n")
	}
}

// writeText answers with a short text that is not cached.
func writeText(w http.ResponseWriter, status int, text string) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client may have gone
}
