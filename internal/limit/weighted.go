package limit

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Weighted has a number of units, such as bytes of memory, of which each caller takes as
// many as it needs. Callers are served in the order in which they came. It is safe for
// concurrent use. Make one with [NewWeighted].
type Weighted struct {
	size       int64
	collecting sync.Mutex

	mu    sync.Mutex
	taken int64
	queue []*weightedWaiter
}

type weightedWaiter struct {
	n     int64
	ready chan struct{}
}

// NewWeighted returns a Weighted with size units. It panics if size is negative.
func NewWeighted(size int64) *Weighted {
	if size < 0 {
		panic("limit: a negative number of units")
	}
	return &Weighted{size: size}
}

// Acquire waits for n units. One that asks for more than there are gets all of them. After
// wait the error is [ErrBusy]; when ctx is done it is ctx's cause. The caller gives the
// units back by release, which may be called more than once.
func (w *Weighted) Acquire(ctx context.Context, n int64, wait time.Duration) (release func(), err error) {
	n = min(max(n, 0), w.size)
	w.mu.Lock()
	if len(w.queue) == 0 && w.taken+n <= w.size {
		w.taken += n
		w.mu.Unlock()
		return w.releaser(n), nil
	}
	self := &weightedWaiter{n, make(chan struct{})}
	w.queue = append(w.queue, self)
	w.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-self.ready:
		return w.releaser(n), nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.queue, self)
	if at < 0 {
		return w.releaser(n), nil // it was served meanwhile
	}
	w.queue = slices.Delete(w.queue, at, at+1)
	w.serve()
	return nil, err
}

// AcquireBytes waits for n units, for memory that gives them back when it is collected: see
// [ReleaseWith]. While it waits, it collects garbage at times.
func (w *Weighted) AcquireBytes(ctx context.Context, n int64, wait time.Duration) (release func(), err error) {
	start := time.Now()
	for pause := firstCollect; ; pause = collectEvery {
		release, err = w.Acquire(ctx, n, min(pause, wait-time.Since(start)))
		if err == nil || !errors.Is(err, ErrBusy) || time.Since(start) >= wait {
			return release, err
		}
		if w.collecting.TryLock() { // one for all that wait
			runtime.GC()
			w.collecting.Unlock()
		}
	}
}

// A caller waits for so long before it collects garbage, and before it does so again.
const firstCollect, collectEvery = 20 * time.Millisecond, time.Second

// ReleaseWith calls release when b, which is not empty, has been collected.
func ReleaseWith(b []byte, release func()) {
	runtime.AddCleanup(&b[0], func(release func()) { release() }, release)
}

// Taken returns how many units are taken.
func (w *Weighted) Taken() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.taken
}

func (w *Weighted) releaser(n int64) func() {
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken -= n
		w.serve()
	})
}

// serve serves those at the head of the queue; mu is held.
func (w *Weighted) serve() {
	for len(w.queue) > 0 && w.taken+w.queue[0].n <= w.size {
		w.taken += w.queue[0].n
		close(w.queue[0].ready)
		w.queue = slices.Delete(w.queue, 0, 1)
	}
}
