package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
)

// removal is the error of an operation on what was removed. The caller has the lock.
func (t *toy) removal(m module.Version, op string) error {
	mark := t.marks[m]
	switch {
	case !mark.Removed, t.bug == "remove of "+op:
		return nil
	case t.bug == "remove is fs.ErrNotExist":
		return fs.ErrNotExist
	}
	return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: mark.Reason, Removed: true}
}

func (t *toy) mark(m module.Version, mark athens.BlockedError) {
	if t.bug == "remove forgets the reason" || t.bug == "hide forgets the reason" {
		mark.Reason = ""
	}
	t.marks[m] = mark
}

func (t *toy) drop(m module.Version) {
	if e := t.versions[t.key(m)]; e != nil && t.bug == "remove-reader" {
		// What is being read is read on, as if it ended cleanly, with other content.
		for i := range e.zip {
			e.zip[i] = 0
		}
	}
	delete(t.versions, t.key(m))
	t.lists[m.Path] = slices.DeleteFunc(slices.Clone(t.lists[m.Path]), func(v string) bool { return v == m.Version && t.bug != "remove lists it" })
}

func (t *toy) Remove(_ context.Context, m module.Version, reason string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bug == "remove-unheld is an error" && t.versions[t.key(m)] == nil {
		return errors.New("it is not held")
	}
	t.mark(m, athens.BlockedError{Removed: true, Reason: reason})
	if t.bug != "remove keeps the files" {
		t.drop(m)
	}
	return nil
}

func (t *toy) Hide(_ context.Context, m module.Version, reason string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark(m, athens.BlockedError{Removed: t.bug == "hide removes", Reason: reason})
	return nil
}

func (t *toy) Restore(_ context.Context, m module.Version) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bug != "restore forgets" {
		delete(t.marks, m)
	}
	return nil
}

func (t *toy) Marks(_ context.Context, path string) (map[string]athens.BlockedError, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	marks := map[string]athens.BlockedError{}
	for m, mark := range t.marks {
		if m.Path == path {
			marks[m.Version] = mark
		}
	}
	return marks, nil
}

func (t *toy) Evict(_ context.Context, m module.Version) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.versions[t.key(m)]
	if e == nil {
		if t.bug == "evict of nothing is an error" {
			return fs.ErrNotExist
		}
		return nil
	}
	t.drop(m)
	switch t.bug {
	case "evict marks":
		t.mark(m, athens.BlockedError{})
	case "evict remembers":
		t.versions[t.key(m)] = &entry{mod: bytes.Clone(e.mod)}
	case "evict takes all":
		maps.DeleteFunc(t.versions, func(other module.Version, _ *entry) bool { return other.Path == m.Path })
	}
	return nil
}
