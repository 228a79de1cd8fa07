package web

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// index knows which modules and versions are held. Most of it is a catalog, which does not
// change; what came since is in a small map beside it, until merge makes a new catalog of
// both.
type index struct {
	now   atomic.Pointer[catalog]
	built atomic.Bool // the store was walked over

	mu    sync.Mutex
	fresh map[string]*held // in place of what the catalog has
}

// catalog is sorted by path.
type catalog struct {
	mods   []held
	names  string    // the paths in lower case, each with a newline before it, for search
	starts []uint32  // where each is in names
	grams  []gramSet // of the names of each block, for search
	shares *shares   // of the modules, where there are too many to be counted for a page
	edges  []uint64  // requirements, sorted: see edge
	count  int       // versions
}

// held is a module, of which versions are held.
type held struct {
	path     string
	versions string // separated by blanks, the highest last
	count    int32
	measured bool
	bytes    int64    // of the zips and .mod files that were measured
	newest   int64    // when a version was stored last, in Unix seconds; 0: not known
	requires []uint64 // of the highest version: hashes of paths; nil in a catalog, which has edges
}

// latest is the highest release, or the highest version if there is none.
func (h *held) latest() string {
	list := strings.Fields(h.versions)
	for _, v := range slices.Backward(list) {
		if semver.Prerelease(v) == "" {
			return v
		}
	}
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

func newIndex() *index {
	x := &index{fresh: make(map[string]*held)}
	x.now.Store(&catalog{})
	return x
}

// find returns a module of the catalog.
func (c *catalog) find(path string) (int, bool) {
	return sort.Find(len(c.mods), func(i int) int { return strings.Compare(path, c.mods[i].path) })
}

// get returns what is known of a module.
func (x *index) get(path string) (held, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.locked(path)
}

func (x *index) locked(path string) (held, bool) {
	if h := x.fresh[path]; h != nil {
		return *h, true
	}
	c := x.now.Load()
	if i, ok := c.find(path); ok {
		return c.mods[i], true
	}
	return held{}, false
}

// change changes what is known of a module; a new one has nothing yet.
func (x *index) change(path string, how func(h *held)) {
	x.mu.Lock()
	h, _ := x.locked(path)
	h.path = path
	how(&h)
	x.fresh[path] = &h
	many := len(x.fresh) > maxFresh
	x.mu.Unlock()
	if many {
		x.merge(true)
	}
}

// maxFresh is how many modules stand beside the catalog at most.
const maxFresh = 5000

// add notes that a version was stored.
func (x *index) add(m module.Version, at time.Time) {
	x.change(m.Path, func(h *held) {
		list := strings.Fields(h.versions)
		i, found := slices.BinarySearchFunc(list, m.Version, semver.Compare)
		if !found {
			list = slices.Insert(list, i, m.Version)
			h.versions, h.count = strings.Join(list, " "), int32(len(list))
		}
		h.newest = at.Unix()
	})
}

// merge makes a catalog of what there is, if enough came or if it must.
func (x *index) merge(now bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.fresh) == 0 || !now && len(x.fresh) < 100 {
		return
	}
	old := x.now.Load()
	mods := make([]held, 0, len(old.mods)+len(x.fresh))
	moved := make([]int32, len(old.mods)) // where each is now, plus 1
	for i, m := range old.mods {
		if x.fresh[m.path] == nil {
			mods = append(mods, m)
		}
		moved[i] = int32(i)
	}
	for _, h := range x.fresh {
		mods = append(mods, *h)
	}
	next := newCatalog(mods)
	for i, m := range old.mods {
		moved[i] = -1
		at, found := next.find(m.path)
		if fresh := x.fresh[m.path]; found && (fresh == nil || fresh.requires == nil) {
			moved[i] = int32(at)
		}
	}
	for _, e := range old.edges {
		if to := moved[e&ownerMask]; to >= 0 {
			next.edges = append(next.edges, e&^ownerMask|uint64(to))
		}
	}
	next.connect()
	clear(x.fresh)
	x.now.Store(next)
}

