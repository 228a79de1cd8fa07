package blob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"gocloud.dev/gcerrors"
	"golang.org/x/mod/module"
)

// Remove decides that m is removed, and puts an empty object in the place of its zip, and
// one in the place of its .info and .mod. So it costs readers and writers no request to
// find out, and no writer that began before can store m again.
func (s *Store) Remove(ctx context.Context, m module.Version, reason string) error {
	return s.decide(ctx, "remove", m, func(was mark) (mark, bool, error) {
		next := mark{Removed: true, Reason: reason, Mod: was.Mod, Zip: was.Zip}
		if was.same(next) {
			return was, false, nil
		}
		err := s.record(ctx, m, &next)
		return next, true, err
	})
}

// Hide decides that m is hidden.
func (s *Store) Hide(ctx context.Context, m module.Version, reason string) error {
	return s.decide(ctx, "hide", m, func(was mark) (mark, bool, error) {
		next := mark{Hidden: true, Reason: reason, Mod: was.Mod, Zip: was.Zip}
		return next, !was.same(next), nil
	})
}

// Restore decides that m is neither. The empty objects stay until m is stored again.
func (s *Store) Restore(ctx context.Context, m module.Version) error {
	return s.decide(ctx, "restore", m, func(was mark) (mark, bool, error) {
		return mark{Mod: was.Mod, Zip: was.Zip}, was.Removed || was.Hidden, nil
	})
}

// Evict deletes the objects of m, the zip first and once more, if a Commit was in progress.
// A Commit in another process that is still later leaves a zip; another Evict deletes it.
func (s *Store) Evict(ctx context.Context, m module.Version) error {
	err := s.decide(ctx, "evict", m, func(was mark) (mark, bool, error) {
		next := was
		next.Mod, next.Zip = "", ""
		return next, !was.Removed && next != was, nil
	})
	if err != nil {
		return err
	}
	return fault(ctx, "evict", m, s.evict(ctx, m))
}

func (s *Store) evict(ctx context.Context, m module.Version) error {
	k, err := s.newestMark(ctx, m)
	if err != nil || k.Removed {
		return err
	}
	zip, meta, err := keysOf(m)
	if err != nil {
		return err
	}
	for _, key := range []string{zip, meta} {
		if err := s.delete(ctx, key); err != nil {
			return err
		}
	}
	s.seen.forget(m)
	left, err := s.zip(ctx, m, zip)
	if err == nil && left != nil {
		err = s.delete(ctx, zip)
	}
	s.seen.forget(m)
	if err == nil {
		_, err = s.newestMark(ctx, m) // carries a removal out whose objects these were
	}
	if isRemoved(err) {
		return nil
	}
	return err
}

// decisionsOnce is how often a decision is tried beside others about the same version.
const decisionsOnce = 16

