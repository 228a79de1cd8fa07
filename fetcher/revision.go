package fetcher

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/mod/semver"
)

// A revision is a commit, with how it was found.
type revision struct {
	commit string // full hash
	tree   string
	time   time.Time        // of the commit, UTC
	ref    string           // reference that named it, in full; empty if a hash did
	tag    string           // the query, if it is the name of a tag
	tags   iter.Seq[string] // all tags of the commit, sorted
	tip    string           // object to request from the server; empty if found by hash
	byHash bool             // found in the history, not as the target of a reference
}

// Shorter strings are not taken for hashes. Pseudo-versions have twelve
// digits, which no two commits of a repository share by accident.
const (
	minHashDigits = 7
	pseudoDigits  = 12
	hashDigits    = 40
)

// shortHash returns the form in which pseudo-versions name a commit.
func shortHash(commit string) string { return commit[:min(pseudoDigits, len(commit))] }

// allHex reports whether s consists of lower-case hexadecimal digits.
func allHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// stat resolves a tag, a branch, "HEAD" or a hash, tried in this order, and
// makes sure that the commit is in the bare repository.
func (r *repo) stat(ctx context.Context, rs *refSet, rev string) (*revision, error) {
	var ref string
	isHash := len(rev) >= minHashDigits && len(rev) <= hashDigits && allHex(rev)
	switch {
	case rs.commit(tagsPrefix+rev) != "":
		ref = tagsPrefix + rev
	case rs.commit(headsPrefix+rev) != "":
		ref = headsPrefix + rev
	case rev == headName && rs.commit(headName) != "":
		ref = headName
	case isHash:
		commit := ""
		for place := range rs.withHash(rev) {
			switch id := rs.list.ids[place].String(); {
			case ref == "":
				ref, commit = string(rs.list.name(place)), id
			case id != commit:
				return nil, notFoundf("ambiguous revision %s", rev)
			}
		}
	default:
		return nil, notFoundf("unknown revision %s", rev)
	}
	if ref == "" {
		return r.statHash(ctx, rs, rev)
	}
	meant := rs.get(ref)
	hash := meant.commit
	if ref == headName {
		hash = rs.head
	}
	if err := r.ensureCommit(ctx, rs, hash, meant.tip); err != nil {
		return nil, err
	}
	found, err := r.describe(ctx, rs, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, notFoundf("unknown revision %s: %s is not a commit", rev, ref)
	}
	if err != nil {
		return nil, err
	}
	found.tip = meant.tip
	switch {
	case ref != headName:
		found.ref = ref
	case hash != found.tip:
		found.ref = found.tip
	}
	if ref == tagsPrefix+rev {
		found.tag = rev
	}
	return found, nil
}

// statHash finds a commit that no reference names, by its hash or a prefix of it.
func (r *repo) statHash(ctx context.Context, rs *refSet, prefix string) (*revision, error) {
	find := func() ([]string, error) {
		o, err := r.open(ctx)
		if err != nil {
			return nil, err
		}
		defer o.close()
		return o.commitsWithPrefix(prefix)
	}
	var list []string
	var err error
	if len(prefix) >= pseudoDigits {
		if list, err = find(); err != nil {
			return nil, err
		}
	}
	if len(list) != 1 {
		if err := r.ensureHistory(ctx, rs, false); err != nil {
			return nil, err
		}
		if list, err = find(); err != nil {
			return nil, err
		}
	}
	if len(list) != 1 {
		return nil, notFoundf("unknown revision %s", prefix)
	}
	found, err := r.describe(ctx, rs, list[0])
	if err != nil {
		return nil, err
	}
	found.byHash = true
	return found, nil
}

// commitsWithPrefix returns the commits in the bare repository whose hash, or whose
// annotated tag's hash, begins with prefix.
func (o *objects) commitsWithPrefix(prefix string) (list []string, err error) {
	whole, err := hex.DecodeString(prefix[:len(prefix)&^1])
	if err != nil {
		return nil, err
	}
	all, err := o.store.WithPrefix(whole)
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		if !strings.HasPrefix(h.String(), prefix) {
			continue
		}
		commit, err := o.peel(h.String())
		if err != nil {
			return nil, err
		}
		if commit != "" && !slices.Contains(list, commit) {
			list = append(list, commit)
		}
	}
	return list, nil
}

