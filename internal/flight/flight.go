// Package flight shares work between callers that want it at the same time.
//
// A flight does not depend on the caller that started it: it runs on its group's
// context, and continues when a waiter leaves. Its parts are [Future]s, so one
// waiter can continue with the first part while another waits for the last.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Future is a value that is set later. Make one with [NewFuture].
type Future[V any] struct {
	once  sync.Once
	done  chan struct{}
	value V
	err   error
}

// NewFuture returns a Future that is not set yet.
func NewFuture[V any]() *Future[V] { return &Future[V]{done: make(chan struct{})} }

// Set gives the future its value or error. Only the first Set counts.
func (f *Future[V]) Set(v V, err error) {
	f.once.Do(func() {
		f.value, f.err = v, err
		close(f.done)
	})
}

// Wait returns what was set, or the cause of ctx's end if that comes first.
func (f *Future[V]) Wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	default:
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var zero V
		return zero, context.Cause(ctx)
	}
}

// Try runs fn; a panic in it becomes a [PanicError].
func Try[V any](fn func() (V, error)) (v V, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return fn()
}

// Start runs fn in a goroutine of its own, as [Try] does.
func Start[V any](fn func() (V, error)) *Future[V] {
	f := NewFuture[V]()
	go func() {
		defer func() {
			var zero V
			f.Set(zero, errGone)
		}()
		f.Set(Try(fn))
	}()
	return f
}

// errGone is the result if the goroutine ended by [runtime.Goexit].
var errGone = errors.New("internal error: the work ended without a result")

// ErrClosed is the error of a flight that a caller wants after [Group.Wait].
var ErrClosed = errors.New("shutting down")

// ErrFull is the error of a flight that a bounded group has no room for.
var ErrFull = errors.New("too many calls are running")

// PanicError is the error of a flight that panicked.
type PanicError struct {
	Value any    // of the panic
	Stack []byte // where it happened
}

func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Group is a set of flights, with at most one for each key at any time.
type Group[K, T comparable] struct {
	ctx     context.Context
	mu      sync.Mutex
	flights map[K]T
	most    int // flights at once; zero is no limit
	closed  bool
	running sync.WaitGroup
}

// NewGroup returns a group whose flights run on ctx.
func NewGroup[K, T comparable](ctx context.Context) *Group[K, T] {
	return &Group[K, T]{ctx: ctx, flights: make(map[K]T)}
}

// Join returns the flight that is under way for key, or starts one: fresh makes
// its parts, run does its work and sets them, fail sets what a panic left
// unset. The flight can be joined until run returns. After [Group.Wait] has
// begun, no flight starts: it fails with [ErrClosed].
func (g *Group[K, T]) Join(key K, fresh func() T, run func(context.Context, T), fail func(T, error)) T {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t, ok := g.flights[key]; ok {
		return t
	}
	t := fresh()
	switch {
	case g.closed:
		fail(t, ErrClosed)
		return t
	case g.most > 0 && len(g.flights) >= g.most:
		fail(t, ErrFull)
		return t
	}
	g.flights[key] = t
	g.running.Go(func() {
		over := false
		defer func() {
			g.Forget(key, t)
			if v := recover(); v != nil {
				fail(t, &PanicError{Value: v, Stack: debug.Stack()})
			} else if !over {
				fail(t, errGone)
			}
		}()
		run(g.ctx, t)
		over = true
	})
	return t
}

// Running reports whether a flight is under way for key, which [Group.Join] would join.
func (g *Group[K, T]) Running(key K) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, running := g.flights[key]
	return running
}

// Forget keeps others from joining a flight that can't serve them any more.
func (g *Group[K, T]) Forget(key K, t T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[key] == t {
		delete(g.flights, key)
	}
}

// Wait lets no more flights start and waits until none is under way.
func (g *Group[K, T]) Wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.running.Wait()
}

// Calls is a [Group] whose flights have one part: the result of a function.
type Calls[K comparable, V any] struct{ group *Group[K, *Future[V]] }

// NewCalls returns a group whose calls run on ctx.
func NewCalls[K comparable, V any](ctx context.Context) *Calls[K, V] {
	return &Calls[K, V]{NewGroup[K, *Future[V]](ctx)}
}

// NewBoundedCalls is like [NewCalls], but a call that starts while most others are
// under way fails with [ErrFull].
func NewBoundedCalls[K comparable, V any](ctx context.Context, most int) *Calls[K, V] {
	c := NewCalls[K, V](ctx)
	c.group.most = most
	return c
}

// Do returns the result of the call that is under way for key, or of fn. It
// returns early when ctx is done; the call goes on for the others.
func (c *Calls[K, V]) Do(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error) {
	return c.Start(key, fn).Wait(ctx)
}

// Start is like Do but returns without waiting.
func (c *Calls[K, V]) Start(key K, fn func(context.Context) (V, error)) *Future[V] {
	return c.group.Join(key, NewFuture[V],
		func(ctx context.Context, f *Future[V]) {
			v, err := fn(ctx)
			c.group.Forget(key, f) // or a caller that asks after the answer would get it again
			f.Set(v, err)
		},
		func(f *Future[V], err error) {
			var zero V
			f.Set(zero, err)
		},
	)
}

// Running reports whether a call is under way for key.
func (c *Calls[K, V]) Running(key K) bool { return c.group.Running(key) }

// Wait lets no more calls start and waits until none is under way.
func (c *Calls[K, V]) Wait() { c.group.Wait() }
