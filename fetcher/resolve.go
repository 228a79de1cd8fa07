package fetcher

import (
	"cmp"
	"context"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// resolve answers a query as "go list -m path@query" does.
func (s *source) resolve(ctx context.Context, query string) (*athens.Info, error) {
	switch {
	case query == "latest":
		return s.latest(ctx)
	case isPrefix(query):
		return s.highest(ctx, query)
	}
	if err := isRevision(query); err != nil {
		return nil, absent{err}
	}
	v, err := s.find(ctx, query)
	if isAbsent(err) && semver.IsValid(query) {
		// v1.0.0+meta means v1.0.0 if there is no tag of just that name.
		if canonical := module.CanonicalVersion(query); canonical != query {
			if v2, err2 := s.find(ctx, canonical); err2 == nil {
				return v2.info(), nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return v.info(), nil
}

// isPrefix reports whether a query is the beginning of a version: v1 or v1.2.
func isPrefix(query string) bool {
	return semver.IsValid(query) && strings.Count(query, ".") < 2 && semver.Prerelease(query) == "" && semver.Build(query) == ""
}

// highest answers with the highest tagged version that begins with prefix and
// is not retracted.
func (s *source) highest(ctx context.Context, prefix string) (*athens.Info, error) {
	none := absentf("no version begins with %s", prefix)
	list, err := s.versionsWith(ctx, prefix+".")
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, none
	}
	retracted, err := s.retractedByLatest(ctx)
	if err != nil {
		return nil, err
	}
	fits := func(v string) bool {
		// v1.2.0-pre is no v1.2, because it is before it.
		return strings.HasPrefix(v, prefix+".") && semver.Compare(v, prefix) >= 0 && !retracted(v)
	}
	version, err := s.choose(ctx, list, fits, module.CheckPathMajor(prefix, s.major) != nil)
	if err != nil {
		return nil, err
	}
	if version == "" {
		return nil, none
	}
	return s.listed(ctx, version, prefix+".")
}

// latest answers with the highest release, else the highest pre-release, else
// the default branch's commit. What the module retracts does not count.
func (s *source) latest(ctx context.Context) (*athens.Info, error) {
	list, err := s.versions(ctx)
	if err != nil {
		return nil, err
	}
	retracted, err := s.retractedByLatest(ctx)
	if err != nil {
		return nil, err
	}
	version, err := s.choose(ctx, list, func(v string) bool { return !retracted(v) }, false)
	if err != nil {
		return nil, err
	}
	if version != "" {
		return s.listed(ctx, version, "")
	}
	v, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	if retracted(v.version) {
		return nil, absentf("all versions are retracted")
	}
	return s.withList(v, ""), nil
}

// retractedByLatest says what the latest version retracts, itself included.
func (s *source) retractedByLatest(ctx context.Context) (func(string) bool, error) {
	nothing := func(string) bool { return false }
	list, err := s.versions(ctx)
	if err != nil {
		return nil, err
	}
	version, err := s.choose(ctx, list, func(string) bool { return true }, false)
	if err != nil {
		return nil, err
	}
	var t *tree
	if version != "" {
		t, err = s.findDir(ctx, version)
	} else if v, e := s.head(ctx); e == nil {
		t = v.tree
	} else {
		err = e
	}
	switch {
	case isAbsent(err):
		return nothing, nil
	case err != nil:
		return nil, err
	}
	return retracts(t.gomod), nil
}

// choose returns the highest release among the sorted versions that fit, else
// the highest pre-release, else "". Versions with "+incompatible" count only
// if mayBeOther says so, or if the last one before them has no go.mod.
func (s *source) choose(ctx context.Context, all []string, fits func(string) bool, mayBeOther bool) (string, error) {
	var release, pre, lastCompatible string
	for _, v := range all {
		if !fits(v) {
			continue
		}
		if !strings.HasSuffix(v, incompatible) {
			lastCompatible = v
		} else if !mayBeOther && lastCompatible != "" {
			has, err := s.tagHasGoMod(ctx, s.revOf(lastCompatible))
			if err != nil {
				return "", err
			}
			if has {
				break
			}
			mayBeOther = true
		}
		if semver.Prerelease(v) == "" {
			release = v
		} else {
			pre = v
		}
	}
	return cmp.Or(release, pre), nil
}

// listed answers with a version that was chosen from the versions that begin
// with prefix.
func (s *source) listed(ctx context.Context, version, prefix string) (*athens.Info, error) {
	v, err := s.find(ctx, version)
	if err != nil {
		return nil, err
	}
	return s.withList(v, prefix), nil
}

// withList returns the answer to a query that depends on a list of versions.
func (s *source) withList(v *finding, prefix string) *athens.Info {
	info := v.info()
	info.Origin = mergeOrigins(s.listOrigin(prefix), info.Origin)
	return info
}
