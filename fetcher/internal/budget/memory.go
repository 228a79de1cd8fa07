package budget

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A part is one of the parts of the memory that jobs are in, one after the other.
type part int

const (
	small  part = iota // of jobs that hold at most smallBytes
	medium             // of all jobs that fit into it together
	large              // of one job at a time
	parts
)

// A memory is a number of bytes that jobs share. A job moves on to a larger part
// when it needs more than the one it is in has free. One job at a time has all of
// the large part, so that this job never waits, ends, and is followed by the next:
// jobs that hold memory and want more can't wait for each other.
type memory struct {
	size [parts]int64

	mu    sync.Mutex
	free  [large]int64
	alone *Job      // has the large part
	queue []*waiter // jobs that wait for more, in order
}

// A waiter is a job that waits until it may hold total bytes.
type waiter struct {
	job   *Job
	total int64
	ready chan struct{}
}

func newMemory(bytes int64) *memory {
	m := &memory{size: [parts]int64{small: max(1, bytes/5), medium: max(1, bytes/8)}}
	m.size[large] = max(1, bytes-m.size[small]-m.size[medium])
	copy(m.free[:], m.size[:large])
	return m
}

// move makes j hold total bytes if that is possible now; mu is held. Only a job
// that may have the large part moves there.
func (m *memory) move(j *Job, total int64, mayBeLarge bool) bool {
	more := total - j.held
	switch {
	case j.part == large:
	case j.part == small && total <= smallBytes && more <= m.free[small]:
		m.free[small] -= more
	case j.part == medium && more <= m.free[medium]:
		m.free[medium] -= more
	case j.part == small && total <= m.free[medium]:
		m.leave(j)
		m.free[medium] -= total
		j.part = medium
	case mayBeLarge && m.alone == nil:
		m.leave(j)
		m.alone, j.part = j, large
	default:
		return false
	}
	j.held = total
	return true
}

// leave gives all back that j holds; mu is held.
func (m *memory) leave(j *Job) {
	if j.part == large {
		m.alone = nil
	} else {
		m.free[j.part] += j.held
	}
	j.part, j.held = small, 0
}

// try is take without waiting, and without the large part for a job that is not
// there yet: it is for what a job can do without.
func (m *memory) try(j *Job, total int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.move(j, total, false)
}

// take makes j hold total bytes. Jobs wait in order, for maxWait at most.
func (m *memory) take(ctx context.Context, j *Job, total int64) error {
	m.mu.Lock()
	if m.move(j, total, len(m.queue) == 0) {
		m.mu.Unlock()
		return nil
	}
	if len(m.queue) >= m.mostWaiting() {
		m.mu.Unlock()
		return &BusyError{m.total()}
	}
	w := &waiter{j, total, make(chan struct{})}
	m.queue = append(m.queue, w)
	m.mu.Unlock()

	j.Pause() // a job that waits needs no processor
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
		err = &BusyError{m.total()}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(m.queue, w)
	if at < 0 {
		return nil // it was served meanwhile
	}
	m.queue = slices.Delete(m.queue, at, at+1)
	return err
}

// mostWaiting bounds the queue: jobs that wait hold at most half of the small part.
func (m *memory) mostWaiting() int { return max(4, int(m.size[small]/2/smallBytes)) }

func (m *memory) total() int64 { return m.size[small] + m.size[medium] + m.size[large] }

// shrink makes j hold n bytes less.
func (m *memory) shrink(j *Job, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.held -= n; j.part != large {
		m.free[j.part] += n
		m.serve()
	}
}

// end takes everything from j.
func (m *memory) end(j *Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave(j)
	m.serve()
}

// serve gives those that wait what there is for them; mu is held.
func (m *memory) serve() {
	m.queue = slices.DeleteFunc(m.queue, func(w *waiter) bool {
		ok := m.move(w.job, w.total, true)
		if ok {
			close(w.ready)
		}
		return ok
	})
}
