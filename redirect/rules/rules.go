// Package rules reads the lines of a small text file that say which modules are private
// and which versions are blocked, and answers for [athens.Options.Route].
//
//	private corp.example.com,github.com/corp
//	public  corp.example.com/open
//	block   example.com/mod >=1.2.0 <1.4.3  # CVE-2024-0001
//
// [Read] and [Parse] make [Rules] of such a file. Parse describes the lines, and Rules
// what they mean together: which line decides, in which spellings a path is private, and
// how pre-releases compare.
//
// A file has at most 1 MiB and 20,000 rules, and a reason at most 200 bytes.
package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/pattern"
)

// Rules say of each module whether it is private and which versions are
// blocked. They don't change; all methods may be called at once. A nil *Rules
// has no rules: everything is public, nothing is blocked.
//
// # Precedence
//
// There are two questions, and the rules for one have no say in the other:
// private or public, and blocked or allowed. For each, the last line that
// matches decides; where none does, a module is public and allowed. So the
// general comes first and the exception after it:
//
//	private corp.example.com
//	public  corp.example.com/open
//
//	block *                               # ask the platform team
//	allow golang.org/x,github.com/spf13
//	block golang.org/x/net <0.38.0        # CVE-2025-22872
//
// # Private
//
// A path is private in every spelling: "Corp.example.com/x" is private too,
// because hosts and many repositories don't tell upper from lower case, and what
// is misspelled must not leave either. For the same reason a path is blocked in
// every spelling. Public and allow are exact. An element's ending that names a
// version control system or a major version does not make it another's:
// "corp.example.com/x.git" and "corp.example.com/x.v2" are private where
// "corp.example.com/x" is. Neither does a port or a dot behind the host, nor an
// escape. [athens.Patterns] matches in the same way.
//
// # Versions
//
// A constraint holds for pre-releases and pseudo-versions, by the order of
// semantic versions: "<1.4.3" matches v1.4.3-rc.1 and
// v1.4.3-0.20240102030405-abcdefabcdef, for both come before v1.4.3; ">=1.2.0"
// matches neither v1.2.0-rc.1 nor, of a module without tags,
// "v0.0.0-…". "=1.2" and "1.2.x" are every v1.2 from v1.2.0 on, "=1.2.3" is
// that version alone, "^1.2.0" ends before 2.0.0, "~1.2.3" before 1.3.0.
// "+incompatible" does not count. A version that is too large to compare is in
// every blocked range and in no allowed one.
type Rules struct {
	lines         []line
	private       pattern.Set
	block         pattern.AnyCase
	public, allow pattern.Index
	patterns      []string // the private ones
}

// line is a rule that decides about versions, or none at its place.
type line struct {
	verb       verb
	constraint *semver.Constraints
	reason     string
}

// add appends a rule that stands at a place, such as "rules.txt:3".
func (r *Rules) add(ru rule, place string) {
	n := len(r.lines)
	l := line{verb: ru.verb, constraint: ru.constraint}
	switch ru.verb {
	case private:
		r.private.Add(n, ru.globs)
		r.patterns = append(r.patterns, ru.globs...)
	case public:
		r.public.Add(n, ru.globs)
	case allow:
		r.allow.Add(n, ru.globs)
	case block:
		r.block.Add(n, ru.globs)
		l.reason = "blocked by " + place
		if ru.reason != "" {
			l.reason = fmt.Sprintf("%s (%s)", ru.reason, place)
		}
	}
	r.lines = append(r.lines, l)
}

// WithPrivate returns rules that also hold patterns, a list as in GOPRIVATE, as
// private. They stand before the first line of r, which may therefore make an
// exception. An error says which pattern is bad; ignored, it would make public
// what it was to hide.
func (r *Rules) WithPrivate(patterns string) (*Rules, error) {
	globs, err := pattern.Parse(patterns)
	if globs == nil {
		return r, err
	}
	if r == nil {
		r = &Rules{}
	}
	merged := *r
	merged.private = r.private.Clone()
	merged.private.Add(base, globs)
	merged.patterns = slices.Concat(globs, r.patterns)
	return &merged, nil
}

// PrivatePatterns returns the private patterns as a list for GONOSUMDB, for
// clients: what is private here is in no checksum database. Exceptions that
// public lines make have no place in such a list.
func (r *Rules) PrivatePatterns() string {
	if r == nil {
		return ""
	}
	var once []string
	for _, p := range r.patterns {
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	return strings.Join(once, ",")
}

// base is the number of what comes before the first line.
const base = -1

// Route returns what the rules say of m. If m.Version is empty, or a query and
// no version, Blocked says whether the module is blocked as a whole: that no
// rule leaves any version of it. What a query resolves to is to be asked for
// again.
//
// It has the form of [athens.Options].Route. Its error is always nil.
func (r *Rules) Route(_ context.Context, m module.Version) (athens.Route, error) {
	if r == nil {
		return athens.Route{}, nil
	}
	return athens.Route{Private: r.isPrivate(m.Path), Blocked: r.blocked(m)}, nil
}

func (r *Rules) isPrivate(path string) bool {
	n := r.private.Last(path)
	return n > pattern.None && n > r.public.Last(path)
}

// blocked returns the reason why m is blocked, or "".
func (r *Rules) blocked(m module.Version) string {
	var few [8]int
	lines := r.block.All(few[:0], m.Path)
	if len(lines) == 0 {
		return ""
	}
	lines = r.allow.All(lines, m.Path)
	whole := m.Version == "" || module.CanonicalVersion(m.Version) != m.Version
	slices.Sort(lines)
	for _, n := range slices.Backward(lines) {
		l := r.lines[n]
		switch {
		case l.constraint == nil:
		case whole && l.verb == allow:
			return "" // some version is left
		case whole || !l.matches(m.Version):
			continue
		}
		if l.verb == allow {
			return ""
		}
		return l.reason
	}
	return ""
}

// matches reports whether a version satisfies the line's constraint.
func (l line) matches(version string) bool {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
	if err != nil {
		return l.verb == block // larger than the library can compare
	}
	return l.constraint.Check(v)
}
