package athens

import (
	"log/slog"
	"strings"
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

// logRequest writes the line of a request. A failure is worth a warning; what is
// missing, blocked or wrongly asked for is an answer like any other.
func (h *Handler) logRequest(e *Event, failure string) {
	log, ctx, level := h.opts.Logger, e.Request.Context(), slog.LevelInfo
	if e.Outcome == OutcomeFailed {
		level = slog.LevelWarn
	}
	if !log.Enabled(ctx, level) {
		return
	}
	if direct, ok := log.Handler().(AttrsHandler); ok {
		line, _ := h.lines.Get().(*[]slog.Attr)
		if line == nil {
			line = new([]slog.Attr)
		}
		*line = e.attrs((*line)[:0], failure)
		_ = direct.HandleAttrs(ctx, time.Now(), level, OpRequest, *line) // there is nowhere to report it
		clear(*line)
		h.lines.Put(line)
		return
	}
	log.LogAttrs(ctx, level, OpRequest, e.attrs(make([]slog.Attr, 0, 10), failure)...)
}

// attrs appends what the line of a request says. docs/operations.md documents the keys.
func (e *Event) attrs(line []slog.Attr, failure string) []slog.Attr {
	if e.Module.Path != "" {
		line = append(line, slog.String("module", e.Module.Path))
	}
	if e.Module.Version != "" {
		line = append(line, slog.String("version", e.Module.Version))
	}
	line = append(line,
		slog.String("file", e.File),
		slog.String("outcome", e.Outcome),
		slog.String("source", e.Source),
		slog.Int("status", e.Status),
		slog.Int64("bytes", e.Bytes),
		milliseconds(e.Duration),
		slog.String("client", host(e.Request.RemoteAddr)))
	if failure != "" {
		line = append(line, slog.String("error", failure))
	}
	return line
}

// host returns an address without its port.
func host(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 && !strings.HasSuffix(addr, "]") {
		addr = addr[:i]
	}
	return strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
}

// fileNames names each kind of request in the log, by protocol.Kind.
var fileNames = [...]string{"unknown", "list", "latest", "info", "mod", "zip", "query", "sumdb"}

func milliseconds(d time.Duration) slog.Attr {
	return slog.Float64("ms", float64(d.Microseconds())/1000)
}
