package web

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Bounds of a search.
const (
	maxQuery   = 200  // bytes
	maxMatches = 5000 // that are ranked
)

// search returns the modules whose path has all words of a query, the best first, and
// whether there may be more. A path that is the query is found whatever else there is.
func (x *index) search(query string) (found []held, more bool) {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil, false
	}
	longest := slices.MaxFunc(words, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	x.mu.Lock()
	c := x.now.Load()
	fresh := make(map[string]bool)
	for path, h := range x.fresh {
		if containsAll(strings.ToLower(path), words) {
			found = append(found, *h)
		}
		fresh[path] = true
	}
	x.mu.Unlock()
	exact := strings.TrimSpace(query)
	if i, ok := c.find(exact); ok && !fresh[exact] {
		found = append(found, c.mods[i])
		fresh[exact] = true
	}
	want := gramsOf(words)
	for block := 0; block < len(c.grams) && !more; block++ {
		if c.grams[block].has(want) {
			found, more = c.scan(block, longest, words, fresh, found)
		}
	}
	rank(found, words)
	return found, more
}

// scan appends the modules of a block that have all words, except those in skip. It reports
// whether there were too many.
func (c *catalog) scan(block int, longest string, words []string, skip map[string]bool, found []held) ([]held, bool) {
	names, first := c.block(block)
	offset := int(c.starts[first])
	for at := 0; at < len(names); {
		i := strings.Index(names[at:], longest)
		if i < 0 {
			break
		}
		start := at + strings.LastIndexByte(names[at:at+i], '\n')
		if end := strings.IndexByte(names[at+i:], '\n'); end >= 0 {
			at += i + end
		} else {
			at = len(names)
		}
		if !containsAll(names[start+1:at], words) {
			continue
		}
		n := sort.Search(len(c.starts), func(k int) bool { return int(c.starts[k]) > offset+start }) - 1
		if m := &c.mods[n]; !skip[m.path] {
			if len(found) >= maxMatches {
				return found, true
			}
			found = append(found, *m)
		}
	}
	return found, false
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// rank sorts by how well a path fits: the whole path, then its last element, then the
// beginning of an element, and then the shorter path.
func rank(found []held, words []string) {
	type ranked struct{ score, at int32 }
	order := make([]ranked, len(found))
	for i := range found {
		order[i] = ranked{int32(score(strings.ToLower(found[i].path), words)), int32(i)}
	}
	slices.SortFunc(order, func(a, b ranked) int {
		if a.score != b.score {
			return cmp.Compare(b.score, a.score)
		}
		x, y := found[a.at].path, found[b.at].path
		return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
	})
	all := slices.Clone(found)
	for i, o := range order {
		found[i] = all[o.at]
	}
}

// score says how well a path fits words.
func score(path string, words []string) (points int) {
	for _, w := range words {
		switch i := strings.LastIndex(path, w); {
		case path == w:
			points += 8
		case strings.HasSuffix(path, "/"+w), strings.Contains(path, "/"+w+"/"):
			points += 4
		case i == 0 || path[i-1] == '/':
			points += 2
		}
	}
	return points
}
