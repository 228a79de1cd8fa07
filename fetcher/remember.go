package fetcher

import (
	"sync"
	"time"
)

// A memory remembers answers for a time. When it is full it forgets what has
// expired, or else everything: forgetting only costs asking again.
type memory[V any] struct {
	mu   sync.Mutex
	max  int
	held map[string]remembered[V]
}

type remembered[V any] struct {
	value V
	err   error
	until time.Time
}

func newMemory[V any](max int) *memory[V] {
	return &memory[V]{max: max, held: make(map[string]remembered[V])}
}

func (m *memory[V]) get(key string, now time.Time) (V, error, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.held[key]
	if !ok || now.After(r.until) {
		var zero V
		return zero, nil, false
	}
	return r.value, r.err, true
}

func (m *memory[V]) put(key string, value V, err error, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) >= m.max {
		now := time.Now()
		for k, r := range m.held {
			if now.After(r.until) {
				delete(m.held, k)
			}
		}
		if len(m.held) >= m.max {
			clear(m.held)
		}
	}
	m.held[key] = remembered[V]{value, err, until}
}
