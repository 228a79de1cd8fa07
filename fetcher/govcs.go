package fetcher

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// vcsRules is a GOVCS setting: the first rule that matches a path decides.
type vcsRules []vcsRule

// A vcsRule says which version control systems are allowed for some paths.
type vcsRule struct {
	pattern string // in GOPRIVATE's syntax, or "private" or "public"
	allowed []string
}

// parseVCSRules parses the syntax that "go help vcs" describes.
func parseVCSRules(text string) (vcsRules, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var rules vcsRules
	for item := range strings.SplitSeq(text, ",") {
		pattern, list, _ := strings.Cut(item, ":")
		rule := vcsRule{pattern: strings.TrimSpace(pattern)}
		for name := range strings.SplitSeq(list, "|") {
			rule.allowed = append(rule.allowed, strings.TrimSpace(name))
		}
		relative := rule.pattern == "." || rule.pattern == ".." || strings.HasPrefix(rule.pattern, "./") || strings.HasPrefix(rule.pattern, "../")
		switch {
		case rule.pattern == "" || relative || slices.Contains(rule.allowed, ""):
			return nil, fmt.Errorf("fetcher: GOVCS: %q is not of the form PATTERN:SYSTEM|SYSTEM", item)
		case slices.ContainsFunc(rules, func(r vcsRule) bool { return r.pattern == rule.pattern }):
			return nil, fmt.Errorf("fetcher: GOVCS: %q has the pattern of an earlier rule and is never used", item)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// allow reports whether git may be used for a repository's root. Without a matching
// rule it may.
func (rules vcsRules) allow(root string, private bool) bool {
	for _, r := range rules {
		matches := false
		switch r.pattern {
		case "private":
			matches = private
		case "public":
			matches = !private
		default:
			matches = module.MatchPrefixPatterns(r.pattern, root)
		}
		if matches {
			return slices.Contains(r.allowed, vcsGit) || slices.Contains(r.allowed, "all")
		}
	}
	return true
}

// blocked is a refusal by policy. toAthensError turns it into an
// [*athens.BlockedError].
type blocked string

func (e blocked) Error() string { return string(e) }

// checkGOVCS returns an error if GOVCS does not allow git for a location.
func (f *Fetcher) checkGOVCS(p *repoLocation) error {
	if p.vcs != vcsGit || f.vcsRules.allow(p.root, p.policy.private) {
		return nil
	}
	return blocked("GOVCS does not allow git for " + p.root + "; Options.GOVCS or the environment variable GOVCS sets what is allowed")
}
