package redirect

import (
	"context"
	"sync"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flight"
)

// sharing runs one call for all equal calls at the same time. The call depends on no single
// caller, and is canceled only when all of them have left.
type sharing struct {
	mu    sync.Mutex
	calls map[string]*call
}

// A call is a running call.
type call struct {
	waiting int
	cancel  context.CancelFunc
	answer  *flight.Future[[]byte]
}

func newSharing() *sharing { return &sharing{calls: make(map[string]*call)} }

// do returns the answer of the running call for key, otherwise of fn. A question that came through
// other servers does not join a call that did not: it may be caused by that very call.
func (s *sharing) do(ctx context.Context, key string, fn func(context.Context) ([]byte, error)) ([]byte, error) {
	info := athens.RequestInfoFrom(ctx)
	key = info.Via + "\x00" + key
	s.mu.Lock()
	c, ok := s.calls[key]
	if !ok {
		work, cancel := context.WithCancel(info.Context(context.Background()))
		c = &call{cancel: cancel}
		s.calls[key] = c
		c.answer = flight.Start(func() ([]byte, error) {
			defer s.forget(key, c)
			return fn(work)
		})
	}
	c.waiting++
	s.mu.Unlock()
	defer s.leave(key, c)
	return c.answer.Wait(ctx)
}

// leave records that a caller no longer waits.
func (s *sharing) leave(key string, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		s.remove(key, c) // under the same lock, so that no caller joins a canceled call
		c.cancel()
	}
}

// forget removes an ended call, so that the next caller starts a new one.
func (s *sharing) forget(key string, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(key, c)
}

// remove takes c out of the calls; the caller holds s.mu.
func (s *sharing) remove(key string, c *call) {
	if s.calls[key] == c {
		delete(s.calls, key)
	}
}
