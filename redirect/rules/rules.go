// Package rules reads the lines of a small text file that say which modules are private,
// which versions are blocked, how old a version has to be and which servers it comes from,
// and answers for [athens.Options.Route].
//
//	private corp.example.com,github.com/corp
//	public  corp.example.com/open
//	block   example.com/mod >=1.2.0 <1.4.3  # CVE-2024-0001
//	cooldown 7d
//	upstream golang.org/x https://mirror.example.com,vcs
//
// [Open] keeps such a file in force: a [File] reads it again when it changes, and knows
// the ages of versions. [Read] and [Parse] make [Rules] of a text that does not change.
// Parse describes the lines, and Rules what they mean together: which line decides, in
// which spellings a path is private, and how pre-releases compare. [Rules.Explain] tells a
// person.
//
// A file has at most 1 MiB and 20,000 rules, and a reason at most 200 bytes.
package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/osv"
	"github.com/athens-go/athens/internal/pattern"
)

// Rules say of each module whether it is private and which versions are
// blocked. They don't change; all methods may be called at once. A nil *Rules
// has no rules: everything is public, nothing is blocked.
//
// # Precedence
//
// There are four questions, and the rules for one have no say in the others:
// private or public, blocked or allowed, how old a version has to be, and which servers a
// public module comes from. For each, the last line that matches decides; where none does, a module is public and
// allowed at any age. So the general comes first and the exception after it:
//
//	private corp.example.com
//	public  corp.example.com/open
//
//	block *                               # ask the platform team
//	allow golang.org/x,github.com/spf13
//	block golang.org/x/net <0.38.0        # CVE-2025-22872
//
// All only lines together are one allow-list, which stands where the last of them
// does: a module that none of them matches is blocked there. A line that allows one
// version, as in "allow example.com/mod@v1.4.3", is an exception to the blocks and to
// the cooldowns before it.
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
// escape. [athens.Options].Private matches in the same way.
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

	only      pattern.Index
	lastOnly  int                    // number of the last only line plus 1; 0: there is none
	exact     map[module.Version]int // last line that allows a version
	exactPath map[string]int         // last line that allows a version of a module

	cooled           pattern.AnyCase // by lines with an age
	warm             pattern.Index   // by lines without
	byCommit, bySeen pattern.Index

	upstreams  pattern.AnyCase
	advisories []int // their lines
}

// line is a rule at its place in the file.
type line struct {
	verb       verb
	constraint *semver.Constraints
	reason     string        // of the rule, or one made up
	age        time.Duration // of a cooldown
	place      string        // such as "rules.txt:3"
	text       string
	name       string // of a cooldown: its age and patterns
	places     []place
	from       []athens.Source // of the places, once they are open
	database   string          // of an advisories line
	warns      bool
	db         *osv.DB // nil until it is loaded
}

// add appends a rule that stands at a place, such as "rules.txt:3".
func (r *Rules) add(ru rule, place string) {
	n := len(r.lines)
	l := line{verb: ru.verb, constraint: ru.constraint, reason: ru.reason, age: ru.age, place: place, text: ru.text}
	switch ru.verb {
	case private:
		r.private.Add(n, ru.globs)
		r.patterns = append(r.patterns, ru.globs...)
	case public:
		r.public.Add(n, ru.globs)
	case allow:
		r.allow.Add(n, ru.globs)
		r.addExact(n, ru.exact)
	case block:
		r.block.Add(n, ru.globs)
		l.reason = because("blocked by ", ru.reason, place)
	case only:
		r.only.Add(n, ru.globs)
		r.lastOnly = n + 1
		l.reason = because("not in the list of allowed modules, ", ru.reason, place)
	case cooldown:
		l.name = formatAge(ru.age) + " " + strings.Join(ru.globs, ",")
		if ru.age > 0 {
			r.cooled.Add(n, ru.globs)
		} else {
			r.warm.Add(n, ru.globs)
		}
	case cooldownBy:
		if ru.byCommit {
			r.byCommit.Add(n, ru.globs)
		} else {
			r.bySeen.Add(n, ru.globs)
		}
	case upstream:
		r.upstreams.Add(n, ru.globs)
		l.places = ru.places
	case advisories:
		r.advisories = append(r.advisories, n)
		l.database, l.warns = ru.database, ru.warns
	}
	r.lines = append(r.lines, l)
}

// because is why a line blocks something: its reason, or what without says.
func because(without, reason, place string) string {
	if reason != "" {
		return fmt.Sprintf("%s (%s)", reason, place)
	}
	return without + place
}

// addExact adds a line that allows one version.
func (r *Rules) addExact(n int, m module.Version) {
	if m.Path == "" {
		return
	}
	if r.exact == nil {
		r.exact, r.exactPath = make(map[module.Version]int), make(map[string]int)
	}
	r.exact[m], r.exactPath[m.Path] = n, n
}

