package rules

import (
	"fmt"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/pattern"
)

// Line is a line of a rules file, for a person.
type Line struct {
	// Place is where it stands, such as "rules.txt:3".
	Place string
	Text  string
	// Reason is the one in the [athens.BlockedError] of what the line blocks. It is empty if
	// the line blocks nothing, and for a cooldown, whose reasons name a time and end with
	// the place in brackets.
	Reason string
}

// Lines returns the rules in their order.
func (r *Rules) Lines() []Line {
	if r == nil {
		return nil
	}
	lines := make([]Line, len(r.lines))
	for i, l := range r.lines {
		lines[i] = Line{Place: l.place, Text: l.text}
		if l.verb == block || l.verb == only {
			lines[i].Reason = l.reason
		}
	}
	return lines
}

// Explain returns what the rules say of m, for a person: a line with the decision, and
// one for each question with the line of the file that decides it. If m.Version is empty,
// it is about the module as a whole.
func (r *Rules) Explain(m module.Version) string {
	if r == nil {
		r = &Rules{}
	}
	var b strings.Builder
	route, err := r.route(m)
	cooled := r.cooldown(m)
	switch {
	case err != nil || route.Blocked != "":
		fmt.Fprintf(&b, "%s is blocked\n", m)
	case cooled >= 0:
		fmt.Fprintf(&b, "%s is served once it is %s old\n", m, formatAge(r.lines[cooled].age))
	default:
		fmt.Fprintf(&b, "%s is served\n", m)
	}
	visibility, n := "public", max(r.private.Last(m.Path), r.public.Last(m.Path))
	if route.Private {
		visibility = "private"
	}
	fmt.Fprintf(&b, "%s: %s\n", visibility, r.cite(n))
	n = r.decides(m)
	if exact, ok := r.exact[m]; ok && n < 0 {
		n = exact
	}
	what := "allowed"
	if err != nil || route.Blocked != "" {
		what = "blocked"
	}
	fmt.Fprintf(&b, "%s: %s\n", what, r.cite(n))
	for _, n := range r.advisories {
		if found := r.lines[n].found(m); found != "" {
			b.WriteString(found + "\n")
		}
	}
	b.WriteString(r.explainUpstream(m.Path, route.Private))
	if m.Version == "" {
		return b.String()
	}
	if cooled < 0 {
		n = max(r.warm.Last(m.Path), pattern.None)
		if exact, ok := r.exact[m]; ok {
			n = max(n, exact)
		}
		fmt.Fprintf(&b, "no cooldown: %s\n", r.cite(n))
		return b.String()
	}
	fmt.Fprintf(&b, "cooldown: %s\n", r.cite(cooled))
	by, n := "this server's first sight", max(r.byCommit.Last(m.Path), r.bySeen.Last(m.Path))
	if r.countsCommits(m.Path) {
		by = "the commit or this server's first sight, whichever is earlier"
	}
	fmt.Fprintf(&b, "age counts from %s: %s\n", by, r.cite(n))
	return b.String()
}

// cite returns a line with its place, or that there is none.
func (r *Rules) cite(n int) string {
	switch {
	case n == base:
		return "the private patterns before the first line"
	case n < 0:
		return "no line says otherwise"
	}
	return r.lines[n].place + ": " + r.lines[n].text
}
