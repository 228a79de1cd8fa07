package redirect

import "container/list"

// cache keeps what was used last, within a number of bytes. It has no lock.
type cache struct {
	most, size int64
	used       *list.List // of *cached, the one used last in front
	byName     map[string]*list.Element
}

// cached is one entry.
type cached struct {
	name string
	data []byte
}

// overhead is about what an entry costs beside its name and data.
const overhead = 200

func (e *cached) size() int64 { return int64(len(e.name) + len(e.data) + overhead) }

func newCache(most int64) *cache {
	return &cache{most: most, used: list.New(), byName: make(map[string]*list.Element)}
}

func (c *cache) get(name string) ([]byte, bool) {
	at, ok := c.byName[name]
	if !ok {
		return nil, false
	}
	c.used.MoveToFront(at)
	return at.Value.(*cached).data, true
}

func (c *cache) put(name string, data []byte) {
	if at, ok := c.byName[name]; ok {
		c.remove(at)
	}
	entry := &cached{name, data}
	c.byName[name] = c.used.PushFront(entry)
	for c.size += entry.size(); c.size > c.most; {
		c.remove(c.used.Back())
	}
}

func (c *cache) remove(at *list.Element) {
	entry := c.used.Remove(at).(*cached)
	delete(c.byName, entry.name)
	c.size -= entry.size()
}
