package fetcher

import (
	"context"
	"errors"
	"path"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// A resolved is the version that a query or a revision resolves to.
type resolved struct {
	version string
	root    *moduleRoot
	origin  *athens.Origin
	rev     *revision
}

// info returns the .info.
func (v *resolved) info() *athens.Info {
	origin := *v.origin
	return &athens.Info{Version: v.version, Time: v.rev.time, Origin: &origin}
}

// find resolves a version, a tag, a branch, "HEAD" or a hash to a version.
func (s *codeRepo) find(ctx context.Context, query string) (*resolved, error) {
	rev, err := s.stat(ctx, s.revOf(query))
	if err != nil {
		return nil, err
	}
	return s.versionAt(ctx, rev, query, rev.ref)
}

// head resolves the commit of the default branch.
func (s *codeRepo) head(ctx context.Context) (*resolved, error) {
	hash := s.refs.commit(headName)
	if hash == "" {
		return nil, notFoundf("the repository has no commits")
	}
	rev, err := s.stat(ctx, hash)
	if err != nil {
		return nil, err
	}
	v, err := s.versionAt(ctx, rev, "", "HEAD")
	if err == nil {
		v.origin.Hash = hash
	}
	return v, err
}

// A versioner derives the version of a revision.
type versioner struct {
	*codeRepo
	rev   *revision
	query string // the query; empty for the default branch

	ctx           context.Context // of the request
	rootHasGoMod  *bool           // looked up once
	majorHasGoMod map[string]bool // by major version, each looked up once
	retracted     func(version string) bool
	outage        error // of a lookup that returns no more than a bool
}

// versionAt derives the version of a revision, with its origin. ref is the
// reference that the answer depends on, or "".
func (s *codeRepo) versionAt(ctx context.Context, rev *revision, query, ref string) (*resolved, error) {
	n := &versioner{ctx: ctx, codeRepo: s, rev: rev, query: query, majorHasGoMod: make(map[string]bool)}
	version, t, err := n.version(ctx)
	if n.outage != nil {
		return nil, n.outage
	}
	if err != nil {
		return nil, err
	}
	return &resolved{version: version, root: t, rev: rev, origin: s.origin(rev, ref, version, query)}, nil
}

func (n *versioner) version(ctx context.Context) (string, *moduleRoot, error) {
	if module.IsPseudoVersion(n.query) {
		v, t, err := n.canonical(ctx, n.query)
		if err == nil {
			err = n.checkPseudo(ctx, n.query)
		}
		return v, t, err
	}
	if v, exact := n.versionOf(n.rev.tag); exact {
		if v, t, err := n.canonical(ctx, v); err == nil || !isNotFound(err) {
			return v, t, err
		}
	}
	// Retractions matter only if no tag names the revision, and reading them needs
	// another commit, that of the latest version.
	var err error
	if n.retracted, err = n.retractions(ctx); err != nil {
		return "", nil, err
	}
	return n.fromTags(ctx)
}

// fromTags derives the version from the revision's tags, or otherwise from the tags of
// its ancestors.
func (n *versioner) fromTags(ctx context.Context) (string, *moduleRoot, error) {
	var best, base string
	for tag := range n.rev.tags {
		v, exact := n.versionOf(tag)
		if n.query != "" && semver.Compare(v, n.query) == 0 {
			if exact {
				return n.canonical(ctx, v)
			}
			// The query names a tag such as v1.0.0+meta. As a
			// version it would be ambiguous, but it can be the base of one.
			base = v
		}
		if exact && semver.Compare(best, v) < 0 && n.usable(v) {
			best = v
		}
	}
	if n.outage != nil {
		return "", nil, n.outage
	}
	if best != "" {
		return n.canonical(ctx, best)
	}
	if base == "" {
		tag, err := n.repo.recentTag(ctx, n.refs, n.rev, n.tagPrefix(), func(tag string) bool {
			v, _ := n.versionOf(tag)
			return v != "" && n.usable(v)
		})
		if err != nil {
			return "", nil, err
		}
		base, _ = n.versionOf(tag)
	}
	return n.canonical(ctx, module.PseudoVersion(n.pseudoMajor, base, n.rev.time, shortHash(n.rev.commit)))
}

// usable reports whether a version may name, or be the base of, a revision.
func (n *versioner) usable(v string) bool {
	return (module.MatchPathMajor(v, n.major) || n.incompatibleOK(v)) && !n.retracted(v)
}

// versionOf returns the version that a tag stands for, or "", and whether the
// tag spells that version exactly.
func (s *codeRepo) versionOf(tag string) (v string, exact bool) {
	rest, ok := strings.CutPrefix(tag, s.tagPrefix())
	if !ok || module.IsPseudoVersion(tag) {
		return "", false
	}
	v = semver.Canonical(rest)
	if v == "" || !strings.HasPrefix(rest, v) {
		return "", false // no version, or a prefix of one: v1, v1.2
	}
	return v, v == rest
}

// incompatibleOK reports whether v, of a major version that the path does not
// have, may be used as v+incompatible. It may only at a repository's root, and only
// if there is no go.mod, which would show that the author uses modules.
func (n *versioner) incompatibleOK(v string) bool {
	if n.dir != "" || n.major != "" {
		return false
	}
	if n.rootHasGoMod == nil {
		has := n.has("go.mod")
		n.rootHasGoMod = &has
	}
	if *n.rootHasGoMod {
		return false
	}
	if v == "" || strings.HasSuffix(n.query, incompatible) {
		return true
	}
	major := semver.Major(v)
	has, asked := n.majorHasGoMod[major]
	if !asked {
		has = n.has(path.Join(major, "go.mod"))
		n.majorHasGoMod[major] = has
	}
	return !has
}

func (n *versioner) has(file string) bool {
	has, err := n.hasFile(n.ctx, n.rev, file)
	if err != nil {
		n.outage = err
	}
	return has
}

// canonical checks that the module has version v and adds "+incompatible"
// where that is needed.
func (n *versioner) canonical(ctx context.Context, v string) (string, *moduleRoot, error) {
	t, err := n.findModule(ctx, v)
	if err != nil {
		return "", nil, err
	}
	if v == strings.TrimSuffix(n.query, incompatible) {
		v = n.query
	}
	base := strings.TrimSuffix(v, incompatible)
	var misfit error
	switch {
	case module.MatchPathMajor(base, n.major):
		if strings.HasSuffix(v, incompatible) {
			misfit = notFoundf("%s is not allowed: major version %s is compatible", incompatible, semver.Major(v))
		}
	case n.incompatibleOK(base):
		v = base + incompatible
	case n.major != "":
		misfit = notFoundf("the module path ends in %s, so the major version must be that", n.major)
	default:
		misfit = notFoundf("the module has a go.mod, so its path must fit the major version: %s", path.Join(n.prefix, semver.Major(v)))
	}
	if n.query != "" && n.query == module.CanonicalVersion(n.query) && strings.TrimSuffix(n.query, incompatible) != base {
		return "", nil, notFoundf("resolves to %s; %s is not a tag", v, n.query)
	}
	return v, t, misfit
}

func isNotFound(err error) bool { return errors.As(err, new(notFound)) }
