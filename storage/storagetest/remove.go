package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
)

// removeCases are about stores that can take versions back; others pass.
var removeCases = []Case{
	{"remove", "what is removed is a BlockedError with Removed with the reason for Open, Put and Commit, and is not listed, until it is restored", twice(removable(checkRemove))},
	{"remove-unheld", "a version can be removed before it is held", twice(removable(checkRemoveUnheld))},
	{"remove-reader", "a zip that is being read while it is removed is read to its end, or the read fails", twice(removable(checkRemoveReader))},
	{"remove-race", "of a Put and a Remove at the same time, the Remove wins", twice(removable(checkRemoveRace))},
	{"hide", "what is hidden is held and marked until it is restored", twice(removable(checkHide))},
	{"evict", "what is evicted is not held, and other content may take its place; others are held", twice(removable(checkEvict))},
	{"remove-reopen", "a mark is there when the store is opened again", checkRemoveReopen},
}

// removable makes a check for stores that can take versions back; the second store
// is the medium opened again.
func removable(check func(ctx context.Context, st athens.Storage, r athens.Remover, again athens.Storage) error) func(context.Context, athens.Storage, athens.Storage) error {
	return func(ctx context.Context, a, b athens.Storage) error {
		if r, ok := a.(athens.Remover); ok {
			return check(ctx, a, r, b)
		}
		return nil
	}
}

const reason = "it was published by mistake"

// removed wants err to say that m was removed.
func removed(err error, m module.Version) error {
	var gone *athens.BlockedError
	switch {
	case !errors.As(err, &gone), !gone.Removed:
		return fmt.Errorf("error %w, want a BlockedError with Removed", err)
	case gone.Path != m.Path || gone.Version != m.Version || gone.Reason != reason:
		return fmt.Errorf("the BlockedError is of %s@%s for %q, want %s and %q", gone.Path, gone.Version, gone.Reason, m, reason)
	}
	return nil
}

// isRemoved wants a version to be removed in every respect.
func isRemoved(ctx context.Context, st athens.Storage, s Sample, others ...string) error {
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		obj, err := st.Open(ctx, s.Module, f)
		if err == nil {
			obj.Body.Close()
			return fmt.Errorf("Open .%s of %s, which was removed: it is there", f, s.Module)
		}
		if err := removed(err, s.Module); err != nil {
			return fmt.Errorf("Open .%s: %w", f, err)
		}
	}
	if err := removed(orNone(st.Put(ctx, s.Module, s.Info, s.Mod)), s.Module); err != nil {
		return fmt.Errorf("Put: %w", err)
	}
	if err := removed(orNone(s.Commit(ctx, st)), s.Module); err != nil {
		return fmt.Errorf("Commit: %w", err)
	}
	if err := marked(ctx, st, s.Module, true); err != nil {
		return err
	}
	return versions(ctx, st, s.Module.Path, others...)
}

var errNone = errors.New("none")

// orNone makes an error of none.
func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// marked wants m alone to be marked in its module.
func marked(ctx context.Context, st athens.Storage, m module.Version, gone bool) error {
	marks, err := st.(athens.Remover).Marks(ctx, m.Path)
	if err != nil {
		return fmt.Errorf("Marks of %s: %w", m.Path, err)
	}
	mark, ok := marks[m.Version]
	if len(marks) != 1 || !ok || mark.Removed != gone || mark.Reason != reason {
		return fmt.Errorf("Marks of %s: %v, want %s with Removed %v and the reason", m.Path, marks, m.Version, gone)
	}
	return nil
}

// unmarked wants a module to have no marks.
func unmarked(ctx context.Context, st athens.Storage, path string) error {
	marks, err := st.(athens.Remover).Marks(ctx, path)
	if err != nil || len(marks) > 0 {
		return fmt.Errorf("Marks of %s: %v and error %w, want none", path, marks, orNone(err))
	}
	return nil
}

func checkRemove(ctx context.Context, st athens.Storage, r athens.Remover, again athens.Storage) error {
	s, other := ordinary(), NewSample("example.com/Some/mod", "v1.3.0", "")
	for _, each := range []Sample{s, other} {
		if err := each.Store(ctx, st); err != nil {
			return err
		}
	}
	if err := s.Whole(ctx, st); err != nil { // from now on the store may remember it
		return err
	}
	if err := unmarked(ctx, st, s.Module.Path); err != nil {
		return err
	}
	for range 2 { // the second changes nothing
		if err := r.Remove(ctx, s.Module, reason); err != nil {
			return fmt.Errorf("Remove: %w", err)
		}
		if err := isRemoved(ctx, st, s, other.Module.Version); err != nil {
			return err
		}
	}
	if err := isRemoved(ctx, again, s, other.Module.Version); err != nil {
		return err
	}
	if err := other.Whole(ctx, st); err != nil {
		return err
	}
	for range 2 {
		if err := r.Restore(ctx, s.Module); err != nil {
			return fmt.Errorf("Restore: %w", err)
		}
	}
	if err := unmarked(ctx, st, s.Module.Path); err != nil {
		return err
	}
	if err := missing(ctx, st, s.Module, athens.InfoFile, athens.ModFile, athens.ZipFile); err != nil {
		return err
	}
	if err := s.Store(ctx, st); err != nil {
		return fmt.Errorf("after Restore: %w", err)
	}
	return s.Whole(ctx, again)
}

func checkRemoveUnheld(ctx context.Context, st athens.Storage, r athens.Remover, again athens.Storage) error {
	s := ordinary()
	if err := r.Restore(ctx, s.Module); err != nil {
		return fmt.Errorf("Restore of what has no mark: %w", err)
	}
	if err := r.Remove(ctx, s.Module, reason); err != nil {
		return fmt.Errorf("Remove of what is not held: %w", err)
	}
	for _, each := range []athens.Storage{st, again} {
		if err := isRemoved(ctx, each, s); err != nil {
			return err
		}
	}
	if err := r.Restore(ctx, s.Module); err != nil {
		return fmt.Errorf("Restore: %w", err)
	}
	return s.Store(ctx, st)
}

