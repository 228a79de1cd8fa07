package gitpack

import (
	"container/list"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// A baseContent is the content of a delta's base.
type baseContent struct {
	kind    plumbing.ObjectType
	data    []byte
	charged int64 // to the job, apart from what the cache is charged
}

type baseKey struct {
	pack   *storedPack
	offset int64
}

// A baseCache keeps the bases used most recently, since one is often needed for
// many objects. Their memory is charged to the job that reads.
type baseCache struct {
	known map[baseKey]*list.Element
	order list.List // of *cachedBase, the last one used first
	bytes int64
}

type cachedBase struct {
	key  baseKey
	base *baseContent
}

const (
	cacheBytes    = 8 << 20
	cacheOverhead = 256 // bytes of memory for each base
)

func (b *baseContent) cost() int64 { return int64(len(b.data)) + cacheOverhead }

func (c *baseCache) get(p *storedPack, offset int64) *baseContent {
	e, ok := c.known[baseKey{p, offset}]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedBase).base
}

// add caches a base if there is memory for it.
func (c *baseCache) add(job *budget.Job, p *storedPack, offset int64, base *baseContent) {
	key, cost := baseKey{p, offset}, base.cost()
	if c.known[key] != nil || cost > cacheBytes/2 {
		return
	}
	for c.bytes+cost > cacheBytes {
		c.drop(job, c.order.Back())
	}
	if !job.TryGrow(cost) {
		return
	}
	if c.known == nil {
		c.known = make(map[baseKey]*list.Element)
	}
	c.known[key] = c.order.PushFront(&cachedBase{key, base})
	c.bytes += cost
}

func (c *baseCache) drop(job *budget.Job, e *list.Element) {
	b := c.order.Remove(e).(*cachedBase)
	delete(c.known, b.key)
	c.bytes -= b.base.cost()
	job.Shrink(b.base.cost())
}

func (c *baseCache) clear(job *budget.Job) {
	for e := c.order.Back(); e != nil; e = c.order.Back() {
		c.drop(job, e)
	}
}
