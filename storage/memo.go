package storage

import (
	"sync"

	"golang.org/x/mod/module"
)

// known is what a store remembers of a version that is held: versions never
// change, so it stays true.
type known struct {
	base   string // the name of its files, without their extension
	info   bool   // its .info was read and is one
	zip    bool   // its zip had the size that is recorded
	synced bool   // its .info, .mod and folder are on the medium
}

// memo remembers a bounded number of versions. It keeps two generations and
// drops the older one when the younger is full, so that what is asked for
// often stays.
type memo struct {
	mu         sync.Mutex
	max        int // of a generation
	young, old map[module.Version]known
}

func newMemo(size int) *memo {
	return &memo{max: (size + 1) / 2, young: map[module.Version]known{}}
}

func (c *memo) get(m module.Version) (known, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.young[m]
	if !ok {
		if k, ok = c.old[m]; ok {
			c.put(m, k)
		}
	}
	return k, ok
}

// add merges what is newly known of m into what is remembered.
func (c *memo) add(m module.Version, k known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.young[m]
	if !ok {
		was = c.old[m]
	}
	k.info = k.info || was.info
	k.zip = k.zip || was.zip
	k.synced = k.synced || was.synced
	c.put(m, k)
}

// forget drops what is remembered of a version whose files are not what they were.
func (c *memo) forget(m module.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, m)
	delete(c.old, m)
}

func (c *memo) put(m module.Version, k known) {
	if _, ok := c.young[m]; !ok && len(c.young) >= c.max {
		c.young, c.old = make(map[module.Version]known, c.max), c.young
	}
	c.young[m] = k
}
