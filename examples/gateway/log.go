package main

import (
	"io"
	"log/slog"
	"net/http"
)

// logged is the service's own access log, beside the lines that Athens writes.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			user, _, _ := r.BasicAuth()
			log.Info("access", "method", r.Method, "path", r.URL.Path, "user", user, "status", sw.status)
		}()
		next.ServeHTTP(sw, r)
	})
}

// statusWriter notes the status. Its ReadFrom keeps the kernel's way of copying
// files to sockets open, which a wrapper without it would close.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }
