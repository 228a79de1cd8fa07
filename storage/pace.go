package storage

import (
	"context"
	"sync"
	"time"
)

// pace bounds how many bytes are read in a second by all of its users together.
type pace struct {
	rate int64 // bytes a second; zero: no bound

	mu   sync.Mutex
	next time.Time // when the next may be read
}

// wait waits until n bytes may be read, or until ctx is done.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate == 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	delay := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if delay <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(delay):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
