package limit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrBusy says that no slot became free in time, or that too many wait for one.
var ErrBusy = errors.New("too many requests are waiting")

// Semaphore has a number of slots, which are taken in the order in which callers came.
// It is safe for concurrent use. Make one with [NewSemaphore].
type Semaphore struct {
	taken chan struct{}
}

// NewSemaphore returns a semaphore with n slots. It panics if n is negative.
func NewSemaphore(n int) *Semaphore { return &Semaphore{taken: make(chan struct{}, n)} }

// TryAcquire takes a slot if one is free.
func (s *Semaphore) TryAcquire() bool {
	select {
	case s.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

// Acquire waits for a slot. If ctx is done first, the error is ctx's cause.
func (s *Semaphore) Acquire(ctx context.Context) error {
	if s.TryAcquire() {
		return nil
	}
	return s.acquire(ctx, nil)
}

// AcquireWithin is like Acquire, but fails with [ErrBusy] after wait.
func (s *Semaphore) AcquireWithin(ctx context.Context, wait time.Duration) error {
	if s.TryAcquire() {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	return s.acquire(ctx, timer.C)
}

func (s *Semaphore) acquire(ctx context.Context, late <-chan time.Time) error {
	select {
	case s.taken <- struct{}{}:
		return nil
	case <-late:
		return ErrBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release gives a slot back. It panics if none is taken.
func (s *Semaphore) Release() {
	select {
	case <-s.taken:
	default:
		panic("limit: Release without Acquire")
	}
}

// Taken returns how many slots are taken.
func (s *Semaphore) Taken() int { return len(s.taken) }

// Keyed has a number of slots for each key and one for all keys together. One key whose
// slots are all taken, such as a host that hangs, takes none from the others. It
// remembers only the keys that are in use, at most one for each slot and waiting
// caller. It is safe for concurrent use. Make one with [NewKeyed].
type Keyed[K comparable] struct {
	each  int
	users int // that may have a slot or wait for one
	all   *Semaphore

	mu    sync.Mutex
	count int // of all users
	keys  map[K]*slots
}

// slots are those of one key.
type slots struct {
	*Semaphore
	users int // that have one of them or wait for one
}

// NewKeyed returns a semaphore with each slots for a key and total in all, on which at
// most waiting callers wait. It panics if a number is negative.
func NewKeyed[K comparable](each, total, waiting int) *Keyed[K] {
	if each < 0 || waiting < 0 {
		panic("limit: a negative number of slots")
	}
	return &Keyed[K]{each: each, users: total + waiting, all: NewSemaphore(total), keys: make(map[K]*slots)}
}

// Acquire waits for a slot of key and one of all, and returns the function that gives
// both back. After wait, and at once when too many wait, the error is [ErrBusy]; when
// ctx is done it is ctx's cause.
func (k *Keyed[K]) Acquire(ctx context.Context, key K, wait time.Duration) (release func(), err error) {
	s := k.enter(key)
	if s == nil {
		return nil, ErrBusy
	}
	start := time.Now()
	if err := s.AcquireWithin(ctx, wait); err != nil {
		k.leave(key, s)
		return nil, err
	}
	if err := k.all.AcquireWithin(ctx, wait-time.Since(start)); err != nil {
		s.Release()
		k.leave(key, s)
		return nil, err
	}
	return sync.OnceFunc(func() {
		k.all.Release()
		s.Release()
		k.leave(key, s)
	}), nil
}

// Len returns the number of keys in use.
func (k *Keyed[K]) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys)
}

func (k *Keyed[K]) enter(key K) *slots {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count >= k.users {
		return nil
	}
	k.count++
	s, ok := k.keys[key]
	if !ok {
		s = &slots{Semaphore: NewSemaphore(k.each)}
		k.keys[key] = s
	}
	s.users++
	return s
}

// leave forgets a key that no caller uses.
func (k *Keyed[K]) leave(key K, s *slots) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count--
	if s.users--; s.users == 0 {
		delete(k.keys, key)
	}
}
