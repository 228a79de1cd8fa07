package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
)

// ops answers for operators: /healthz is 200 while the process lives, /readyz
// while the store can be written and ctx is not done, /fills tells what is pending, running, done
// and failed.
func ops(ctx context.Context, store Store, fills Fills, handler *athens.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			writeText(w, http.StatusServiceUnavailable, "stopping\n")
			return
		}
		if err := store.Writable(r.Context()); err != nil {
			writeText(w, http.StatusServiceUnavailable, "the store can't be written: "+err.Error()+"\n")
			return
		}
		writeText(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /fills", func(w http.ResponseWriter, r *http.Request) {
		status, err := fills.Status(r.Context())
		if err != nil {
			writeText(w, http.StatusServiceUnavailable, "the queue can't be asked: "+err.Error()+"\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(struct { // a client that has gone is no concern
			fill.Status
			athens.Stats
		}{status, handler.Stats()})
	})
	return mux
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that has gone is no concern
}
