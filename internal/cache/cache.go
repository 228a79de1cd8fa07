// Package cache keeps values in memory within a number of bytes.
//
// When a new value would exceed the bound, a [Cache] drops the value that was not used for
// the longest time. It drops an expired value when a caller asks for it. It does not keep a
// value larger than the whole bound. The bound covers all memory that the cache keeps alive:
// what the keys and values refer to, as the cost function given to [New] counts it, and the
// cache's own entries and table, which the cache counts itself.
//
// There is no goroutine: the cache reads the time when a caller asks for a value that expires.
package cache

import (
	"maps"
	"sync"
	"time"
	"unsafe"
)

// Cache keeps values under keys. It is safe for concurrent use. A nil *Cache keeps
// nothing. Make one with [New].
type Cache[K comparable, V any] struct {
	max   int64
	cost  func(K, V) int64
	fixed int64     // what an entry costs beside what cost counts, in bytes
	start time.Time // entries expire by their distance from it

	mu    sync.Mutex
	byKey map[K]*entry[K, V]
	peak  int // the largest number of entries since byKey was made
	bytes int64
	used  entry[K, V] // ring: next is the entry used last, prev the one used least recently
}

type entry[K comparable, V any] struct {
	prev, next *entry[K, V]
	key        K
	value      V
	cost       int64         // in all
	expires    time.Duration // after start; zero means never
}

// New returns a cache of at most maxBytes. The cost function returns the bytes of
// memory that a key and a value refer to, without the K and the V themselves: the
// bytes of a string or slice and of everything they point to. It is called while the
// cache is locked. If maxBytes is less than 1, the cache keeps nothing.
func New[K comparable, V any](maxBytes int64, cost func(K, V) int64) *Cache[K, V] {
	c := &Cache[K, V]{max: maxBytes, cost: cost, start: time.Now(), byKey: make(map[K]*entry[K, V])}
	c.used.prev, c.used.next = &c.used, &c.used
	// The allocator rounds an entry up by an eighth at most. The table has up to 2.3
	// places for each entry, and while it grows both the old and the new one.
	var key K
	c.fixed = int64(unsafe.Sizeof(c.used))*9/8 + 4*(int64(unsafe.Sizeof(key))+int64(unsafe.Sizeof(&c.used))+1)
	return c
}

// Get returns the value under key and makes it the one used last. It does not
// allocate.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e := c.live(key); e != nil {
			return e.value, true
		}
	}
	var zero V
	return zero, false
}

// Put keeps value under key until it is dropped for others.
func (c *Cache[K, V]) Put(key K, value V) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(key, value, 0)
}

// PutFor keeps value under key for a time. If ttl is not positive, nothing is kept
// under key afterwards.
func (c *Cache[K, V]) PutFor(key K, value V, ttl time.Duration) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ttl <= 0 {
		c.remove(c.byKey[key])
		return
	}
	c.set(key, value, max(time.Since(c.start), 0)+ttl)
}

// Update replaces the value under key by what change returns, in one step. Change gets
// the present value, or the zero V if there is none, and is called while the cache is
// locked. The new value stays until it is dropped for others.
func (c *Cache[K, V]) Update(key K, change func(V) V) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var value V
	if e := c.live(key); e != nil {
		value = e.value
	}
	c.set(key, change(value), 0)
}

// Delete forgets the value under key.
func (c *Cache[K, V]) Delete(key K) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.byKey[key])
}

// Len returns the number of values, including expired ones that no caller has asked for since.
func (c *Cache[K, V]) Len() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byKey)
}

// Bytes returns the memory that counts against the bound now.
func (c *Cache[K, V]) Bytes() int64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// live returns the entry of key, which is now the one used last, or nil.
func (c *Cache[K, V]) live(key K) *entry[K, V] {
	e := c.byKey[key]
	switch {
	case e == nil:
		return nil
	case e.expires != 0 && time.Since(c.start) >= e.expires:
		c.remove(e)
		return nil
	case c.used.next != e:
		c.unlink(e)
		c.link(e)
	}
	return e
}

// set replaces the entry of key, and makes room for it.
func (c *Cache[K, V]) set(key K, value V, expires time.Duration) {
	cost := max(c.cost(key, value), 0)
	if cost > c.max-c.fixed {
		c.remove(c.byKey[key]) // its value is no longer the one that was put last
		return
	}
	cost += c.fixed
	e := c.byKey[key]
	if e == nil {
		e = &entry[K, V]{}
		c.byKey[key] = e
		c.peak = max(c.peak, len(c.byKey))
	} else {
		c.bytes -= e.cost
		c.unlink(e)
	}
	// The key that cost has counted is the one to keep: an equal one may be part of a
	// larger string.
	e.key, e.value, e.cost, e.expires = key, value, cost, expires
	c.link(e)
	for c.bytes += cost; c.bytes > c.max; {
		c.remove(c.used.prev)
	}
}

func (c *Cache[K, V]) link(e *entry[K, V]) {
	e.prev, e.next = &c.used, c.used.next
	e.prev.next, e.next.prev = e, e
}

func (c *Cache[K, V]) unlink(e *entry[K, V]) {
	e.prev.next, e.next.prev = e.next, e.prev
}

// remove drops an entry; nil is none.
func (c *Cache[K, V]) remove(e *entry[K, V]) {
	if e == nil {
		return
	}
	c.unlink(e)
	c.bytes -= e.cost
	delete(c.byKey, e.key)
	// A map never gives memory back. One that once had many small entries would stay
	// beside the few large ones that now fill the cache.
	if c.peak > 64 && len(c.byKey) < c.peak/4 {
		byKey := make(map[K]*entry[K, V], len(c.byKey))
		maps.Copy(byKey, c.byKey)
		c.byKey, c.peak = byKey, len(byKey)
	}
}