// decide makes the next mark of m, which change makes of the present one. It may be asked
// more than once, and reports whether there is anything to decide.
func (s *Store) decide(ctx context.Context, op string, m module.Version, change func(was mark) (next mark, differs bool, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for range decisionsOnce {
		was, err := s.newestMark(ctx, m)
		if err != nil {
			return fault(ctx, op, m, err)
		}
		next, differs, err := change(was)
		if err != nil {
			return fault(ctx, op, m, err)
		}
		if differs {
			next.Time, next.seq, next.done = time.Now().UTC().Truncate(time.Millisecond), was.seq+1, false
			mine, err := s.createMark(ctx, m, next)
			if err != nil {
				return fault(ctx, op, m, err)
			}
			if !mine {
				continue
			}
		}
		if next.Removed && (differs || !was.done) {
			if err := s.carryOut(ctx, m, next); err != nil {
				return fault(ctx, op, m, err)
			}
			next.done = true
		}
		s.seen.forget(m)
		if next.seq > 0 {
			s.noteMark(m, next)
		}
		return nil
	}
	return fault(ctx, op, m, fmt.Errorf("others decided about this version %d times meanwhile", decisionsOnce))
}

// record adds the hashes of what is held to a removal that has none yet.
func (s *Store) record(ctx context.Context, m module.Version, k *mark) error {
	zip, meta, err := keysOf(m)
	if err != nil {
		return err
	}
	if k.Mod == "" {
		object, held, err := find(ctx, s, meta, func(ctx context.Context) ([]byte, error) { return s.readSmall(ctx, meta) })
		if err != nil {
			return err
		}
		// A damaged object has no hash, and can be removed as well.
		if d, perr := parseMeta(m, object); held && perr == nil {
			if k.Mod, err = modcheck.ModHash(d.file(athens.ModFile)); err != nil {
				return err
			}
		}
	}
	if k.Zip == "" {
		z, held, err := find(ctx, s, zip, s.head(zip))
		if err != nil {
			return err
		}
		if held {
			k.Zip = z.h1
		}
	}
	return nil
}

// carryOut does what a removal says, and leaves a note beside it.
func (s *Store) carryOut(ctx context.Context, m module.Version, k mark) error {
	if err := s.bury(ctx, m); err != nil {
		return err
	}
	key, err := doneKey(m, k.seq)
	if err == nil {
		err = s.writeTaken(ctx, key, []byte("{}"))
	}
	if contended(err) {
		return nil // another process has, too
	}
	return err
}

// bury puts empty objects in the place of what is held of m.
func (s *Store) bury(ctx context.Context, m module.Version) error {
	zip, meta, err := keysOf(m)
	if err != nil {
		return err
	}
	for _, key := range []string{zip, meta} {
		if err := s.buryObject(ctx, key); err != nil {
			return err
		}
	}
	s.seen.forget(m)
	return nil
}

// buryObject puts an empty object in the place of another. There is no request that
// replaces one in a way that several writers can rely on, so it deletes that one, and
// creates the new one if nobody was faster.
func (s *Store) buryObject(ctx context.Context, key string) error {
	look := func() (size int64, held bool, err error) {
		return find(ctx, s, key, func(ctx context.Context) (int64, error) {
			a, err := s.bucket.Attributes(ctx, key)
			if err != nil {
				return 0, err
			}
			return a.Size, nil
		})
	}
	var err error
	for range decisionsOnce {
		size, held, lerr := look()
		switch {
		case lerr != nil:
			return lerr
		case held && size == 0:
			return nil
		case held:
			if derr := s.delete(ctx, key); derr != nil {
				return derr
			}
		}
		if err = s.writeTaken(ctx, key, nil); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if size, held, lerr := look(); lerr == nil && held && size == 0 {
			return nil // it took effect, or somebody else did the same
		}
		if !contended(err) {
			return err
		}
	}
	return err
}

// delete deletes an object. One that is gone is no error.
func (s *Store) delete(ctx context.Context, key string) error {
	_, err := within(ctx, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.bucket.Delete(ctx, key)
	})
	if gcerrors.Code(err) == gcerrors.NotFound && serviceCode(err) != "NoSuchBucket" {
		return nil
	}
	return err
}

// keysOf returns the names of the objects of a version.
func keysOf(m module.Version) (zip, meta string, err error) {
	zip, err1 := zipKey(m)
	meta, err2 := metaKey(m)
	return zip, meta, errors.Join(err1, err2)
}

// exhume deletes the empty object at a key, so that m can be stored again there: it was
// removed and is no longer. What is stored must have the hash of what was removed.
func (s *Store) exhume(ctx context.Context, m module.Version, key string, f athens.File, hash string) error {
	k, err := s.newestMark(ctx, m)
	if err == nil {
		err = k.blocked(m)
	}
	if err != nil {
		return err
	}
	recorded := k.Mod
	if f == athens.ZipFile {
		recorded = k.Zip
	}
	if recorded != "" && recorded != hash {
		return &athens.ConflictError{Module: m, File: f, Held: recorded + " in the record of what was removed and restored", Got: hash}
	}
	return s.delete(ctx, key)
}

// stillAllowed looks whether m, for which an empty object was deleted, has been removed
// again meanwhile. Then it goes again.
func (s *Store) stillAllowed(ctx context.Context, m module.Version) error {
	k, err := s.newestMark(ctx, m)
	if err == nil && k.Removed {
		if err = s.bury(ctx, m); err == nil {
			err = k.blocked(m)
		}
	}
	return err
}

// accepted is called when the service created an object a second time. It returns err,
// that the service ignores conditions, unless m was taken back in between.
func (s *Store) accepted(ctx context.Context, m module.Version, since int64, err error) error {
	if !errors.Is(err, errUnconditional) {
		return err
	}
	switch k, merr := s.newestMark(ctx, m); {
	case merr != nil:
		return errors.Join(err, merr)
	case k.Removed:
		if berr := s.bury(ctx, m); berr != nil {
			return berr
		}
		return k.blocked(m)
	case k.seq > 0, s.seen.epoch.Load() != since:
		return errEmptied // removed and restored, or evicted
	}
	return err
}
