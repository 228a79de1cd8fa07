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
	for at := 0; at < len(c.names); {
		i := strings.Index(c.names[at:], longest)
		if i < 0 {
			break
		}
		start := at + strings.LastIndexByte(c.names[at:at+i], '\n')
		if end := strings.IndexByte(c.names[at+i:], '\n'); end >= 0 {
			at += i + end
		} else {
			at = len(c.names)
		}
		if !containsAll(c.names[start+1:at], words) {
			continue
		}
		n := sort.Search(len(c.starts), func(k int) bool { return int(c.starts[k]) > start }) - 1
		if m := &c.mods[n]; !fresh[m.path] {
			if len(found) >= maxMatches {
				more = true
				break
			}
			found = append(found, *m)
		}
	}
	rank(found, words)
	return found, more
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
	type ranked struct {
		held
		score int
	}
	all := make([]ranked, len(found))
	for i, h := range found {
		all[i] = ranked{h, score(strings.ToLower(h.path), words)}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(len(a.path), len(b.path)), strings.Compare(a.path, b.path))
	})
	for i := range all {
		found[i] = all[i].held
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
