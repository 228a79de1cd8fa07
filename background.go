package athens

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
)

const (
	// scheduleTimeout bounds one call of Schedule.
	scheduleTimeout = 10 * time.Second
	// enqueueWait is how long an answer waits for Schedule: a client that was
	// redirected then knows that its fill is scheduled, and survives this
	// process where the scheduler says so.
	enqueueWait = 100 * time.Millisecond
)

// scheduling hands fills to a FillScheduler, which may be a server elsewhere.
type scheduling struct {
	fills   FillScheduler // nil: nothing is scheduled
	log     *slog.Logger
	ctx     context.Context
	calls   *flight.Calls[Fill, struct{}] // calls of Schedule that are running
	slow    atomic.Bool                   // the latest call took longer than enqueueWait
	dropped atomic.Uint64
}

func newScheduling(ctx context.Context, opts *Options) *scheduling {
	return &scheduling{
		fills: opts.Fills,
		log:   opts.Logger,
		ctx:   ctx,
		calls: flight.NewBoundedCalls[Fill, struct{}](ctx, opts.MaxScheduling),
	}
}

// enqueue schedules a fill without holding up the answer to a client. A scheduler
// on this machine takes some microseconds, one on a server elsewhere a round trip.
// After a call that took longer than enqueueWait, no answer waits until a call has
// been fast again.
func (s *scheduling) enqueue(f Fill, after time.Duration) {
	if s.fills == nil {
		return
	}
	scheduled := s.calls.Start(f, func(ctx context.Context) (struct{}, error) {
		start := time.Now()
		_, err := flight.Try(func() (struct{}, error) {
			s.schedule(ctx, f, after)
			return struct{}{}, nil
		})
		if err != nil {
			s.drop(f, err)
		}
		if time.Since(start) < enqueueWait {
			s.slow.Store(false)
		}
		return struct{}{}, nil
	})
	patience := enqueueWait
	if s.slow.Load() {
		patience = 0
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	switch _, err := scheduled.Wait(ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		if s.slow.CompareAndSwap(false, true) {
			s.log.Warn("scheduling fills is slow, answers do not wait for it", "limit", enqueueWait)
		}
	case errors.Is(err, flight.ErrFull), errors.Is(err, flight.ErrClosed):
		s.drop(f, err)
	}
}

// schedule schedules a fill and waits until that is done. If it fails, the next
// miss of the same version schedules it again.
func (s *scheduling) schedule(ctx context.Context, f Fill, after time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	if err := s.fills.Schedule(ctx, f, after); err != nil {
		s.drop(f, err)
	}
}

// drop counts a fill that was not scheduled.
func (s *scheduling) drop(f Fill, err error) {
	s.dropped.Add(1)
	logPanic(s.log, err)
	warn(s.log, "fill dropped", f.Module, err)
}

// background runs jobs that no client and no FillScheduler waits for: each once
// at a time, and a few of them at once.
type background struct {
	jobs  *flight.Calls[job, struct{}]
	slots *limit.Semaphore
}

// job names a piece of background work.
type job struct {
	kind   string // jobZip or jobRecheck
	module module.Version
}

const (
	jobZip     = "zip"     // a version from version control needs its zip
	jobRecheck = "recheck" // the store checks a version again
)

func newBackground(ctx context.Context, slots int) *background {
	return &background{jobs: flight.NewCalls[job, struct{}](ctx), slots: limit.NewSemaphore(slots)}
}

// start runs work as soon as a slot is free, unless that job waits or runs already.
func (b *background) start(kind string, m module.Version, work func(context.Context)) {
	b.jobs.Start(job{kind, m}, func(ctx context.Context) (struct{}, error) {
		if err := b.slots.Acquire(ctx); err != nil {
			return struct{}{}, err
		}
		defer b.slots.Release()
		work(ctx)
		return struct{}{}, nil
	})
}
