package web

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Rule is a line of the policy in force.
type Rule struct {
	// Place is where the line stands, such as "rules.txt:3".
	Place string
	Text  string
	// Reason is what clients are told when the line blocks something. A reason that ends
	// with the place in brackets is the line's, too. It may be empty.
	Reason string
}

// policyData is the rules, and what they did.
type policyData struct {
	Known  bool // there are rules to show
	Rules  []ruleRow
	Groups []blockedGroup // by other reasons, and for readers who may not see the rules
	Soon   []row          // cooldowns that end
}

// ruleRow is a rule with what it recently blocked.
type ruleRow struct {
	Rule
	Blocked []row
	Count   int
}

// blockedGroup is what was blocked for one reason.
type blockedGroup struct {
	Reason string
	Rows   []row
	Count  int
}

// perRule is how many versions are listed for a rule.
const perRule = 8

// policy makes the page of the policy.
func (q *request) policy() (string, error) {
	q.Title, q.Section = "Policy", "policy"
	d := &policyData{}
	q.Data = d
	groups := map[string]*blockedGroup{}
	var order []string
	seen := map[module.Version]bool{}
	for _, h := range q.activity.latest(&q.activity.blocked, maxBlocked, func(h *happened) bool { return q.sees(h.module.Path) }) {
		blocked, ok := errors.AsType[*athens.BlockedError](h.err)
		if !ok {
			continue
		}
		r := row{Module: module.Version{Path: blocked.Path, Version: blocked.Version}, At: h.at, Reason: cut(blocked.Reason, 200)}
		if r.Module.Path == "" {
			r.Module = h.module
		}
		if blocked.Until.After(time.Now()) && !seen[r.Module] {
			d.Soon = append(d.Soon, row{Module: r.Module, At: blocked.Until, Reason: r.Reason})
		}
		g := groups[blocked.Reason]
		if g == nil {
			g = &blockedGroup{Reason: r.Reason}
			groups[blocked.Reason] = g
			order = append(order, blocked.Reason)
		}
		if g.Count++; len(g.Rows) < perRule && !seen[r.Module] {
			g.Rows = append(g.Rows, r)
		}
		seen[r.Module] = true
	}
	slices.SortFunc(d.Soon, func(a, b row) int { return a.At.Compare(b.At) })
	d.Soon = d.Soon[:min(len(d.Soon), maxEvents)]
	if q.opts.Rules != nil && q.reader.all {
		d.Known = true
		for _, rule := range q.opts.Rules() {
			if len(d.Rules) == maxListed {
				break
			}
			r := ruleRow{Rule: Rule{rule.Place, cut(rule.Text, 300), rule.Reason}}
			for reason, g := range groups {
				if reason != "" && (reason == rule.Reason || rule.Place != "" && strings.HasSuffix(reason, " ("+rule.Place+")")) {
					r.Blocked, r.Count = append(r.Blocked, g.Rows...), r.Count+g.Count
					delete(groups, reason)
				}
			}
			slices.SortFunc(r.Blocked, func(a, b row) int { return b.At.Compare(a.At) })
			r.Blocked = r.Blocked[:min(len(r.Blocked), perRule)]
			d.Rules = append(d.Rules, r)
		}
	}
	for _, reason := range order {
		if g := groups[reason]; g != nil {
			d.Groups = append(d.Groups, *g)
		}
	}
	slices.SortStableFunc(d.Groups, func(a, b blockedGroup) int { return cmp.Compare(b.Count, a.Count) })
	return "policy.html", nil
}
