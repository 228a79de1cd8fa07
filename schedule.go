package athens

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/athens-go/athens/internal/flight"
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
		s.slow.Store(true)
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
