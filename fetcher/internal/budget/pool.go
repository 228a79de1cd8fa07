package budget

import (
	"context"
	"sync"
	"time"
)

// A pool is a number of bytes that jobs share. Who waits is served in order, so
// that a large job is not overtaken for ever.
type pool struct {
	size int64

	mu    sync.Mutex
	free  int64
	queue []*waiter
}

type waiter struct {
	n     int64
	ready chan struct{}
}

func newPool(size int64) *pool { return &pool{size: size, free: size} }

// try takes n bytes if they are free and nobody waits.
func (p *pool) try(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 || n > p.free {
		return false
	}
	p.free -= n
	return true
}

// take waits for n bytes, for maxWait at most: jobs that hold some and want more
// could otherwise wait for each other for ever.
func (p *pool) take(ctx context.Context, n int64) error {
	p.mu.Lock()
	w := &waiter{n, make(chan struct{})}
	p.queue = append(p.queue, w)
	p.serve()
	p.mu.Unlock()
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
		err = &BusyError{p.size}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.queue {
		if other == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.serve()
			return err
		}
	}
	return nil // it was served meanwhile
}

func (p *pool) put(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += n
	p.serve()
}

// serve gives the first ones what they wait for; mu is held.
func (p *pool) serve() {
	for len(p.queue) > 0 && p.queue[0].n <= p.free {
		p.free -= p.queue[0].n
		close(p.queue[0].ready)
		p.queue = p.queue[1:]
	}
}
