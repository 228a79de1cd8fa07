package fill

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/internal/journal"
	"github.com/athens-go/athens/internal/backoff"
)

// Queue is an [athens.FillScheduler] in memory, made by [New], or with a journal, made by
// [Open]. Its methods may be called from many goroutines at the same time.
//
// Schedule, take and settle are the only three places where a fill changes its state;
// each adds the change to the journal.
type Queue struct {
	opts    Options          // with its defaults filled in
	wake    chan struct{}    // tells Run that there is something to do
	journal *journal.Journal // nil: everything is in memory
	late    atomic.Bool      // the latest Schedule did not wait until the journal had its fill

	mu       sync.Mutex
	jobs     map[module.Version]*job // what is pending or running
	pending  jobHeap
	running  []*job // in the order they started
	done     history
	failed   history
	seq      uint64 // of the latest job
	rejected int64
	started  bool // Run was called
	closed   bool // Run's context is done
	ended    bool // Close was called
}

// job is one fill that is pending or running.
type job struct {
	module    module.Version
	zip       bool
	seq       uint64    // among jobs due at the same time, the older one is first
	due       time.Time // not to be started before
	index     int       // place in the heap; -1 while running
	scheduled time.Time
	started   time.Time // the latest run's start
	first     time.Time // the first run's start
	attempts  int       // runs that were started
	reason    string    // the latest run's error

	taken <-chan struct{} // closed when the kernel has the latest change in the journal

	// next is a fill of the same version with its zip, scheduled while this one
	// runs without; it then takes this one's place.
	next *job
}

// Schedule implements [athens.FillScheduler]: f becomes pending, and runs as soon as
// after has passed and a worker is free. It does not wait for the fill.
//
// A version that is already pending runs once, at the earlier of the two times, with its
// zip if either call asked for it; but one that waits after an error goes on waiting.
// While a fill runs, scheduling the same one, or the same one without its zip, changes
// nothing; one that adds the zip runs afterwards.
//
// In a queue of [Open], the kernel has f when Schedule returns, so f is done even if the
// process is killed. Schedule waits for a slow disk until ctx is done, and for at most 5
// seconds; the log then says that a kill may lose fills, and f is pending all the same.
//
// The error is [ErrFull] or [ErrClosed], or says that f has no name or one of more than
// 4,096 bytes.
func (q *Queue) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	taken, err := q.schedule(f, time.Now(), max(after, 0))
	if taken != nil {
		late := !journal.Await(ctx, taken)
		if q.late.Swap(late) != late && late {
			q.opts.Logger.Warn("the disk is slow: a kill may lose fills that were just scheduled")
		}
	}
	return err
}

// schedule is Schedule without waiting for the journal.
func (q *Queue) schedule(f athens.Fill, now time.Time, after time.Duration) (taken <-chan struct{}, err error) {
	due := now.Add(after)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed && !q.survives() {
		return nil, q.reject(ErrClosed)
	}
	j, held := q.jobs[f.Module]
	if held {
		if q.join(j, f.Zip, now, due) {
			q.note(j)
		}
		return j.taken, nil
	}
	if err := checkName(f.Module); err != nil {
		return nil, q.reject(err)
	}
	if len(q.jobs) >= q.opts.Limit {
		return nil, q.reject(ErrFull)
	}
	j = q.newJob(own(f.Module), f.Zip, now, due)
	q.jobs[j.module] = j
	q.push(j)
	q.note(j)
	return j.taken, nil
}

// survives reports whether a fill that is scheduled now is there for the next process.
// q.mu is held.
func (q *Queue) survives() bool {
	return q.journal != nil && !q.ended && q.journal.Accepts()
}

// join adds another request for j's version, and reports whether that changes j. q.mu is
// held.
func (q *Queue) join(j *job, zip bool, now, due time.Time) (changed bool) {
	if j.index < 0 { // running
		if j.next != nil {
			j.next.due = earlier(j.next.due, due)
		} else if zip && !j.zip {
			j.next = q.newJob(j.module, true, now, due)
			return true
		}
		return false
	}
	changed = zip && !j.zip
	j.zip = j.zip || zip
	if j.attempts == 0 && due.Before(j.due) {
		changed = true
		j.due = due
		heap.Fix(&q.pending, j.index)
		q.wakeIfFirst(j)
	}
	return changed
}

// reject counts what Schedule refuses. q.mu is held.
func (q *Queue) reject(err error) error {
	q.rejected++
	return err
}

func (q *Queue) newJob(m module.Version, zip bool, now, due time.Time) *job {
	q.seq++
	return &job{module: m, zip: zip, seq: q.seq, scheduled: now, due: due, index: -1}
}

