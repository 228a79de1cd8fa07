package athens

import (
	"log/slog"
	"time"
)

// observe tells Options.Observe and the log how a request was answered.
func (x *exchange) observe() {
	e := Event{
		Op: OpRequest, Module: x.req.Module, File: fileNames[x.req.Kind], Outcome: x.outcome, Source: x.source,
		Status: x.w.status, Bytes: x.w.bytes, Duration: time.Since(x.start), Err: x.err, Request: x.r,
	}
	if x.remembered && e.Source != SourceStore {
		e.Source = SourceMemory
		if e.Outcome == OutcomeFetch {
			e.Outcome = OutcomeRemembered
		}
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
