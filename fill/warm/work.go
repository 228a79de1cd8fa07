package warm

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// work is a queue of functions, which may add others. What others depend on comes first.
type work struct {
	mu      sync.Mutex
	changed *sync.Cond
	first   []func()
	then    []func()
	running int
	stopped bool
}

func newWork() *work {
	w := &work{}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *work) add(first bool, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first {
		w.first = append(w.first, do)
	} else {
		w.then = append(w.then, do)
	}
	w.changed.Signal()
}

// run runs what is queued until nothing is left, or ctx is done.
func (w *work) run(ctx context.Context, parallel int) {
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stopped = true
		w.changed.Broadcast()
	})
	defer stop()
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for do := w.next(); do != nil; do = w.next() {
				do()
				w.mu.Lock()
				w.running--
				w.changed.Broadcast()
				w.mu.Unlock()
			}
		})
	}
	workers.Wait()
}

// next waits for work. Nil says that there will be none.
func (w *work) next() func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		from := &w.first
		if len(w.first) == 0 {
			from = &w.then
		}
		switch {
		case w.stopped:
			return nil
		case len(*from) > 0:
			do := (*from)[0]
			*from = (*from)[1:]
			w.running++
			return do
		case w.running == 0:
			return nil
		}
		w.changed.Wait()
	}
}

// summary counts what was done.
func (r *run) summary() *Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.done {
		switch {
		case !s.mod:
		case s.scheduled:
			r.sum.Scheduled++
		default:
			r.sum.Versions++
			if s.zip {
				r.sum.Zips++
			}
			if s.held {
				r.sum.Held++
			}
		}
	}
	slices.SortFunc(r.sum.Failed, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.Module.Path, b.Module.Path), cmp.Compare(a.Module.Version, b.Module.Version), cmp.Compare(a.What, b.What))
	})
	return r.sum
}
