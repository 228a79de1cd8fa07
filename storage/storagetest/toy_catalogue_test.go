package storagetest_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// All takes what is there at once, and is broken in the way of the toy's bug.
func (t *toy) All(ctx context.Context) iter.Seq2[module.Version, error] {
	return func(yield func(module.Version, error) bool) {
		all := t.catalogue()
		if len(all) == 0 && t.bug == "catalogue of nothing is an error" {
			yield(module.Version{}, errors.New("nothing"))
		}
		for _, m := range all {
			if err := ctx.Err(); err != nil && t.bug != "catalogue ignores ctx" {
				if t.bug != "catalogue ends without a word" {
					yield(module.Version{}, err)
				}
				return
			}
			if !yield(m, nil) && t.bug != "catalogue goes on" {
				return
			}
		}
	}
}

// catalogue lists what is held.
func (t *toy) catalogue() []module.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.SortedFunc(maps.Keys(t.versions), func(a, b module.Version) int {
		byPath, byVersion := strings.Compare(a.Path, b.Path), semver.Compare(a.Version, b.Version)
		switch {
		case t.bug == "catalogue mixes modules" && byVersion != 0:
			return byVersion
		case t.bug == "catalogue sorts as text" && byPath == 0:
			return strings.Compare(a.Version, b.Version)
		case byPath != 0:
			return byPath
		}
		return byVersion
	})
	switch {
	case t.bug == "catalogue forgets what lies below":
		return slices.DeleteFunc(all, func(m module.Version) bool { return strings.Count(m.Path, "/") > 1 })
	case t.bug == "catalogue names twice" && len(all) > 0:
		return append(all, all[0])
	case t.bug == "catalogue-beside" && len(all) > 40: // what was stored has shifted the position
		return slices.DeleteFunc(all, func(m module.Version) bool { return m.Path == "example.com/held1" })
	}
	return all
}
