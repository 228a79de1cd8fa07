package athens

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/prefetch"
	"github.com/athens-go/athens/internal/protocol"
)

// Fill makes the store hold what f names. It is the function that a
// [FillScheduler] runs:
//
//	go fills.Run(ctx, handler.Fill)
//
// A nil error means that it is held. [Final] tells whether another try can help.
func (h *Handler) Fill(ctx context.Context, f Fill) (err error) {
	start, m := time.Now(), f.Module
	op := h.opts.begin(ctx, OpFill, "", m)
	op.event.File = fillFile(f)
	ctx = op.ctx
	defer func() {
		op.end(err)
		h.logFill(ctx, f, start, err)
	}()
	if !protocol.Canonical(m) {
		return &InvalidError{m.Path, m.Version, protocol.ErrVersion}
	}
	route, err := h.route(ctx, m)
	if err != nil {
		return err
	}
	if route.Blocked != "" && f.Zip {
		return &BlockedError{Path: m.Path, Version: m.Version, Reason: route.Blocked}
	}
	if held, err := h.keeper.holds(ctx, m, wanted(f)...); held || err != nil {
		return err
	}
	src, err := h.sourceOf(ctx, m, route)
	if err != nil {
		return err
	}
	op.event.Source = src.name
	if f.Zip {
		if err := h.fetches.storeZip(ctx, src, m); err != nil {
			return err
		}
	}
	// Also beside a zip that was held: an adopted module cache may lack the .info.
	return h.fetches.storeMeta(ctx, src, m)
}

// fillFile names the last file of a fill.
func fillFile(f Fill) string {
	if f.Zip {
		return ZipFile.String()
	}
	return ModFile.String()
}

// wanted returns the files that a fill is about.
func wanted(f Fill) []File {
	if f.Zip {
		return []File{InfoFile, ModFile, ZipFile}
	}
	return []File{InfoFile, ModFile}
}

func (h *Handler) logFill(ctx context.Context, f Fill, start time.Time, err error) {
	logPanic(h.opts.Logger, err)
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("module", f.Module.Path),
		slog.String("version", f.Module.Version),
		slog.Bool("zip", f.Zip),
		milliseconds(time.Since(start)),
	}
	if err != nil {
		if outcomeOf(err) == OutcomeFailed {
			level = slog.LevelWarn
		}
		attrs = append(attrs, slog.Bool("final", Final(err)), slog.String("error", printable(err.Error(), maxErrorBody)))
	}
	h.opts.Logger.LogAttrs(ctx, level, "fill", attrs...)
}

// prefetchFile makes the store hold a candidate of the prefetcher, unless it is private
// or blocked: anyone may have written the .mod that names it. A client that requests the
// same file gets the error, if there is one.
func (h *Handler) prefetchFile(c prefetch.Candidate) (fetched, ok bool) {
	defer func() {
		if v := recover(); v != nil { // in a hook or the store; no request fails with it
			logPanic(h.opts.Logger, &flight.PanicError{Value: v, Stack: debug.Stack()})
			ok = false
		}
	}()
	route, err := h.route(h.ctx, c.Module)
	if err != nil || route.Private || route.Blocked != "" {
		return false, false
	}
	src, err := h.sourceOf(h.ctx, c.Module, route)
	if err != nil {
		return false, false
	}
	file := ModFile
	if c.Zip {
		file = ZipFile
	}
	held, err := h.keeper.holds(h.ctx, c.Module, file)
	switch {
	case held || err != nil:
		return false, err == nil
	case c.Zip:
		err = h.fetches.storeZip(h.ctx, src, c.Module)
	default:
		err = h.fetches.storeMeta(h.ctx, src, c.Module)
	}
	return true, err == nil
}

// readMod reads a stored .mod for the prefetcher.
func (h *Handler) readMod(m module.Version) (mod []byte, err error) {
	return flight.Try(func() ([]byte, error) { return h.keeper.read(h.ctx, m, ModFile, h.opts.MaxModBytes) })
}
