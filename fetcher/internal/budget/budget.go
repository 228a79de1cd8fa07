// Package budget bounds what hostile content costs, in memory and in work. A
// few hundred bytes of a pack can stand for gigabytes, so that a bound on the
// bytes that come in is not enough.
//
// All jobs of a [Budget] share its memory. A job starts in a small part of it
// that large jobs never take, so that an ordinary question is answered while large
// ones wait for each other. The largest jobs have a part to themselves, one after the
// other in the order in which they came, so that none fails because another one runs.
// Work is counted in steps, each about the work of copying and hashing one byte. Each
// job has its own steps; the processors are shared in turns by all jobs that have used
// more than a moment.
//
//   - budget.go has the jobs and their steps;
//   - memory.go has the parts of the memory, and who waits for them.
package budget

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

const (
	smallBytes = 1 << 20  // a job that holds more is a large one
	freeSteps  = 32 << 20 // until then a job needs no turn
	turnSteps  = 8 << 20  // steps of one turn
	// Once in so many steps, a fraction of a millisecond, the context is looked at, and a job
	// that needs turns lets other goroutines run first. Otherwise each part of an ordinary
	// answer would wait until the Go runtime interrupts a large job, after 10 ms.
	contextSteps = 64 << 10
	maxWait      = 2 * time.Minute
)

// A Budget is what all jobs may use together.
type Budget struct {
	steps  int64
	memory *memory
	turns  chan struct{}
}

// New returns a Budget of bytes of memory for all jobs together, and of steps
// for each job. One job can have two thirds of the memory.
func New(bytes, steps int64) *Budget {
	return &Budget{steps: steps, memory: newMemory(bytes), turns: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
}

// A LimitError says that one job needs more than it can ever have.
type LimitError struct {
	Option string // that sets the limit
	Limit  int64
	unit   string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("its content needs more than %d %s; Options.%s sets this limit", e.Limit, e.unit, e.Option)
}

// A BusyError says that other jobs used all of the memory for too long.
type BusyError struct{ Limit int64 }

func (e *BusyError) Error() string {
	return fmt.Sprintf("other fetches use the %d bytes of memory for all of them; Options.MaxWorkBytes sets this limit", e.Limit)
}

// A Job is one fetch, archive or walk. It is used by one goroutine at a time. A
// nil *Job has no limits.
type Job struct {
	ctx    context.Context
	budget *Budget
	part   part  // of the memory; guarded by memory.mu, as held is
	held   int64 // bytes of memory
	used   int64 // steps
	limit  int64 // of steps
	next   int64 // steps at which the next turn is needed
	asked  int64 // steps at which the context was looked at last
	turn   bool
}

// Start returns a new Job. The caller calls End.
func (b *Budget) Start(ctx context.Context) *Job {
	return &Job{ctx: ctx, budget: b, limit: b.steps, next: freeSteps}
}

// End gives everything back.
func (j *Job) End() {
	if j == nil {
		return
	}
	j.Pause()
	j.budget.memory.end(j)
}

// Allow adds steps, for content that was paid for with bytes received.
func (j *Job) Allow(steps int64) {
	if j != nil {
		j.limit += steps
	}
}

// Grow takes n bytes of memory. It waits for other jobs, but not for long. A
// goroutine that has a job must not Grow another one: it would wait for itself.
func (j *Job) Grow(n int64) error {
	if j == nil || n <= 0 {
		return nil
	}
	m := j.budget.memory
	if j.held+n > m.size[large] {
		return &LimitError{"MaxWorkBytes", m.size[large], "bytes of memory"}
	}
	return m.take(j.ctx, j, j.held+n)
}

// TryGrow takes n bytes of memory if they are free, and reports whether.
func (j *Job) TryGrow(n int64) bool {
	if j == nil || n <= 0 {
		return true
	}
	m := j.budget.memory
	return j.held+n <= m.size[large] && m.try(j, j.held+n)
}

// Shrink gives n bytes of memory back.
func (j *Job) Shrink(n int64) {
	if j == nil || n <= 0 {
		return
	}
	j.budget.memory.shrink(j, n)
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
		if j.used >= freeSteps {
			runtime.Gosched()
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