// peel follows annotated tags to a commit; it returns "" for anything else.
func (o *objects) peel(hash string) (string, error) {
	for range 100 {
		obj, err := o.store.Object(plumbing.NewHash(hash))
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return "", nil
		}
		if err != nil {
			return "", damaged(err)
		}
		line := make([]byte, len("object ")+hashDigits)
		n, err := io.ReadFull(obj, line)
		obj.Close()
		switch {
		case obj.Kind == plumbing.CommitObject:
			return hash, nil
		case obj.Kind != plumbing.TagObject:
			return "", nil
		case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
			return "", damaged(err)
		}
		if hash = strings.TrimPrefix(string(line[:n]), "object "); !plumbing.IsHash(hash) {
			return "", nil
		}
	}
	return "", nil
}

// describe reads a commit from the bare repository.
func (r *repo) describe(ctx context.Context, rs *refSet, hash string) (*revision, error) {
	o, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer o.close()
	c, err := o.commit(hash)
	if err != nil {
		return nil, err
	}
	return &revision{commit: hash, tree: c.tree, time: c.time, tags: rs.tagsOf(hash)}, nil
}

// readFile returns a go.mod of a revision as it is stored in git.
func (r *repo) readFile(ctx context.Context, rev *revision, name string) ([]byte, error) {
	o, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer o.close()
	return o.file(ctx, rev.tree, name, r.f.opts.MaxModBytes)
}

// ancestry calls visit for a revision and its ancestors until visit returns
// false. If the history is not complete, it fetches the rest and calls visit again
// for all commits. It fails rather than leave any out.
func (r *repo) ancestry(ctx context.Context, rs *refSet, rev *revision, visit func(hash string) bool) error {
	walk := func() error {
		o, err := r.open(ctx)
		if err != nil {
			return err
		}
		defer o.close()
		return o.walk(rev.commit, visit)
	}
	if err := r.checkComplete(rs); err != nil {
		return err
	}
	err := walk()
	if !errors.Is(err, errShallow) {
		return err
	}
	if err := r.ensureHistory(ctx, rs, rev.tip == rs.get(headName).tip); err != nil {
		return err
	}
	if err = walk(); errors.Is(err, errShallow) {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return err
}

// descends reports whether a tag is a revision or one of its ancestors.
func (r *repo) descends(ctx context.Context, rs *refSet, rev *revision, tag string) (bool, error) {
	// Like git, take "tags/v1.0.0" for the tag v1.0.0, and "heads/v1.0.0" for a branch.
	meant := cmp.Or(rs.commit("refs/"+tag), rs.commit(tagsPrefix+tag))
	found := false
	err := r.ancestry(ctx, rs, rev, func(hash string) bool {
		found = found || hash == meant
		return !found
	})
	return found, err
}

// recentTag returns the highest of the tags with a prefix that allowed accepts
// and that a revision descends from, or "". It prefers a tag of the commit itself
// to a higher one of an ancestor, unless the commit was found by its hash. The go
// command does the same, since it reads the history only then.
func (r *repo) recentTag(ctx context.Context, rs *refSet, rev *revision, prefix string, allowed func(tag string) bool) (string, error) {
	if !rev.byHash {
		if best := highestTag(rev.tags, prefix, allowed); best != "" {
			return prefix + best, nil
		}
	}
	top := highestTag(rs.tags(prefix), prefix, allowed)
	if top == "" {
		return "", nil
	}
	tagged := rs.byCommit(prefix, allowed)
	best := ""
	err := r.ancestry(ctx, rs, rev, func(hash string) bool {
		if version := highestTag(tagged.of(hash), prefix, allowed); version != "" && (best == "" || semver.Compare(version, best) > 0) {
			best = version
		}
		return best == "" || semver.Compare(best, top) < 0
	})
	if best == "" || err != nil {
		return "", err
	}
	return prefix + best, nil
}

// highestTag returns the highest version among the tags with a prefix that allowed
// accepts, without the prefix, or "".
func highestTag(tags iter.Seq[string], prefix string, allowed func(tag string) bool) string {
	best := ""
	for tag := range tags {
		version, ok := strings.CutPrefix(tag, prefix)
		if ok && (best == "" || semver.Compare(version, best) > 0) && allowed(tag) {
			best = version
		}
	}
	return best
}
