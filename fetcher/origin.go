package fetcher

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// origin says where a version came from and what the answer depends on. A
// pseudo-version also depends on the tags, which could change its base.
func (s *codeRepo) origin(rev *revision, ref, version, query string) *athens.Origin {
	o := &athens.Origin{VCS: vcsGit, URL: s.repo.name, Subdir: s.dir, Hash: rev.commit, Ref: ref}
	if module.IsPseudoVersion(version) && (version != query || !strings.HasPrefix(version, "v0.0.0-")) {
		prefix := s.tagPrefix()
		if s.major != "" {
			prefix += s.major[1:] + "."
		}
		o.TagPrefix, o.TagSum = prefix, s.refs.tagSum(prefix)
	}
	return o
}

// listOrigin returns the origin of a list of the versions that begin with prefix.
func (s *codeRepo) listOrigin(prefix string) *athens.Origin {
	prefix = s.tagPrefix() + prefix
	return &athens.Origin{VCS: vcsGit, URL: s.repo.name, Subdir: s.dir, TagPrefix: prefix, TagSum: s.refs.tagSum(prefix)}
}

// tagSum returns the go command's checksum of the tags with a prefix that are
// versions.
func (rs *refSet) tagSum(prefix string) string {
	folder := prefix[:strings.LastIndex(prefix, "/")+1]
	h := sha256.New()
	for r := range rs.under(tagsPrefix + prefix) {
		tag := r.name[len(tagsPrefix):]
		version := strings.TrimPrefix(tag, folder)
		c := semver.Canonical(version)
		if c != "" && strings.HasPrefix(version, c) && !module.IsPseudoVersion(version) {
			fmt.Fprintf(h, "%q %s\n", tag, r.commit)
		}
	}
	return "t1:" + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// mergeOrigins merges the origins of two steps of one answer. If they contradict
// each other, it returns nil.
func mergeOrigins(a, b *athens.Origin) *athens.Origin {
	if a == nil || b == nil || a.VCS != b.VCS || a.URL != b.URL || a.Subdir != b.Subdir {
		return nil
	}
	merged := *a
	if b.TagSum != "" && a.TagSum != "" && a.TagPrefix != b.TagPrefix {
		return nil
	}
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&merged.Hash, b.Hash}, {&merged.TagSum, b.TagSum}, {&merged.RepoSum, b.RepoSum}, {&merged.Ref, b.Ref},
	} {
		if f.from != "" && *f.to != "" && f.from != *f.to {
			return nil
		}
		if f.from != "" {
			*f.to = f.from
		}
	}
	if b.TagSum != "" {
		merged.TagPrefix = b.TagPrefix
	}
	return &merged
}
