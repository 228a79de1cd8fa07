package blob

import (
	"sync"
	"time"

	"golang.org/x/mod/module"
)

// memory keeps what was seen to be held for a while, in two generations: the
// older one is dropped when the younger is full, so that what is asked for often
// stays. A nil memory keeps nothing.
type memory struct {
	mu         sync.Mutex
	max, size  int64 // bytes of a generation, and of the young one
	lasts      time.Duration
	young, old map[module.Version]known
}

// known is what was seen of a version. A part that was not seen is nil.
type known struct {
	meta      *meta
	metaUntil time.Time
	zip       *zipObject
	zipUntil  time.Time
}

// overhead is about what keeping a version costs beside its content, in bytes.
const overhead = 800

func (k known) size() int64 {
	if k.meta == nil {
		return overhead
	}
	return int64(len(k.meta.object)) + overhead
}

func newMemory(size int64, lasts time.Duration) *memory {
	if size < 0 {
		return nil
	}
	return &memory{max: size / 2, lasts: lasts, young: map[module.Version]known{}}
}

// get returns what is known of m and still believed.
func (c *memory) get(m module.Version) known {
	if c == nil {
		return known{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.young[m]
	if !ok {
		if k, ok = c.old[m]; !ok {
			return known{}
		}
		c.put(m, k)
	}
	now := time.Now()
	if now.After(k.metaUntil) {
		k.meta = nil
	}
	if now.After(k.zipUntil) {
		k.zip = nil
	}
	return k
}

// addMeta and addZip add to what is known of m.
func (c *memory) addMeta(m module.Version, d *meta) {
	c.change(m, func(k *known) { k.meta, k.metaUntil = d, time.Now().Add(c.lasts) })
}

func (c *memory) addZip(m module.Version, z *zipObject) {
	c.change(m, func(k *known) { k.zip, k.zipUntil = z, time.Now().Add(c.lasts) })
}

// dropZip forgets the zip of m, which turned out to be gone.
func (c *memory) dropZip(m module.Version) { c.change(m, func(k *known) { k.zip = nil }) }

func (c *memory) change(m module.Version, change func(*known)) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.young[m]
	if !ok {
		k = c.old[m]
	}
	change(&k)
	c.put(m, k)
}

func (c *memory) put(m module.Version, k known) {
	if k.size() > c.max {
		return
	}
	if was, ok := c.young[m]; ok {
		c.size -= was.size()
	}
	if c.size += k.size(); c.size > c.max {
		c.young, c.old, c.size = map[module.Version]known{}, c.young, k.size()
	}
	c.young[m] = k
}
