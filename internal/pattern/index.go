package pattern

import (
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"
)

// None is what Last returns where nothing matches; the lines that are added have
// larger numbers.
const None = -2

// Index finds the numbers of the lines whose pattern matches a path. Patterns
// without wildcards, of which a list of blocked modules consists, are found by
// the path's prefixes, so that their number does not matter.
type Index struct {
	exact   map[string][]int
	lengths lengths // of exact's patterns
	globs   []numbered
}

// lengths is a set of lengths in bytes, so that a prefix of another length is not looked up.
type lengths [4]uint64

func (l *lengths) add(n int)      { n = min(n, 255); l[n/64] |= 1 << (n % 64) }
func (l *lengths) has(n int) bool { n = min(n, 255); return l[n/64]&(1<<(n%64)) != 0 }

// AnyCase is an Index that matches a path in every spelling.
type AnyCase struct {
	lower Index // of patterns in lower case, for paths in lower case
	exact Index // of patterns that may match more as they are written
}

// Add adds the patterns of a line.
func (x *AnyCase) Add(line int, globs []string) {
	for _, g := range globs {
		x.lower.Add(line, []string{lowerGlob(g)})
		if strings.ContainsFunc(g, func(c rune) bool { return c == '[' || c >= utf8.RuneSelf }) {
			x.exact.Add(line, []string{g})
		}
	}
}

// Clone returns a copy that may be added to.
func (x *AnyCase) Clone() AnyCase { return AnyCase{x.lower.Clone(), x.exact.Clone()} }

// Last returns the largest number among the lines that match, or None.
func (x *AnyCase) Last(path string) int {
	n := None
	x.each(path, func(line int) { n = max(n, line) })
	return n
}

// All appends the numbers of the lines that match, in no order; some come twice.
func (x *AnyCase) All(lines []int, path string) []int {
	x.each(path, func(line int) { lines = append(lines, line) })
	return lines
}

// empty reports whether there are no patterns.
func (x *AnyCase) empty() bool { return x.lower.empty() }

// each calls f for each match.
func (x *AnyCase) each(path string, f func(line int)) {
	if x.empty() {
		return
	}
	x.lower.each(strings.ToLower(path), f)
	x.exact.each(path, f)
}

// numbered is a pattern with wildcards.
type numbered struct {
	glob    string
	suffix  string // of a pattern such as *.corp.example: what follows its only wildcard
	slashes int    // in the pattern
	line    int
}

func newNumbered(glob string, line int) numbered {
	g := numbered{glob: glob, slashes: strings.Count(glob, "/"), line: line}
	if rest, ok := strings.CutPrefix(glob, "*"); ok && !strings.ContainsAny(rest, wildcards) {
		g.suffix = rest
	}
	return g
}

// matches reports whether the pattern matches the path or what a slash of it ends.
func (g numbered) matches(p string) bool {
	for i, left := 0, g.slashes; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		if left == 0 {
			p = p[:i]
			break
		}
		left--
	}
	if g.suffix != "" {
		star, ok := strings.CutSuffix(p, g.suffix)
		return ok && !strings.Contains(star, "/")
	}
	return module.MatchPrefixPatterns(g.glob, p)
}

// wildcards are the bytes that make a pattern of what would be a path.
const wildcards = `*?[\`

// Add adds the patterns of a line.
func (x *Index) Add(line int, globs []string) {
	for _, g := range globs {
		if strings.ContainsAny(g, wildcards) {
			x.globs = append(x.globs, newNumbered(g, line))
			continue
		}
		if x.exact == nil {
			x.exact = make(map[string][]int)
		}
		x.exact[g] = append(x.exact[g], line)
		x.lengths.add(len(g))
	}
}

// Clone returns a copy that may be added to.
func (x *Index) Clone() Index {
	c := Index{exact: maps.Clone(x.exact), lengths: x.lengths, globs: slices.Clone(x.globs)}
	for g, lines := range c.exact {
		c.exact[g] = slices.Clone(lines)
	}
	return c
}

// Last returns the largest number among the lines that match, or None.
func (x *Index) Last(p string) int {
	n := None
	x.each(p, func(line int) { n = max(n, line) })
	return n
}

// All appends the numbers of the lines that match, in no order; some come twice.
func (x *Index) All(lines []int, path string) []int {
	x.each(path, func(line int) { lines = append(lines, line) })
	return lines
}

// empty reports whether there are no patterns.
func (x *Index) empty() bool { return len(x.exact) == 0 && len(x.globs) == 0 }

// each calls f for each match.
func (x *Index) each(path string, f func(line int)) {
	if len(x.exact) > 0 {
		for i := 0; i <= len(path); i++ {
			if i < len(path) && path[i] != '/' || !x.lengths.has(i) {
				continue
			}
			for _, line := range x.exact[path[:i]] {
				f(line)
			}
		}
	}
	for _, g := range x.globs {
		if g.matches(path) {
			f(g.line)
		}
	}
}

// lowerGlob returns the pattern that matches, in lower case, what g matches in
// any spelling. A class in brackets is written out: "[^A]" has an "a" in it.
func lowerGlob(g string) string {
	var b strings.Builder
	for i := 0; i < len(g); i++ {
		switch {
		case g[i] == '\\' && i+1 < len(g):
			b.WriteByte(g[i])
			i++
			b.WriteString(strings.ToLower(g[i : i+1]))
		case g[i] == '[':
			end := classEnd(g, i)
			b.WriteString(lowerClass(g[i:end]))
			i = end - 1
		default:
			b.WriteString(strings.ToLower(g[i : i+1]))
		}
	}
	return b.String()
}

// classEnd returns where the class ends that begins at i.
func classEnd(g string, i int) int {
	for i++; i < len(g); i++ {
		switch g[i] {
		case '\\':
			i++
		case ']':
			return i + 1
		}
	}
	return len(g)
}

// lowerClass is lowerGlob for a class, of the characters that paths have.
func lowerClass(class string) string {
	var b strings.Builder
	b.WriteByte('[')
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789-._~" {
		lower, _ := path.Match(class, string(c))
		upper, _ := path.Match(class, string(unicode.ToUpper(c)))
		if lower || upper {
			b.WriteByte('\\')
			b.WriteRune(c)
		}
	}
	if b.Len() == 1 {
		b.WriteByte(0) // which no path has
	}
	b.WriteByte(']')
	return b.String()
}
