// Package budget bounds what hostile content costs, in memory and in work. A
// few hundred bytes of a pack can stand for gigabytes, so that a bound on the
// bytes that come in is not enough.
//
// All jobs of a [Budget] share its memory. A job starts in a small part of it
// that is never taken by large jobs, so that an ordinary question is answered
// while large ones wait for each other. Work is counted in steps, each about
// the work of copying and hashing one byte. Each job has its own steps; the
// processors are shared in turns by all jobs that have used more than a moment.
package budget

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

const (
	smallShare = 4        // one part in four of the memory is for small jobs
	smallBytes = 1 << 20  // a job that holds more is a large one
	freeSteps  = 32 << 20 // until then a job needs no turn
	turnSteps  = 8 << 20  // steps of one turn
	// A context is looked at once in so many steps: a fraction of a millisecond.
	contextSteps = 64 << 10
	maxWait      = 10 * time.Second
)

// A Budget is what all jobs may use together.
type Budget struct {
	steps        int64
	small, large *pool
	turns        chan struct{}
}

// New returns a Budget of bytes of memory for all jobs together, and of steps
// for each job.
func New(bytes, steps int64) *Budget {
	small := max(1, bytes/smallShare)
	return &Budget{
		steps: steps, small: newPool(small), large: newPool(max(1, bytes-small)),
		turns: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
	}
}

// A LimitError says that one job needs more than it can ever have.
type LimitError struct {
	Option string // that sets the limit
	Limit  int64
	unit   string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("its content needs more than %d %s; %s sets this limit", e.Limit, e.unit, e.Option)
}

// A BusyError says that other jobs used all of the memory for too long.
type BusyError struct{ Limit int64 }

func (e *BusyError) Error() string {
	return fmt.Sprintf("other fetches use all of the %d bytes of memory that there are for them; MaxWorkBytes sets this limit", e.Limit)
}

// A Job is one fetch, archive or walk. It is used by one goroutine at a time. A
// nil *Job has no limits.
type Job struct {
	ctx    context.Context
	budget *Budget
	from   *pool
	held   int64
	used   int64 // steps
	limit  int64 // of steps
	next   int64 // steps at which the next turn is needed
	asked  int64 // steps at which the context was looked at last
	turn   bool
}

// Start returns a new Job. The caller calls End.
func (b *Budget) Start(ctx context.Context) *Job {
	return &Job{ctx: ctx, budget: b, from: b.small, limit: b.steps, next: freeSteps}
}

// End gives everything back.
func (j *Job) End() {
	if j == nil {
		return
	}
	j.Pause()
	j.from.put(j.held)
	j.held = 0
}

// Allow adds steps, for content that was paid for with bytes received.
func (j *Job) Allow(steps int64) {
	if j != nil {
		j.limit += steps
	}
}

// Grow takes n bytes of memory. It waits for other jobs, but not for long.
func (j *Job) Grow(n int64) error { return j.grow(n, true) }

// TryGrow takes n bytes of memory if they are free, and reports whether.
func (j *Job) TryGrow(n int64) bool { return j.grow(n, false) == nil }

func (j *Job) grow(n int64, wait bool) error {
	if j == nil || n <= 0 {
		return nil
	}
	total := j.held + n
	if total > j.budget.large.size {
		return &LimitError{"MaxWorkBytes", j.budget.large.size, "bytes of memory"}
	}
	if j.from == j.budget.small && total > smallBytes {
		// A large job leaves the small ones' part.
		if err := j.take(j.budget.large, total, wait); err != nil {
			return err
		}
		j.from.put(j.held)
		j.from, j.held = j.budget.large, total
		return nil
	}
	if err := j.take(j.from, n, wait); err != nil {
		return err
	}
	j.held = total
	return nil
}

func (j *Job) take(p *pool, n int64, wait bool) error {
	if p.try(n) {
		return nil
	}
	if !wait {
		return &BusyError{p.size}
	}
	j.Pause() // who waits needs no processor
	return p.take(j.ctx, n)
}

// Shrink gives n bytes of memory back.
func (j *Job) Shrink(n int64) {
	if j == nil || n <= 0 {
		return
	}
	j.from.put(n)
	j.held -= n
}

// Step counts n steps. It is an error once the job's context is done or its
// steps are used up, and waits for a turn where other jobs work, too.
func (j *Job) Step(n int64) error {
	if j == nil {
		return nil
	}
	if j.used += n; j.used > j.limit {
		return &LimitError{"MaxWorkSteps", j.limit, "steps of work"}
	}
	if j.used >= j.next {
		j.Pause()
		select {
		case j.budget.turns <- struct{}{}:
			j.turn = true
		case <-j.ctx.Done():
		}
		j.next = j.used + turnSteps
	}
	if j.asked == 0 || j.used-j.asked > contextSteps {
		j.asked = j.used
		if j.ctx.Err() != nil {
			return context.Cause(j.ctx)
		}
	}
	return nil
}

// Pause ends the job's turn, before it waits for something. The next Step takes
// a new one.
func (j *Job) Pause() {
	if j == nil || !j.turn {
		return
	}
	<-j.budget.turns
	j.turn, j.next = false, j.used
}
