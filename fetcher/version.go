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

// A finding is what a question for a version or a revision came to.
type finding struct {
	version string
	tree    *tree
	origin  *athens.Origin
	rev     *revision
}

// info returns the .info.
func (v *finding) info() *athens.Info {
	origin := *v.origin
	return &athens.Info{Version: v.version, Time: v.rev.time, Origin: &origin}
}

// find turns a version, a tag, a branch, "HEAD" or a hash into a version.
func (s *source) find(ctx context.Context, query string) (*finding, error) {
	rev, err := s.stat(ctx, s.revOf(query))
	if err != nil {
		return nil, err
	}
	return s.name(ctx, rev, query, rev.ref)
}

// head names the commit of the default branch.
func (s *source) head(ctx context.Context) (*finding, error) {
	hash := s.refs.commit(headName)
	if hash == "" {
		return nil, absentf("the repository has no commits")
	}
	rev, err := s.stat(ctx, hash)
	if err != nil {
		return nil, err
	}
	v, err := s.name(ctx, rev, "", "HEAD")
	if err == nil {
		v.origin.Hash = hash
	}
	return v, err
}

// A namer gives a revision its version.
type namer struct {
	*source
	rev   *revision
	query string // what was asked; empty if that was the default branch

	ctx           context.Context // of the question
	rootHasGoMod  *bool           // asked once
	majorHasGoMod map[string]bool // by major version, each asked once
	retracted     func(version string) bool
	outage        error // of a question whose answer is no more than a bool
}

// name gives a revision its version, and says what that depends on. ref is the
// reference that the answer depends on, or "".
func (s *source) name(ctx context.Context, rev *revision, query, ref string) (*finding, error) {
	n := &namer{ctx: ctx, source: s, rev: rev, query: query, majorHasGoMod: make(map[string]bool)}
	version, t, err := n.version(ctx)
	if n.outage != nil {
		return nil, n.outage
	}
	if err != nil {
		return nil, err
	}
	return &finding{version: version, tree: t, rev: rev, origin: s.origin(rev, ref, version, query)}, nil
}

func (n *namer) version(ctx context.Context) (string, *tree, error) {
	if module.IsPseudoVersion(n.query) {
		v, t, err := n.canonical(ctx, n.query)
		if err == nil {
			err = n.checkPseudo(ctx, n.query)
		}
		return v, t, err
	}
	if v, exact := n.versionOf(n.rev.tag); exact {
		if v, t, err := n.canonical(ctx, v); err == nil || !isAbsent(err) {
			return v, t, err
		}
	}
	// Only what no tag names itself depends on them, and they are in another
	// commit, the latest version's.
	var err error
	if n.retracted, err = n.retractions(ctx); err != nil {
		return "", nil, err
	}
	return n.fromTags(ctx)
}

// fromTags names the revision after its tags, or else after those before it.
func (n *namer) fromTags(ctx context.Context) (string, *tree, error) {
	var best, base string
	for _, tag := range n.rev.tags {
		v, exact := n.versionOf(tag)
		if n.query != "" && semver.Compare(v, n.query) == 0 {
			if exact {
				return n.canonical(ctx, v)
			}
			// A tag such as v1.0.0+meta was asked for by its name. As a
			// version it would be ambiguous, but it serves as a base.
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
func (n *namer) usable(v string) bool {
	return (module.MatchPathMajor(v, n.major) || n.incompatibleOK(v)) && !n.retracted(v)
}

// versionOf returns the version that a tag stands for, or "", and whether the
// tag is that version and no other form of it.
func (s *source) versionOf(tag string) (v string, exact bool) {
	rest, ok := strings.CutPrefix(tag, s.tagPrefix())
	if !ok || module.IsPseudoVersion(tag) {
		return "", false
	}
	v = semver.Canonical(rest)
	if v == "" || !strings.HasPrefix(rest, v) {
		return "", false // no version, or cut short: v1, v1.2
	}
	return v, v == rest
}

// incompatibleOK reports whether v, of a major version that the path does not
// have, may be used as v+incompatible: only at a repository's root, and not if
// a go.mod shows that the author uses modules.
func (n *namer) incompatibleOK(v string) bool {
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

func (n *namer) has(file string) bool {
	has, err := n.hasFile(n.ctx, n.rev, file)
	if err != nil {
		n.outage = err
	}
	return has
}

// canonical checks that the module has version v and adds "+incompatible"
// where that is needed.
func (n *namer) canonical(ctx context.Context, v string) (string, *tree, error) {
	t, err := n.findDir(ctx, v)
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
			misfit = absentf("%s is not allowed: major version %s is compatible", incompatible, semver.Major(v))
		}
	case n.incompatibleOK(base):
		v = base + incompatible
	case n.major != "":
		misfit = absentf("the module path ends in %s, so the major version must be that", n.major)
	default:
		misfit = absentf("the module has a go.mod, so its path must fit the major version: %s", path.Join(n.prefix, semver.Major(v)))
	}
	if n.query != "" && n.query == module.CanonicalVersion(n.query) && strings.TrimSuffix(n.query, incompatible) != base {
		return "", nil, absentf("resolves to %s; %s is not a tag", v, n.query)
	}
	return v, t, misfit
}

func isAbsent(err error) bool { return errors.As(err, new(absent)) }