// replace takes the result of a walk, which began at a time, in place of the catalog. What
// was stored since, and what was measured before, stays.
func (x *index) replace(mods []held, began time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := make(map[string]bool, len(mods))
	for i := range mods {
		known[mods[i].path] = true
		if h, ok := x.locked(mods[i].path); ok {
			mods[i].newest, mods[i].bytes = h.newest, h.bytes
			mods[i].measured = h.measured && h.versions == mods[i].versions
			if mods[i].requires == nil {
				mods[i].requires = h.requires
			}
		}
	}
	for path, h := range x.fresh {
		if h.newest < began.Unix() {
			delete(x.fresh, path)
		} else if !known[path] {
			mods = append(mods, *h)
		}
	}
	next := newCatalog(mods)
	old := x.now.Load()
	for _, e := range old.edges {
		owner := &old.mods[e&ownerMask]
		if to, ok := next.find(owner.path); ok && next.mods[to].requires == nil {
			next.edges = append(next.edges, e&^ownerMask|uint64(to))
		}
	}
	next.connect()
	x.now.Store(next)
	x.built.Store(true)
}

// newCatalog sorts mods, which it keeps.
func newCatalog(mods []held) *catalog {
	slices.SortFunc(mods, func(a, b held) int { return strings.Compare(a.path, b.path) })
	c := &catalog{mods: mods, starts: make([]uint32, len(mods))}
	size := 0
	for i := range mods {
		size += len(mods[i].path) + 1
		c.count += int(mods[i].count)
	}
	var b strings.Builder
	b.Grow(size)
	for i := range mods {
		c.starts[i] = uint32(b.Len())
		b.WriteByte('\n')
		b.WriteString(strings.ToLower(mods[i].path))
	}
	c.names = b.String()
	for i := range mods { // most paths are in lower case: they need no memory of their own
		start := int(c.starts[i]) + 1
		if end := start + len(mods[i].path); end <= len(c.names) && c.names[start:end] == mods[i].path {
			mods[i].path = c.names[start:end]
		}
	}
	c.sign()
	if len(mods) > maxCounted {
		c.shares = sharesOf(func(yield func(h *held) bool) {
			for i := range c.mods {
				if !yield(&c.mods[i]) {
					return
				}
			}
		})
	}
	return c
}

// An edge is a requirement: the upper bits are of the hash of the required path, the lower
// ones say whose it is.
const ownerMask = 1<<24 - 1

// hash is that of a path in an edge.
func hash(path string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * prime
	}
	return h &^ ownerMask
}

// connect takes the requirements that modules have with them into the edges.
func (c *catalog) connect() {
	for i := range min(len(c.mods), ownerMask) {
		for _, h := range c.mods[i].requires {
			c.edges = append(c.edges, h|uint64(i))
		}
		c.mods[i].requires = nil
	}
	slices.Sort(c.edges)
	c.edges = slices.Clip(c.edges)
}

// dependents calls each for the modules whose highest version requires path, until it
// returns false.
func (x *index) dependents(path string, each func(h held) bool) {
	want := hash(path)
	x.mu.Lock()
	var fresh []held
	known := make(map[string]bool) // what they require
	for path, h := range x.fresh {
		known[path] = h.requires != nil
		if slices.Contains(h.requires, want) {
			fresh = append(fresh, *h)
		}
	}
	c := x.now.Load()
	x.mu.Unlock()
	for _, h := range fresh {
		if !each(h) {
			return
		}
	}
	i, _ := slices.BinarySearch(c.edges, want)
	for ; i < len(c.edges) && c.edges[i]&^ownerMask == want; i++ {
		h := c.mods[c.edges[i]&ownerMask]
		if !known[h.path] && !each(h) {
			return
		}
	}
}

// all calls each for all modules, sorted by path but for what is new, from the first
// behind a path on, until it returns false.
func (x *index) all(after string, each func(h *held) bool) {
	x.mu.Lock()
	c := x.now.Load()
	fresh := make([]held, 0, len(x.fresh))
	for _, h := range x.fresh {
		if h.path > after {
			fresh = append(fresh, *h)
		}
	}
	x.mu.Unlock()
	slices.SortFunc(fresh, func(a, b held) int { return strings.Compare(a.path, b.path) })
	i := 0
	if after != "" {
		var found bool
		if i, found = c.find(after); found {
			i++
		}
	}
	for i < len(c.mods) || len(fresh) > 0 {
		switch {
		case i < len(c.mods) && (len(fresh) == 0 || c.mods[i].path < fresh[0].path):
			if !each(&c.mods[i]) {
				return
			}
			i++
		default:
			if i < len(c.mods) && c.mods[i].path == fresh[0].path {
				i++
			}
			if !each(&fresh[0]) {
				return
			}
			fresh = fresh[1:]
		}
	}
}
