package fill

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/athens-go/athens"
)

// cutWait is how long Run waits for fills whose context it has ended. Those that ignore
// their context are then abandoned.
const cutWait = 5 * time.Second

// Run implements [athens.FillScheduler]. When ctx is done, no further fill starts;
// Schedule returns [ErrClosed], or with a journal accepts fills for the next start until
// [Queue.Close]; running fills may continue for [Options.GraceTimeout], and then their context
// ends. Run returns nil after the last of them; it waits at most 5 seconds for fills that
// ignore their context.
//
// The context given to fill ends after [Options.Timeout] and has the values of ctx. A
// panic of fill counts as an error. A second call of Run is an error.
func (q *Queue) Run(ctx context.Context, fill func(context.Context, athens.Fill) error) error {
	q.mu.Lock()
	again := q.started
	q.started = true
	q.mu.Unlock()
	if again {
		return errors.New("fill: Run was called before")
	}

	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	q.dispatch(ctx, work, fill)
	q.stop()
	if !q.idle(q.opts.GraceTimeout) {
		cut()
		if !q.idle(cutWait) {
			q.opts.Logger.Error("fills still running after cancellation", "running", q.Status().Counts.Running)
		}
	}
	return nil
}

// dispatch starts the fills that are due, until ctx is done.
func (q *Queue) dispatch(ctx, work context.Context, fill func(context.Context, athens.Fill) error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		j, wait := q.take()
		if j != nil {
			go q.run(work, j, fill)
			continue
		}
		due := timer.C
		if wait < 0 {
			due = nil
		} else {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-due:
		}
	}
}

// stop makes the queue start no further fill.
func (q *Queue) stop() {
	q.mu.Lock()
	q.closed = true
	n := len(q.pending)
	survive := q.survives()
	q.mu.Unlock()
	switch {
	case n > 0 && survive:
		q.opts.Logger.Info("pending fills will run after the next start", "pending", n)
	case n > 0:
		q.opts.Logger.Info("pending fills are lost", "pending", n)
	}
}

// idle waits until no fill runs, for d at most, and reports whether that is so.
func (q *Queue) idle(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		q.mu.Lock()
		n := len(q.running)
		q.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-q.wake:
		case <-timer.C:
			return false
		}
	}
}

// run runs j once, in its own goroutine.
func (q *Queue) run(work context.Context, j *job, fill func(context.Context, athens.Fill) error) {
	ctx, cancel := context.WithTimeout(work, q.opts.Timeout)
	defer cancel()
	// The result if fill ends the goroutine, as runtime.Goexit does.
	err := errors.New("fill: the function did not return")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			q.opts.Logger.Error("fill panicked", "module", j.module.Path, "version", j.module.Version,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		if err != nil && work.Err() == nil && ctx.Err() != nil {
			err = fmt.Errorf("timeout after %v: %w", q.opts.Timeout, err)
		}
		q.settle(j, err, work.Err() != nil)
	}()
	err = fill(ctx, j.fill())
}