// WithPrivate returns rules that also hold patterns, a list as in GOPRIVATE, as
// private; an empty list and "none" add nothing. They stand before the first line of r, which may therefore make an
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
	return pattern.Join(r.patterns)
}

// Environment returns the patterns of GOPRIVATE and GONOPROXY, for [Rules.WithPrivate]: those
// of the process's environment, or, for a variable that is not set there, those that
// "go env -w" has written. It does not need a go command.
func Environment() (string, error) { return pattern.Environment() }

// base is the number of what comes before the first line.
const base = -1

// Route returns what the rules say of m. If m.Version is empty, or a query and
// no version, Blocked says whether the module is blocked as a whole: that no
// rule leaves any version of it. What a query resolves to is to be asked for
// again.
//
// It has the form of [athens.Options].Route. Its error is a [*athens.BlockedError]
// for a module that only lines leave out. Rules know no ages:
// each version that a cooldown covers is young. Nor do they open upstreams: the error for
// a module that an upstream line covers says so. A [File] does both. What [Parse] returns
// has no advisories: with such a line, each call is an error.
func (r *Rules) Route(_ context.Context, m module.Version) (athens.Route, error) {
	if r == nil {
		return athens.Route{}, nil
	}
	route, err := r.route(m)
	if err == nil {
		err = r.unloaded()
	}
	if err == nil && route.Blocked == "" {
		if n := r.cooldown(m); n >= 0 {
			r.lines[n].young(&route, time.Now())
		}
	}
	if n := r.upstreams.Last(m.Path); err == nil && n >= 0 && !route.Private && len(route.From) == 0 {
		return route, fmt.Errorf("%s: an upstream line takes effect in a file that rules.Open reads", r.lines[n].place)
	}
	return route, err
}

// route is Route without cooldowns.
func (r *Rules) route(m module.Version) (athens.Route, error) {
	route := athens.Route{Private: r.isPrivate(m.Path)}
	if n := r.upstreams.Last(m.Path); n >= 0 && !route.Private {
		route.From = r.lines[n].from
	}
	n := r.decides(m)
	if n < 0 {
		r.mark(&route, m)
		return route, nil
	}
	switch l := &r.lines[n]; l.verb {
	case block:
		route.Blocked = l.reason
	case advisories:
		route.Blocked = l.found(m)
	case allow:
		r.mark(&route, m)
	case only:
		return route, &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: l.reason}
	}
	return route, nil
}

func (r *Rules) isPrivate(path string) bool {
	n := r.private.Last(path)
	return n > pattern.None && n > r.public.Last(path)
}

// decides returns the number of the line that decides whether m is blocked; it is
// negative if none does.
func (r *Rules) decides(m module.Version) int {
	var few [8]int
	lines := r.block.All(few[:0], m.Path)
	if r.lastOnly > 0 && m.Path != "" && r.only.Last(m.Path) == pattern.None {
		lines = append(lines, r.lastOnly-1)
	}
	whole := m.Version == "" || module.CanonicalVersion(m.Version) != m.Version
	if !whole {
		lines = r.vulnerable(lines, m)
	}
	if len(lines) == 0 {
		return pattern.None
	}
	lines = r.allow.All(lines, m.Path)
	if n, ok := r.exact[m]; ok {
		lines = append(lines, n)
	} else if n, ok := r.exactPath[m.Path]; ok && whole {
		lines = append(lines, n) // some version is left
	}
	slices.Sort(lines)
	for _, n := range slices.Backward(lines) {
		if l := r.lines[n]; l.constraint == nil || whole && l.verb == allow || !whole && l.matches(m.Version) {
			return n // if m is no version, some version is left
		}
	}
	return pattern.None
}

// cooldown returns the number of the line that says how old m has to be; it is negative
// if none does, or if m is no version.
func (r *Rules) cooldown(m module.Version) int {
	n := r.cooled.Last(m.Path)
	if n < 0 || n < r.warm.Last(m.Path) || m.Version == "" || module.CanonicalVersion(m.Version) != m.Version {
		return pattern.None
	}
	if allowed, ok := r.exact[m]; ok && allowed > n {
		return pattern.None
	}
	return n
}

// countsCommits reports whether the age of a module's versions counts from their
// commits.
func (r *Rules) countsCommits(path string) bool {
	n := r.byCommit.Last(path)
	return n > pattern.None && n > r.bySeen.Last(path)
}

// young makes a route that of a version which is too young until its first day and the
// age of the line.
func (l line) young(route *athens.Route, first time.Time) {
	route.Until = first.Add(l.age)
	route.Blocked = fmt.Sprintf("younger than %s: available on %s UTC", formatAge(l.age), route.Until.UTC().Format("2006-01-02 at 15:04"))
	if l.reason != "" {
		route.Blocked += ": " + l.reason
	}
	route.Blocked += " (" + l.place + ")"
}

// matches reports whether a version satisfies the line's constraint.
func (l line) matches(version string) bool {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(version, "v"))
	if err != nil {
		return l.verb == block // larger than the library can compare
	}
	return l.constraint.Check(v)
}
