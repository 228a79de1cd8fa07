// Package captured keeps the answer of an [http.Handler] in memory, for code that asks a
// handler of the same process: [Serve] calls the handler and returns an [Answer].
package captured

import (
	"bytes"
	"net/http"
)

// Answer is what a handler has answered.
type Answer struct {
	Status    int // 200 if the handler has set none
	Header    http.Header
	Body      []byte
	Truncated bool // Body is only the beginning
}

// Serve calls a handler and keeps at most that many bytes of the body. The handler can
// write a longer body to its end: if a write failed, it would look as if the client had
// left or the store had failed. A panic of the handler is the caller's.
func Serve(h http.Handler, r *http.Request, maxBytes int) *Answer {
	w := &writer{header: http.Header{}, max: maxBytes}
	h.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	return &Answer{Status: w.status, Header: w.header, Body: w.body.Bytes(), Truncated: w.truncated}
}

type writer struct {
	header    http.Header
	status    int
	body      bytes.Buffer
	max       int
	truncated bool
}

// Header implements [http.ResponseWriter].
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter]. A status such as 103 is no answer yet.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

// Write implements [http.ResponseWriter].
func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	kept := min(len(p), w.max-w.body.Len())
	w.truncated = w.truncated || kept < len(p)
	w.body.Write(p[:kept])
	return len(p), nil
}