func checkRemoveReader(ctx context.Context, st athens.Storage, r athens.Remover, _ athens.Storage) error {
	s := ordinary()
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	obj, err := st.Open(ctx, s.Module, athens.ZipFile)
	if err != nil {
		return err
	}
	defer obj.Body.Close()
	start := make([]byte, 10)
	if _, err := io.ReadFull(obj.Body, start); err != nil {
		return err
	}
	if err := r.Remove(ctx, s.Module, reason); err != nil {
		return fmt.Errorf("Remove: %w", err)
	}
	rest, err := io.ReadAll(obj.Body)
	if err == nil && !bytes.Equal(slices.Concat(start, rest), s.Zip) {
		return fmt.Errorf("a body that was open before Remove ends without an error after %d bytes, want %d", len(start)+len(rest), len(s.Zip))
	}
	return nil
}

func checkRemoveRace(ctx context.Context, st athens.Storage, r athens.Remover, again athens.Storage) error {
	for i := range 10 {
		s := NewSample("example.com/mod", fmt.Sprintf("v1.0.%d", i), "")
		put := make(chan error, 1)
		go func() { put <- s.Store(ctx, again) }()
		err := r.Remove(ctx, s.Module, reason)
		if perr := <-put; perr != nil {
			var gone *athens.BlockedError
			if !errors.As(perr, &gone) || !gone.Removed {
				return fmt.Errorf("a Put beside a Remove: %w, want nil or a BlockedError with Removed", perr)
			}
		}
		if err != nil {
			return fmt.Errorf("Remove beside a Put: %w", err)
		}
		_, err = st.Open(ctx, s.Module, athens.ModFile)
		if err := removed(orNone(err), s.Module); err != nil {
			return fmt.Errorf("Open after a Put and a Remove: %w", err)
		}
		if err := versions(ctx, again, s.Module.Path); err != nil {
			return err
		}
	}
	return nil
}

func checkHide(ctx context.Context, st athens.Storage, r athens.Remover, again athens.Storage) error {
	s := ordinary()
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	if err := r.Hide(ctx, s.Module, reason); err != nil {
		return fmt.Errorf("Hide: %w", err)
	}
	for _, each := range []athens.Storage{st, again} {
		if err := marked(ctx, each, s.Module, false); err != nil {
			return err
		}
		if err := s.Whole(ctx, each); err != nil {
			return err
		}
		if err := versions(ctx, each, s.Module.Path, s.Module.Version); err != nil {
			return err
		}
	}
	if err := r.Remove(ctx, s.Module, reason); err != nil {
		return fmt.Errorf("Remove of what is hidden: %w", err)
	}
	if err := isRemoved(ctx, st, s); err != nil {
		return err
	}
	if err := r.Hide(ctx, s.Module, reason); err != nil {
		return fmt.Errorf("Hide of what is removed: %w", err)
	}
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	if err := marked(ctx, again, s.Module, false); err != nil {
		return err
	}
	if err := r.Restore(ctx, s.Module); err != nil {
		return fmt.Errorf("Restore: %w", err)
	}
	if err := unmarked(ctx, again, s.Module.Path); err != nil {
		return err
	}
	return s.Whole(ctx, again)
}

func checkEvict(ctx context.Context, st athens.Storage, r athens.Remover, again athens.Storage) error {
	s, other := ordinary(), NewSample("example.com/Some/mod", "v1.3.0", "")
	if err := r.Evict(ctx, s.Module); err != nil {
		return fmt.Errorf("Evict of what is not held: %w", err)
	}
	for _, each := range []Sample{s, other} {
		if err := each.Store(ctx, st); err != nil {
			return err
		}
		if err := each.Whole(ctx, st); err != nil {
			return err
		}
	}
	if err := r.Evict(ctx, s.Module); err != nil {
		return fmt.Errorf("Evict: %w", err)
	}
	if err := missing(ctx, st, s.Module, athens.InfoFile, athens.ModFile, athens.ZipFile); err != nil {
		return err
	}
	if err := unmarked(ctx, st, s.Module.Path); err != nil {
		return err
	}
	if err := versions(ctx, again, s.Module.Path, other.Module.Version); err != nil {
		return err
	}
	if err := other.Whole(ctx, st); err != nil {
		return err
	}
	changed := NewSample(s.Module.Path, s.Module.Version, "b")
	if err := changed.Store(ctx, st); err != nil {
		return fmt.Errorf("other content after Evict: %w", err)
	}
	return changed.Whole(ctx, st)
}

func checkRemoveReopen(ctx context.Context, open Open) error {
	s, hidden := ordinary(), NewSample("example.com/other", "v1.0.0", "")
	err := alone(func(ctx context.Context, st athens.Storage) error {
		r, ok := st.(athens.Remover)
		if !ok {
			return nil
		}
		if err := errors.Join(s.Store(ctx, st), hidden.Store(ctx, st)); err != nil {
			return err
		}
		return errors.Join(r.Remove(ctx, s.Module, reason), r.Hide(ctx, hidden.Module, reason))
	})(ctx, open)
	if err != nil {
		return err
	}
	return alone(func(ctx context.Context, st athens.Storage) error {
		if _, ok := st.(athens.Remover); !ok {
			return nil
		}
		if err := isRemoved(ctx, st, s); err != nil {
			return err
		}
		if err := marked(ctx, st, hidden.Module, false); err != nil {
			return err
		}
		return hidden.Whole(ctx, st)
	})(ctx, open)
}