// push makes j pending. q.mu is held.
func (q *Queue) push(j *job) {
	heap.Push(&q.pending, j)
	q.wakeIfFirst(j)
}

// wakeIfFirst wakes Run if j is now the fill that it has to wait for.
func (q *Queue) wakeIfFirst(j *job) {
	if j.index == 0 {
		signal(q.wake)
	}
}

// take starts the first job that is due, if a worker is free. Otherwise it
// returns nil and how long to wait; less than zero means until woken.
func (q *Queue) take() (*job, time.Duration) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) == 0 || len(q.running) >= q.opts.Workers {
		return nil, -1
	}
	if wait := q.pending[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	j := heap.Pop(&q.pending).(*job)
	j.started = now
	j.attempts++
	if j.attempts == 1 {
		j.first = now
	}
	q.running = append(q.running, j)
	q.note(j)
	return j, 0
}

// settle ends a run of j. cut says that the queue itself ended the run early.
func (q *Queue) settle(j *job, err error, cut bool) {
	now := time.Now()
	q.mu.Lock()
	outcome := q.place(j, now, err, cut)
	ended := j.entry()
	q.mu.Unlock()
	signal(q.wake)

	// A log may be slow, so it is written without the lock.
	level := slog.LevelDebug
	switch {
	case outcome == "failed" && errors.Is(err, fs.ErrNotExist):
		level = slog.LevelInfo // a client requested a version that does not exist
	case outcome == "failed":
		level = slog.LevelWarn
	}
	q.opts.Logger.Log(context.Background(), level, "fill "+outcome, "module", ended.Path, "version", ended.Version,
		"zip", ended.Zip, "attempts", ended.Attempts, "ms", now.Sub(ended.Started).Milliseconds(), "error", ended.Reason)
}

// place decides the next state of j after a run, and returns its name for the log. A run
// that the queue itself ended early does not count: the fill is pending as it was before.
// q.mu is held.
func (q *Queue) place(j *job, now time.Time, err error, cut bool) string {
	at := slices.Index(q.running, j)
	q.running = slices.Delete(q.running, at, at+1)
	next := j.next
	j.next = nil

	outcome := "done"
	before := j.reason
	j.reason = ""
	if err != nil {
		j.reason = backoff.Reason(err)
	}
	switch {
	case err == nil:
		q.done.add(j.ended(now))
		q.failed.remove(j.module)
		q.noteEnd(journal.Done, Entry{Path: j.module.Path, Version: j.module.Version})
	case athens.Final(err) || !cut && now.Sub(j.first) >= q.opts.GiveUpAfter:
		outcome = "failed"
		q.failed.add(j.ended(now))
		q.noteEnd(journal.Failed, j.ended(now))
	default:
		j.zip = j.zip || next != nil
		if cut {
			j.attempts--
			j.reason = before
		} else {
			j.due = now.Add(q.backoff().Wait(j.attempts, err))
		}
		q.push(j)
		q.note(j)
		return "postponed"
	}
	delete(q.jobs, j.module)
	if next != nil {
		q.jobs[next.module] = next
		q.push(next)
		q.note(next)
	}
	return outcome
}

// fill returns the argument for the function given to Run. It needs no lock: of a
// running job only next changes.
func (j *job) fill() athens.Fill { return athens.Fill{Module: j.module, Zip: j.zip} }

func checkName(m module.Version) error {
	if m.Path == "" || m.Version == "" {
		return fmt.Errorf("fill: %q has no path or no version", m)
	}
	if n := len(m.Path) + len(m.Version); n > journal.MaxName {
		return fmt.Errorf("fill: the name of a module version has %d bytes, more than %d", n, journal.MaxName)
	}
	return nil
}

// own copies m's strings, which may be parts of a whole request, with one allocation.
func own(m module.Version) module.Version {
	both := m.Path + m.Version
	return module.Version{Path: both[:len(m.Path)], Version: both[len(m.Path):]}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// jobHeap is the pending jobs, for container/heap: the one due first is on top.
type jobHeap []*job

func (h jobHeap) Len() int { return len(h) }

func (h jobHeap) Less(a, b int) bool {
	if h[a].due.Equal(h[b].due) {
		return h[a].seq < h[b].seq
	}
	return h[a].due.Before(h[b].due)
}

func (h jobHeap) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

// Push is for container/heap.
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.index = len(*h)
	*h = append(*h, j)
}

// Pop is for container/heap.
func (h *jobHeap) Pop() any {
	last := len(*h) - 1
	j := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	j.index = -1
	return j
}

// signal sends on a channel of capacity one. One signal that waits is as good as many.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
