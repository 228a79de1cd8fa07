package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/serve/metrics"
)

// OpsOptions configures [NewOps]. With its zero value there is nothing to check and
// there are no fills.
type OpsOptions struct {
	// Health decides /readyz. If it is nil, the service is always ready.
	Health *Health
	// Fills is the FillScheduler of the handler. Its Status, with or without a
	// context, is what /fills shows. If it is nil or has none, /fills shows the
	// handler's counts alone.
	Fills athens.FillScheduler
	// Metrics answer /metrics. If they are nil, there is no such page.
	Metrics *metrics.Metrics
	// Followers answers /followers: the servers that follow this one, and how far each is. If
	// it is nil, there is no such page.
	Followers http.Handler
}

// NewOps returns the pages for operators: /healthz and /readyz as a [Health] has them,
// but checked anew for each request and with the reason in the body; and /fills, JSON of
// what is pending, running, done and failed, with the handler's counts; /metrics, text for
// Prometheus; /followers; and /debug/pprof/, profiles for "go tool pprof". It has no login, names
// private modules and shows memory: serve it on an address that clients don't reach. A nil opts
// means the zero [OpsOptions].
func NewOps(handler *athens.Handler, opts *OpsOptions) http.Handler {
	var o OpsOptions
	if opts != nil {
		o = *opts
	}
	if o.Health == nil {
		o.Health = NewHealth(nil)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		switch err := o.Health.ready(r.Context(), 0); {
		case err == nil:
			writeText(w, http.StatusOK, "ok\n")
		case errors.Is(err, errStopping):
			writeText(w, http.StatusServiceUnavailable, "stopping\n")
		default:
			writeText(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
		}
	})
	mux.HandleFunc("GET /fills", func(w http.ResponseWriter, r *http.Request) {
		status, err := fillStatus(r.Context(), o.Fills)
		if err != nil {
			writeText(w, http.StatusServiceUnavailable, "the fill queue can't be asked: "+err.Error()+"\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(struct { // the client may have gone
			*fill.Status
			athens.Stats
		}{status, handler.Stats()})
	})
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	if o.Followers != nil {
		mux.Handle("GET /followers", o.Followers)
	}
	mux.Handle("GET /debug/pprof/", http.StripPrefix("/debug/pprof/", http.HandlerFunc(serveProfile)))
	return mux
}

// fillStatus asks a FillScheduler that can tell what it has; nil if it can't.
func fillStatus(ctx context.Context, fills athens.FillScheduler) (*fill.Status, error) {
	switch f := fills.(type) {
	case interface{ Status() fill.Status }:
		s := f.Status()
		return &s, nil
	case interface {
		Status(ctx context.Context) (fill.Status, error)
	}:
		s, err := f.Status(ctx)
		return &s, err
	}
	return nil, nil
}
