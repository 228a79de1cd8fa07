package fill

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// maxName bounds path and version of a fill together, in bytes, so that Limit
// bounds memory too. No file system stores a longer one.
const maxName = 4096

// Queue is an [athens.FillScheduler] in memory, made by [New], or with a journal,
// made by [Open]. All methods may be called at once from many goroutines.
//
// Schedule, take and settle are the only three places where a fill changes its
// state; each notes it in the journal.
type Queue struct {
	opts    Options        // with its defaults filled in
	wake    chan struct{}  // tells Run that there is something to look at
	journal *journal       // nil: everything is in memory
	writer  sync.WaitGroup // journal.write
	keeper  sync.WaitGroup // keep

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

	taken <-chan struct{} // closed when the kernel has the latest note in the journal

	// next is a bigger fill of the same version, asked for while this one
	// runs; it takes this one's place.
	next *job
}

// Schedule implements [athens.FillScheduler]: f becomes pending, and runs as
// soon as after has passed and a worker is free. It does not wait for
// anything, so it does not look at ctx.
//
// A version that is pending already runs once, at the earlier of the two times,
// with its zip if either asked for it; but one that waits after an error
// goes on waiting. While f runs, the same or a smaller f is done with; a bigger
// one runs afterwards.
//
// In a queue of [Open], f is with the kernel when Schedule returns, and so is
// done although the process is killed; only a disk that takes longer than 20
// milliseconds for that is not waited for.
//
// The error is [ErrFull], [ErrClosed], or says that f names no version or one
// of more than 4,096 bytes.
func (q *Queue) Schedule(_ context.Context, f athens.Fill, after time.Duration) error {
	taken, err := q.schedule(f, time.Now(), max(after, 0))
	if taken != nil {
		await(taken)
	}
	return err
}

// schedule does so, without waiting for the journal.
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

// survives reports whether what is scheduled now is there for the next process.
// q.mu is held.
func (q *Queue) survives() bool {
	return q.journal != nil && !q.ended && q.journal.survives()
}

// join adds the same fill, or a bigger one, to j, and reports whether that changes
// what is to be done. q.mu is held.
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

// wakeIfFirst wakes Run when j is now what it has to wait for.
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

	// A log may be slow, so that it is written without the lock.
	level := slog.LevelDebug
	if outcome == "failed" {
		level = slog.LevelWarn
	}
	q.opts.Log.Log(context.Background(), level, "fill "+outcome, "module", ended.Path, "version", ended.Version,
		"zip", ended.Zip, "attempts", ended.Attempts, "ms", now.Sub(ended.Started).Milliseconds(), "err", ended.Reason)
}

// place decides what becomes of j after a run, and returns its name. A run
// that was cut short is no fault of the fill, which is pending as it was before.
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
		j.reason = Reason(err)
	}
	switch {
	case err == nil:
		q.done.add(j.ended(now))
		q.failed.remove(j.module)
		q.noteEnd(stateDone, Entry{Path: j.module.Path, Version: j.module.Version})
	case athens.Final(err) || !cut && now.Sub(j.first) >= q.opts.GiveUp:
		outcome = "failed"
		q.failed.add(j.ended(now))
		q.noteEnd(stateFailed, j.ended(now))
	default:
		j.zip = j.zip || next != nil
		if cut {
			j.attempts--
			j.reason = before
		} else {
			j.due = now.Add(Backoff{q.opts.RetryMin, q.opts.RetryMax}.Wait(j.attempts, err))
		}
		q.push(j)
		q.note(j)
		return "put off"
	}
	delete(q.jobs, j.module)
	if next != nil {
		q.jobs[next.module] = next
		q.push(next)
		q.note(next)
	}
	return outcome
}

// fill is what the function given to Run is asked to do. next apart, a running
// job does not change, so that this needs no lock.
func (j *job) fill() athens.Fill { return athens.Fill{Module: j.module, Zip: j.zip} }

func checkName(m module.Version) error {
	if m.Path == "" || m.Version == "" {
		return fmt.Errorf("fill: %q names no module version", m)
	}
	if n := len(m.Path) + len(m.Version); n > maxName {
		return fmt.Errorf("fill: the name of a module version has %d bytes, more than %d", n, maxName)
	}
	return nil
}

// own copies m's strings, which may be parts of a whole request, in one piece.
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
