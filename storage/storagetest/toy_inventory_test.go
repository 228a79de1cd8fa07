package storagetest_test

import (
	"context"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"

	"golang.org/x/mod/module"
)

// AllSumDB is broken in the way of the toy's bug.
func (t *toy) AllSumDB(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		t.mu.Lock()
		names := slices.Collect(maps.Keys(t.sums))
		for m := range t.versions {
			if t.bug == "sumdb-listed yields modules" {
				names = append(names, m.Path)
			}
		}
		t.mu.Unlock()
		for _, name := range names {
			if err := ctx.Err(); err != nil && t.bug != "sumdb-listed ignores ctx" {
				yield("", err)
				return
			}
			if t.bug == "sumdb-listed yields the folder of a name" {
				name = path.Dir(name)
			}
			if !yield(name, nil) && t.bug != "sumdb-listed goes on" {
				return
			}
			if t.bug == "sumdb-listed twice" && !yield(name, nil) {
				return
			}
		}
	}
}

// ZipHash is, too.
func (t *toy) ZipHash(_ context.Context, m module.Version) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.removal(m, "hash"); err != nil && t.bug != "zip-hash of what was removed" {
		return "", err
	}
	e := t.versions[t.key(m)]
	switch {
	case e != nil && t.bug == "zip-hash of the .mod":
		return "h1:x", nil
	case e == nil || e.zip == nil:
		if t.bug == "zip-hash of nothing is no error" {
			return "", nil
		}
		return "", fs.ErrNotExist
	}
	return e.h1, nil
}
