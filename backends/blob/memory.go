package blob

import (
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
)

// memory keeps what was seen to be held for a while, within a number of bytes.
type memory struct {
	*cache.Cache[module.Version, known]
	lasts time.Duration
	epoch *atomic.Int64 // how often something was forgotten
}

// known is what was seen of a version. A part that was not seen is nil.
type known struct {
	meta      *meta
	metaUntil time.Time
	zip       *zipObject
	zipUntil  time.Time
}

// partOverhead is about what a meta or a zipObject costs beside its texts, in bytes.
const partOverhead = 200

func size(m module.Version, k known) int64 {
	n := len(m.Path) + len(m.Version)
	if k.meta != nil {
		// The info is the object's line twice more, unwrapped and decoded.
		n += cap(k.meta.object) + 3*k.meta.cut + partOverhead
	}
	if k.zip != nil {
		n += len(k.zip.etag) + len(k.zip.h1) + partOverhead
	}
	return int64(n)
}

// newMemory returns a memory of at most maxBytes, in which things last for a time.
func newMemory(maxBytes int64, lasts time.Duration) memory {
	return memory{cache.New(maxBytes, size), lasts, new(atomic.Int64)}
}

// get returns what is known of m and still believed.
func (c memory) get(m module.Version) known {
	k, _ := c.Get(m)
	now := time.Now()
	if now.After(k.metaUntil) {
		k.meta = nil
	}
	if now.After(k.zipUntil) {
		k.zip = nil
	}
	return k
}

// addMeta and addZip add to what is known of m, unless something was forgotten since an
// epoch, that in which the service was asked.
func (c memory) addMeta(m module.Version, d *meta, since int64) {
	c.Update(m, func(k known) known {
		if c.epoch.Load() != since {
			return k
		}
		k.meta, k.metaUntil = d, time.Now().Add(c.lasts)
		return k
	})
}

func (c memory) addZip(m module.Version, z *zipObject, since int64) {
	c.Update(m, func(k known) known {
		if c.epoch.Load() != since {
			return k
		}
		k.zip, k.zipUntil = z, time.Now().Add(c.lasts)
		return k
	})
}

// dropZip forgets the zip of m, which turned out to be gone.
func (c memory) dropZip(m module.Version) {
	c.Update(m, func(k known) known {
		k.zip = nil
		return k
	})
}

// forget forgets m, and what answers that are on their way say of it.
func (c memory) forget(m module.Version) {
	c.epoch.Add(1)
	c.Delete(m)
}
