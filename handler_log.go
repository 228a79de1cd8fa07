package athens

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
)

// recorder notes what is sent for the log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	err    error // why a file was not copied to its end, or not at all
	late   bool  // the 200 goes out with the first byte of the body

	request  *http.Request
	start    time.Time
	patience time.Duration // with a client, for each part of a body
	paced    bool          // a deadline was set
	part     io.LimitedReader
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable && w.err == nil {
		w.err = &requestError{status, errRange} // net/http's words name no module
		return
	}
	if w.status == 0 && status >= 200 {
		w.begin(status)
	}
	// A file that can't be read at all is then found out before the client has
	// been told that it comes.
	if w.late = status == http.StatusOK; !w.late {
		w.ResponseWriter.WriteHeader(status)
	}
}

// sendLate sends what WriteHeader has held back.
func (w *recorder) sendLate() {
	if w.late {
		w.late = false
		w.ResponseWriter.WriteHeader(http.StatusOK)
	}
}

// answered reports whether the client may have been told something already. What it
// has not been told is forgotten.
func (w *recorder) answered() bool {
	if w.late {
		w.late, w.status, w.err = false, 0, nil
	}
	return w.status != 0
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 && w.err != nil {
		return len(p), nil // of an answer that is refused
	}
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if w.bytes > 0 {
		w.extend() // a body that comes piece by piece
	}
	w.sendLate()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom hands files down to net/http, which lets the kernel copy them.
func (w *recorder) ReadFrom(r io.Reader) (n int64, err error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = w.copyParts(to, r)
	} else {
		n, err = io.Copy(pacedWriter{w}, r)
	}
	w.bytes += n
	w.late = w.late && n == 0 // the first byte brings a 200 along
	if part, ok := r.(*io.LimitedReader); ok && err == nil && part.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	w.err = err
	return n, err
}

// observe tells Options.Observe and the log how a request was answered.
func (x *exchange) observe() {
	e := Event{
		Op: OpRequest, Module: x.req.Module, File: fileNames[x.req.Kind], Outcome: x.outcome, Source: x.source,
		Status: x.w.status, Bytes: x.w.bytes, Duration: time.Since(x.start), Err: x.err, Request: x.r,
	}
	x.h.logRequest(&e, x.failure)
	if x.h.opts.Observe != nil {
		x.h.opts.Observe(e)
	}
}

// logRequest writes the line of a request.
func (h *Handler) logRequest(e *Event, failure string) {
	log, ctx := h.opts.Logger, e.Request.Context()
	level := slog.LevelInfo
	if e.Outcome == OutcomeFailed {
		level = slog.LevelWarn
	}
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	if e.Module.Path != "" {
		attrs = append(attrs, slog.String("module", e.Module.Path))
	}
	if e.Module.Version != "" {
		attrs = append(attrs, slog.String("version", e.Module.Version))
	}
	attrs = append(attrs,
		slog.String("file", e.File),
		slog.String("outcome", e.Outcome),
		slog.String("source", e.Source),
		slog.Int("status", e.Status),
		slog.Int64("bytes", e.Bytes),
		milliseconds(e.Duration))
	if failure != "" {
		attrs = append(attrs, slog.String("error", failure))
	}
	log.LogAttrs(ctx, level, "request", attrs...)
}

// fileNames names each kind of request in the log, by protocol.Kind.
var fileNames = [...]string{"unknown", "list", "latest", "info", "mod", "zip", "query", "sumdb"}

func milliseconds(d time.Duration) slog.Attr {
	return slog.Float64("ms", float64(d.Microseconds())/1000)
}

// logPanic logs where a panic happened, if err is one.
func (h *Handler) logPanic(err error) {
	if crash, ok := errors.AsType[*flight.PanicError](err); ok {
		h.opts.Logger.Error("panic", "value", printable(fmt.Sprint(crash.Value), maxErrorBody), "stack", string(crash.Stack))
	}
}

// alarm raises the alarm that a source offered other content than is held.
func (h *Handler) alarm(m module.Version, err error) {
	h.conflicts.Add(1)
	h.opts.Logger.Error("conflict", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
}
