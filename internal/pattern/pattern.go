// Package pattern matches module paths against lists of glob patterns, as
// GOPRIVATE has them.
//
// An [Index] matches a path as the go command does. An [AnyCase] also ignores
// upper and lower case, and a [Set] every other way to spell a path that leads
// to the same place: what a list hides must not leave under another spelling.
// [Mentions] finds the paths that a text may name, such as a version query. [Private] is
// what the options called Private have in common.
package pattern

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Parse splits a list as in GOPRIVATE; "none" has no patterns. Its error says which
// pattern is wrong: one that was ignored would make public what it was meant to hide.
func Parse(list string) ([]string, error) {
	if list == "none" {
		return nil, nil
	}
	var globs []string
	for item := range strings.SplitSeq(list, ",") {
		glob := strings.TrimSuffix(strings.TrimSpace(item), "/")
		if glob == "" {
			continue
		}
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fmt.Errorf("private pattern %q: %w", glob, err)
		}
		if strings.ContainsAny(glob, " \t\r\n") || strings.Contains(glob, "://") {
			return nil, fmt.Errorf("private pattern %q: separate patterns with commas, and leave out URL schemes", glob)
		}
		globs = append(globs, glob)
	}
	return globs, nil
}

// Set is an index that matches a path in every spelling.
type Set struct{ cases AnyCase }

// Add adds the patterns of a line. A pattern without wildcards also matches what
// its plain spelling does.
func (s *Set) Add(line int, globs []string) {
	s.cases.Add(line, globs)
	for _, g := range globs {
		if strings.ContainsAny(g, wildcards) {
			continue
		}
		for _, p := range spellings(g) {
			s.cases.lower.Add(line, []string{p})
		}
	}
}

// Clone returns a copy that may be added to.
func (s *Set) Clone() Set { return Set{s.cases.Clone()} }

// Last returns the largest number among the lines that match, or None.
func (s *Set) Last(path string) int {
	if s.cases.empty() {
		return None
	}
	n := s.cases.Last(path)
	for _, p := range spellings(path) {
		n = max(n, s.cases.lower.Last(p))
	}
	return n
}

// spellings returns the plain spelling of a path, with and without the endings
// of its elements, where these differ from the path in lower case.
func spellings(path string) []string {
	plain := plain(path)
	short := withoutEndings(plain)
	switch {
	case short != plain:
		return []string{plain, short}
	case plain != path:
		return []string{plain}
	}
	return nil
}

// plain undoes what does not change where a path leads: escapes of URLs and of
// the GOPROXY protocol, upper case, a login, a port, and dots behind the host.
func plain(path string) string {
	if isPlain(path) {
		return path
	}
	for range 4 { // escaped more than once
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			break
		}
		path = decoded
	}
	path = strings.ToLower(strings.ReplaceAll(path, "!", ""))
	path = strings.ReplaceAll(path, `\`, "/")
	if _, rest, ok := strings.Cut(path, "://"); ok {
		path = rest
	}
	host, rest, _ := strings.Cut(path, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	host, port, _ := strings.Cut(host, ":")
	if strings.Trim(port, "0123456789") != "" {
		rest = port + "/" + rest // host:path, as ssh has it
	}
	elements := []string{strings.TrimRight(host, ".")}
	for e := range strings.SplitSeq(rest, "/") {
		if e = strings.TrimRight(e, "."); e != "" {
			elements = append(elements, e)
		}
	}
	return strings.Join(elements, "/")
}

// isPlain reports whether a path is its own plain spelling.
func isPlain(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case 'A' <= c && c <= 'Z', c >= 0x80, c == '!', c == '%', c == ':', c == '@', c == '\\':
			return false
		case (c == '.' || c == '/') && (i+1 == len(path) || path[i+1] == '/'):
			return false
		}
	}
	return true
}

// withoutEndings removes endings such as ".git" and ".v2" from the path's elements after the host:
// a repository at x.git is also found at x.
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

// Mentions returns what may be meant as a module path in a text that is none,
// such as a version query or the name of a checksum database: the text itself,
// and everything in it that looks like a host, alone and with the path behind
// it.
func Mentions(text string) []string {
	texts := []string{text}
	if p := plain(text); p != text {
		texts = append(texts, p)
	}
	found := texts
	for _, t := range texts {
		for i := 0; i < len(t); {
			if !inHost(t[i]) {
				i++
				continue
			}
			end := i
			for end < len(t) && inHost(t[end]) {
				end++
			}
			if strings.Contains(t[i:end], ".") {
				found = append(found, t[i:end])
				if more := strings.IndexAny(t[end:], "@?#,;|&=()[]{}<>\"'^$ "); more > 0 {
					found = append(found, t[i:end+more])
				} else if more < 0 && i > 0 {
					found = append(found, t[i:])
				}
			}
			i = end
		}
	}
	return found
}

// inHost reports whether a host name may have c.
func inHost(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.'
}
