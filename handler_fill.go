package athens

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/protocol"
)

// Fill makes the store hold what f names. It is the function that a
// [FillScheduler] runs:
//
//	go fills.Run(ctx, handler.Fill)
//
// A nil error means that it is held. Whether another try can help, [Final]
// tells.
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
	if held, err := h.holds(ctx, m, wanted(f)...); held || err != nil {
		return err
	}
	src, err := h.sourceOf(m, route)
	if err != nil {
		return err
	}
	op.event.Source = src.name
	if f.Zip {
		if err := h.storeZip(ctx, src, m); err != nil {
			return err
		}
	}
	// Also beside a zip that was held: an adopted module cache may lack the .info.
	return h.fetchInfoMod(ctx, src, m)
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
	h.logPanic(err)
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("module", f.Module.Path),
		slog.String("version", f.Module.Version),
		slog.Bool("zip", f.Zip),
		milliseconds(time.Since(start)),
	}
	if err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.Bool("final", Final(err)), slog.String("error", printable(err.Error(), maxErrorBody)))
	}
	h.opts.Logger.LogAttrs(ctx, level, "fill", attrs...)
}

// scheduleTimeout bounds one call of Schedule, and enqueueWait how long an answer
// waits for it: a client that was sent on then knows that its fill is scheduled, and
// survives this process where the scheduler says so.
const (
	scheduleTimeout = 10 * time.Second
	enqueueWait     = 100 * time.Millisecond
)

var errManyFills = errors.New("too many fills are on their way to the scheduler")

// enqueue puts a fill on the schedule. A scheduler on this machine takes some
// microseconds, one on a server elsewhere a round trip; when that does not come
// back, no further answer waits for it until one has.
func (h *Handler) enqueue(f Fill, after time.Duration) {
	if h.opts.Fills == nil {
		return
	}
	select {
	case h.enqueueSlots <- struct{}{}:
	default:
		h.drop(f, errManyFills)
		return
	}
	mine := false
	scheduled := h.enqueued.Join(f,
		func() *flight.Future[struct{}] { mine = true; return flight.NewFuture[struct{}]() },
		func(ctx context.Context, done *flight.Future[struct{}]) {
			defer func() { <-h.enqueueSlots }()
			start := time.Now()
			h.schedule(ctx, f, after)
			if time.Since(start) < enqueueWait {
				h.schedulerSlow.Store(false)
			}
			done.Set(struct{}{}, nil)
		},
		func(done *flight.Future[struct{}], err error) {
			done.Set(struct{}{}, err)
			if errors.Is(err, flight.ErrClosed) {
				<-h.enqueueSlots
			}
			h.drop(f, err)
		})
	if !mine { // the same one is on its way
		<-h.enqueueSlots
	}
	if h.schedulerSlow.Load() {
		return
	}
	patience, cancel := context.WithTimeout(h.ctx, enqueueWait)
	defer cancel()
	if _, err := scheduled.Wait(patience); errors.Is(err, context.DeadlineExceeded) {
		h.schedulerSlow.Store(true)
	}
}

// schedule puts a fill on the schedule, where it is when schedule returns; if
// that fails, the next miss does it again.
func (h *Handler) schedule(ctx context.Context, f Fill, after time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	if err := h.opts.Fills.Schedule(ctx, f, after); err != nil {
		h.drop(f, err)
	}
}

// drop counts a fill that was not scheduled.
func (h *Handler) drop(f Fill, err error) {
	h.dropped.Add(1)
	h.logPanic(err)
	h.opts.Logger.Warn("fill dropped", "module", f.Module.Path, "version", f.Module.Version, "error", printable(err.Error(), maxErrorBody))
}

// scheduleZip sees to it that a version from version control becomes whole although
// nobody asked for its zip: the repository may vanish.
func (h *Handler) scheduleZip(src source, m module.Version) {
	if src.Blocked != "" {
		return // its .mod is all that may be served
	}
	if h.opts.Fills != nil {
		h.schedule(h.ctx, Fill{Module: m, Zip: true}, 0) // it has to be there before the .mod is
		return
	}
	h.pendingZips.Join(m, flight.NewFuture[struct{}], func(ctx context.Context, _ *flight.Future[struct{}]) {
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		case <-ctx.Done():
			return
		}
		if err := h.storeZip(ctx, src, m); err != nil {
			h.opts.Logger.Warn("zip not stored", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
		}
	}, func(f *flight.Future[struct{}], err error) { f.Set(struct{}{}, err) })
}

// fetchInfoMod makes the store hold .info and .mod.
func (h *Handler) fetchInfoMod(ctx context.Context, src source, m module.Version) error {
	_, err := h.joinMeta(src, m, "", time.Now(), InfoFile, ModFile).stored.Wait(ctx)
	return err
}
