package rules

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
)

// none is what index.last returns where nothing matches.
const none = base - 1

// index finds the numbers of the lines whose pattern matches a path. Patterns
// without wildcards, of which a list of blocked modules consists, are found by
// the path's prefixes, so that their number does not matter.
type index struct {
	exact map[string][]int
	globs []numbered
}

// anyCase is an index that matches a path in every spelling.
type anyCase struct {
	exact index
	lower index // of patterns in lower case, for paths in lower case
}

func (x *anyCase) add(line int, globs []string) {
	x.exact.add(line, globs)
	lower := make([]string, len(globs))
	for i, g := range globs {
		lower[i] = lowerGlob(g)
	}
	x.lower.add(line, lower)
}

func (x *anyCase) clone() anyCase { return anyCase{x.exact.clone(), x.lower.clone()} }

func (x *anyCase) last(path string) int {
	return max(x.exact.last(path), x.lower.last(strings.ToLower(path)))
}

func (x *anyCase) all(lines []int, path string) []int {
	return x.lower.all(x.exact.all(lines, path), strings.ToLower(path))
}

// withoutEndings returns a path whose elements behind the host lack ".git" and the
// like, and ".v2" and the like: what is at x.git is at x, too.
func withoutEndings(path string) string {
	host, rest, _ := strings.Cut(path, "/")
	if !strings.Contains(rest, ".") {
		return path
	}
	elements := strings.Split(rest, "/")
	for i, e := range elements {
		elements[i] = ending.ReplaceAllString(e, "")
	}
	return host + "/" + strings.Join(elements, "/")
}

var ending = regexp.MustCompile(`(?i)(\.(git|hg|svn|bzr|fossil|v[0-9]+))+$`)

// numbered is a pattern with wildcards.
type numbered struct {
	glob string
	line int
}

func (x *index) add(line int, globs []string) {
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

// clone returns a copy that may be added to.
func (x *index) clone() index {
	c := index{exact: maps.Clone(x.exact), globs: slices.Clone(x.globs)}
	for g, lines := range c.exact {
		c.exact[g] = slices.Clone(lines)
	}
	return c
}

// last returns the largest number among the lines that match, or none.
func (x *index) last(p string) int {
	n := none
	x.each(p, func(line int) { n = max(n, line) })
	return n
}

// all appends the numbers of the lines that match, in no order; some come twice.
func (x *index) all(lines []int, path string) []int {
	x.each(path, func(line int) { lines = append(lines, line) })
	return lines
}

// each calls f for each match.
func (x *index) each(path string, f func(line int)) {
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
