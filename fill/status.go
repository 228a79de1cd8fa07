package fill

import (
	"container/heap"
	"slices"
	"time"

	"golang.org/x/mod/module"
)

// Status is the state of a [Queue], for people and as JSON. Each list has at most
// [Options.Recent] fills, and is never nil.
type Status struct {
	Pending []Entry `json:"pending"` // waiting, the one that is due first in front
	Running []Entry `json:"running"` // in the order they started
	Done    []Entry `json:"done"`    // since New, the latest first
	Failed  []Entry `json:"failed"`  // since New, or before a restart, the latest first; one that was done later is only counted
	Counts  Counts  `json:"counts"`  // of all fills
	// Journal says why the fills of a queue made by [Open] would not survive a
	// restart now; it is empty if they would.
	Journal string `json:"journal,omitempty"`
}

// Counts is how many fills there are, or were since New.
type Counts struct {
	Pending  int64 `json:"pending"`
	Running  int64 `json:"running"`
	Done     int64 `json:"done"`
	Failed   int64 `json:"failed"`
	Rejected int64 `json:"rejected"` // calls of Schedule that returned an error
}

// Entry is one fill. A time that has not come yet is zero, and left out of the JSON.
type Entry struct {
	Path      string    `json:"module"`
	Version   string    `json:"version"`
	Zip       bool      `json:"zip"`              // with its zip
	Attempts  int       `json:"attempts"`         // runs so far, including one that is going on
	Scheduled time.Time `json:"scheduled"`        // when it was first scheduled
	Due       time.Time `json:"due,omitzero"`     // pending: when it runs next, or later if no worker is free
	Started   time.Time `json:"started,omitzero"` // when the latest run started
	Ended     time.Time `json:"ended,omitzero"`   // when it was done or failed
	Reason    string    `json:"reason,omitempty"` // the latest run's error, at most about 500 bytes
}

// Status returns a snapshot. It holds the queue's lock for some tens of
// microseconds, however many fills are pending.
func (q *Queue) Status() Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Status{
		Pending: []Entry{},
		Running: []Entry{},
		Done:    q.done.latest(),
		Failed:  q.failed.latest(),
		Counts: Counts{
			Pending:  int64(len(q.pending)),
			Running:  int64(len(q.running)),
			Done:     q.done.count,
			Failed:   q.failed.count,
			Rejected: q.rejected,
		},
	}
	if q.journal != nil {
		s.Journal = q.journal.Trouble()
	}
	for _, j := range q.pending.first(q.opts.Recent) {
		e := j.entry()
		e.Due = j.due
		s.Pending = append(s.Pending, e)
	}
	for _, j := range q.running[:min(len(q.running), q.opts.Recent)] {
		s.Running = append(s.Running, j.entry())
	}
	return s
}

func (j *job) entry() Entry {
	return Entry{
		Path: j.module.Path, Version: j.module.Version, Zip: j.zip,
		Attempts: j.attempts, Scheduled: j.scheduled, Started: j.started, Reason: j.reason,
	}
}

func (j *job) ended(now time.Time) Entry {
	e := j.entry()
	e.Ended = now
	return e
}

// first returns the n jobs that are due first, in order, without sorting the others: a
// job can only be next once the one above it in the heap has been taken.
func (h jobHeap) first(n int) []*job {
	if len(h) == 0 {
		return nil
	}
	next := frontier{of: h, at: []int{0}}
	var first []*job
	for len(first) < n && len(next.at) > 0 {
		i := heap.Pop(&next).(int)
		first = append(first, h[i])
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			heap.Push(&next, child)
		}
	}
	return first
}

// frontier is a heap of indexes into another heap.
type frontier struct {
	of jobHeap
	at []int
}

func (f frontier) Len() int           { return len(f.at) }
func (f frontier) Less(a, b int) bool { return f.of.Less(f.at[a], f.at[b]) }
func (f frontier) Swap(a, b int)      { f.at[a], f.at[b] = f.at[b], f.at[a] }

// Push is for container/heap.
func (f *frontier) Push(x any) { f.at = append(f.at, x.(int)) }

// Pop is for container/heap.
func (f *frontier) Pop() any {
	last := len(f.at) - 1
	i := f.at[last]
	f.at = f.at[:last]
	return i
}

// history is the latest fills that were done, or that failed, each version once.
type history struct {
	keep    int
	count   int64
	entries []Entry // the latest last
}

func (h *history) add(e Entry) {
	h.count++
	h.remove(module.Version{Path: e.Path, Version: e.Version})
	if len(h.entries) == h.keep {
		h.entries = slices.Delete(h.entries, 0, 1)
	}
	h.entries = append(h.entries, e)
}

func (h *history) remove(m module.Version) {
	h.entries = slices.DeleteFunc(h.entries, func(e Entry) bool {
		return e.Path == m.Path && e.Version == m.Version
	})
}

// latest returns the entries, the latest first.
func (h *history) latest() []Entry {
	latest := append([]Entry{}, h.entries...)
	slices.Reverse(latest)
	return latest
}
