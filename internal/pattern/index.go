package pattern

import (
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
)

// None is what Last returns where nothing matches; the lines that are added have
// larger numbers.
const None = -2

// Index finds the numbers of the lines whose pattern matches a path. Patterns
// without wildcards, of which a list of blocked modules consists, are found by
// the path's prefixes, so that their number does not matter.
type Index struct {
	exact map[string][]int
	globs []numbered
}

// AnyCase is an Index that matches a path in every spelling.
type AnyCase struct {
	exact Index
	lower Index // of patterns in lower case, for paths in lower case
}

// Add adds the patterns of a line.
func (x *AnyCase) Add(line int, globs []string) {
	x.exact.Add(line, globs)
	lower := make([]string, len(globs))
	for i, g := range globs {
		lower[i] = lowerGlob(g)
	}
	x.lower.Add(line, lower)
}

// Clone returns a copy that may be added to.
func (x *AnyCase) Clone() AnyCase { return AnyCase{x.exact.Clone(), x.lower.Clone()} }

// Last returns the largest number among the lines that match, or None.
func (x *AnyCase) Last(path string) int {
	return max(x.exact.Last(path), x.lower.Last(strings.ToLower(path)))
}

// All appends the numbers of the lines that match, in no order; some come twice.
func (x *AnyCase) All(lines []int, path string) []int {
	return x.lower.All(x.exact.All(lines, path), strings.ToLower(path))
}

// numbered is a pattern with wildcards.
type numbered struct {
	glob string
	line int
}

// Add adds the patterns of a line.
func (x *Index) Add(line int, globs []string) {
	for _, g := range globs {
		if strings.ContainsAny(g, `*?[\`) {
			x.globs = append(x.globs, numbered{g, line})
			continue
		}
		if x.exact == nil {
			x.exact = make(map[string][]int)
		}
		x.exact[g] = append(x.exact[g], line)
	}
}

// Clone returns a copy that may be added to.
func (x *Index) Clone() Index {
	c := Index{exact: maps.Clone(x.exact), globs: slices.Clone(x.globs)}
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

// each calls f for each match.
func (x *Index) each(path string, f func(line int)) {
	if len(x.exact) > 0 {
		for i := 0; i <= len(path); i++ {
			if i < len(path) && path[i] != '/' {
				continue
			}
			for _, line := range x.exact[path[:i]] {
				f(line)
			}
		}
	}
	for _, g := range x.globs {
		if module.MatchPrefixPatterns(g.glob, path) {
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
