package fetcher

import (
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// rememberedBytes bounds each memory of a Fetcher, in bytes: that is some 10,000 paths
// or repositories.
const rememberedBytes = 6 << 20

// A memory remembers answers for a time, within a number of bytes: forgetting only
// costs asking again.
type memory[V any] struct {
	held *cache.Cache[string, remembered[V]]
}

type remembered[V any] struct {
	value V
	err   error
	at    time.Time
}

// newMemory returns a memory of at most maxBytes. The function size returns the bytes
// that a value refers to.
func newMemory[V any](maxBytes int64, size func(V) int64) memory[V] {
	return memory[V]{cache.New(maxBytes, func(key string, r remembered[V]) int64 {
		n := int64(len(key)) + size(r.value)
		if r.err != nil {
			n += 3*int64(len(r.err.Error())) + 200 // its text, and those of the errors in it
		}
		return n
	})}
}

// nothing is the size of a value that refers to nothing.
func nothing(struct{}) int64 { return 0 }

func (m memory[V]) get(key string) (V, error, bool) {
	r, ok := m.held.Get(key)
	return r.value, since(r.at, r.err), ok
}

// since is an error of that time as it is told now: a wait is what is left of it.
func since(at time.Time, err error) error {
	outage, ok := err.(*athens.UnavailableError)
	if !ok || outage.RetryAfter <= 0 {
		return err
	}
	now := *outage
	now.RetryAfter = max(outage.RetryAfter-time.Since(at), time.Second)
	return &now
}

func (m memory[V]) put(key string, value V, err error, ttl time.Duration) {
	m.held.PutFor(key, remembered[V]{value, err, time.Now()}, ttl)
}
