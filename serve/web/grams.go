package web

// A search looks at the names of a block of modules only if the block has all groups of three
// letters that are in the words. Most blocks do not, so that a search of a million modules
// reads a small part of their names.
const (
	blockModules = 64
	gramBits     = 2048 // about 4 bytes for each module
)

// gramSet has a bit for each group of three letters, by their hash.
type gramSet [gramBits / 64]uint64

// add adds the groups of a text.
func (g *gramSet) add(text string) {
	for i := 2; i < len(text); i++ {
		h := (uint32(text[i-2])<<16 | uint32(text[i-1])<<8 | uint32(text[i])) * 2654435761 >> 21
		g[h/64] |= 1 << (h % 64)
	}
}

// has reports whether a set has all of another one.
func (g *gramSet) has(want []gramWord) bool {
	for _, w := range want {
		if g[w.at]&w.bits != w.bits {
			return false
		}
	}
	return true
}

// gramWord is a part of a set that is not empty.
type gramWord struct {
	at   int
	bits uint64
}

// gramsOf returns the groups of all words.
func gramsOf(words []string) (want []gramWord) {
	var all gramSet
	for _, w := range words {
		all.add(w)
	}
	for at, bits := range all {
		if bits != 0 {
			want = append(want, gramWord{at, bits})
		}
	}
	return want
}

// sign makes the sets of the catalog's names.
func (c *catalog) sign() {
	c.grams = make([]gramSet, (len(c.mods)+blockModules-1)/blockModules)
	for i := range c.grams {
		names, _ := c.block(i)
		c.grams[i].add(names)
	}
}

// block returns the names of a block, each with a newline before it, and its first module.
func (c *catalog) block(i int) (names string, first int) {
	first = i * blockModules
	if next := first + blockModules; next < len(c.starts) {
		return c.names[c.starts[first]:c.starts[next]], first
	}
	return c.names[c.starts[first]:], first
}
