package fetcher

import (
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// ttlCacheBytes bounds each ttlCache of a Fetcher, in bytes. That is enough for about
// 10,000 paths or repositories.
const ttlCacheBytes = 6 << 20

// A ttlCache keeps answers for a time, within a number of bytes. Evicting one only
// costs another request.
type ttlCache[V any] struct {
	entries *cache.Cache[string, cachedEntry[V]]
}

type cachedEntry[V any] struct {
	value V
	err   error
	at    time.Time
}

// newTTLCache returns a cache of at most maxBytes. The function size returns the bytes
// that a value refers to.
func newTTLCache[V any](maxBytes int64, size func(V) int64) ttlCache[V] {
	return ttlCache[V]{cache.New(maxBytes, func(key string, r cachedEntry[V]) int64 {
		n := int64(len(key)) + size(r.value)
		if r.err != nil {
			n += 3*int64(len(r.err.Error())) + 200 // its text, and those of the errors that it wraps
		}
		return n
	})}
}

// noBytes is the size function for values that refer to nothing.
func noBytes(struct{}) int64 { return 0 }

func (m ttlCache[V]) get(key string) (V, error, bool) {
	r, ok := m.entries.Get(key)
	return r.value, withElapsed(r.at, r.err), ok
}

// withElapsed returns a cached error with RetryAfter reduced by the time since then.
func withElapsed(at time.Time, err error) error {
	outage, ok := err.(*athens.UnavailableError)
	if !ok || outage.RetryAfter <= 0 {
		return err
	}
	now := *outage
	now.RetryAfter = max(outage.RetryAfter-time.Since(at), time.Second)
	return &now
}

func (m ttlCache[V]) put(key string, value V, err error, ttl time.Duration) {
	m.entries.PutFor(key, cachedEntry[V]{value, err, time.Now()}, ttl)
}
