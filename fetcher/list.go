package fetcher

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens/internal/modcheck"
)

// versions lists the module's tagged versions as the go command does. Some of them may
// not be fetchable, because their go.mod is wrong.
func (s *codeRepo) versions(ctx context.Context) ([]string, error) { return s.versionsWith(ctx, "") }

// versionsWith lists those versions that begin with prefix. Only tags with this prefix
// decide about "+incompatible", so the result can differ from filtering versions. It
// is made once for each question; callers don't change it.
func (s *codeRepo) versionsWith(ctx context.Context, prefix string) ([]string, error) {
	// gopkg.in's unstable modules see the tags of the stable ones, which
	// don't belong to them.
	if strings.HasPrefix(s.path, "gopkg.in/") && strings.HasSuffix(s.path, "-unstable") {
		return nil, nil
	}
	if list, ok := s.listed[prefix]; ok {
		return list, nil
	}
	var list, others []string
	for tag := range s.refs.tags(s.tagPrefix() + prefix) {
		v := tag[len(s.tagPrefix()):]
		if v == "" || v != semver.Canonical(v) || module.IsPseudoVersion(v) {
			continue
		}
		if module.CheckPathMajor(v, s.major) == nil {
			list = append(list, v)
		} else if s.dir == "" && s.major == "" && semver.Major(v) > "v1" {
			others = append(others, v)
		}
		if err := s.makeRoom(ctx, len(list)+len(others)); err != nil {
			return nil, err
		}
	}
	semver.Sort(list)
	semver.Sort(others)
	more, err := s.incompatibleVersions(ctx, list, others)
	if err != nil {
		return nil, err
	}
	list = slices.Clip(append(list, more...))
	s.listed[prefix] = list
	return list, nil
}

// incompatibleVersions returns the versions with "+incompatible" from others, the
// sorted tags of major versions that the path does not have. There are none if the last
// compatible version has a go.mod, and none of a major version whose last tag has one.
func (s *codeRepo) incompatibleVersions(ctx context.Context, compatible, others []string) ([]string, error) {
	if len(others) == 0 {
		return nil, nil
	}
	if len(compatible) > 0 {
		has, err := s.tagHasGoMod(ctx, compatible[len(compatible)-1])
		if has || err != nil {
			return nil, err
		}
	}
	var list []string
	for len(others) > 0 {
		n := 0
		for n < len(others) && semver.Major(others[n]) == semver.Major(others[0]) {
			n++
		}
		has, err := s.tagHasGoMod(ctx, others[n-1])
		if err != nil {
			return nil, err
		}
		if !has {
			for _, v := range others[:n] {
				list = append(list, v+incompatible)
			}
		}
		others = others[n:]
	}
	return list, nil
}

func (s *codeRepo) tagHasGoMod(ctx context.Context, tag string) (bool, error) {
	rev, err := s.stat(ctx, tag)
	if err != nil {
		return false, err
	}
	return s.hasFile(ctx, rev, "go.mod")
}

// retractions returns a function that reports whether the module's highest version
// retracts a version. If that version is invalid, nothing is retracted.
func (s *codeRepo) retractions(ctx context.Context) (func(version string) bool, error) {
	nothing := func(string) bool { return false }
	versions, err := s.versions(ctx)
	if isNotFound(err) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	highest := ""
	for _, v := range versions {
		if strings.HasSuffix(v, incompatible) {
			break // incompatible versions come last, and have no go.mod
		}
		if highest == "" || semver.Prerelease(v) == "" || semver.Prerelease(highest) != "" {
			highest = v
		}
	}
	if highest == "" {
		return nothing, nil
	}
	t, err := s.findModule(ctx, highest)
	if isNotFound(err) {
		return nothing, nil
	}
	if err != nil {
		return nil, err
	}
	return modcheck.Retracted(t.gomod).Include, nil
}
