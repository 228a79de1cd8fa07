package fetcher

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// checkPseudo checks that a pseudo-version matches its commit: it must have
// twelve digits of the hash, the commit time, and a base that is a tag of an ancestor.
// Otherwise anybody could invent a high version for an old commit.
func (n *versioner) checkPseudo(ctx context.Context, version string) error {
	rev, err := module.PseudoVersionRev(version)
	if err != nil {
		return notFound{err}
	}
	short := shortHash(n.rev.commit)
	switch {
	case rev == short:
	case strings.HasPrefix(rev, short):
		return notFoundf("the revision is longer than canonical (expected %s)", short)
	case strings.HasPrefix(short, rev):
		return notFoundf("the revision is shorter than canonical (expected %s)", short)
	default:
		return notFoundf("the revision is not the commit's short hash (expected %s)", short)
	}
	t, err := module.PseudoVersionTime(version)
	if err != nil {
		return notFound{err}
	}
	if !t.Equal(n.rev.time.Truncate(time.Second)) {
		return notFoundf("the time is not the commit's (expected %s)", n.rev.time.Format(module.PseudoVersionTimestampFormat))
	}
	base, err := module.PseudoVersionBase(strings.TrimSuffix(version, incompatible))
	if err != nil {
		return notFound{err}
	}
	if base == "" {
		if n.pseudoMajor == "" && semver.Major(version) == "v1" {
			return notFoundf("the major version without a preceding tag must be v0, not v1")
		}
		return nil
	}
	return n.checkBase(ctx, base, rev)
}

// checkBase checks that a tag of version base is an ancestor of the revision. It must
// not be a tag of the revision itself, because that would be its version.
func (n *versioner) checkBase(ctx context.Context, base, short string) error {
	prefix := n.tagPrefix()
	for tag := range n.rev.tags {
		if strings.TrimPrefix(tag, prefix) == base {
			return notFoundf("revision %s has the tag %s, which is its version", short, tag)
		}
	}
	last := ""
	for tag := range n.refs.tags(prefix + base) {
		if semver.Compare(strings.TrimPrefix(tag, prefix), base) != 0 {
			continue
		}
		last = tag
		ok, err := n.repo.descends(ctx, n.refs, n.rev, tag)
		if ok || err != nil {
			return err
		}
	}
	if last == "" {
		return notFoundf("the preceding tag %s is missing", base)
	}
	return notFoundf("revision %s does not descend from the tag %s", short, last)
}

// isRevision returns an error if a string can't name a branch, a tag or a commit. Like
// the go command, it refuses strings that could be an option or a path.
func isRevision(s string) error {
	if s == "" || len(s) > 1024 {
		return errors.New("a query must have 1 to 1024 bytes")
	}
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "/") {
		return errors.New("a query can't begin with a hyphen or a slash")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }) {
		return errors.New("git does not allow this name")
	}
	return nil
}
