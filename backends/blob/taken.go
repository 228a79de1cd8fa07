package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"gocloud.dev/blob"
	"golang.org/x/mod/module"
)

// maxMark bounds the object of a mark in bytes.
const maxMark = 64 << 10

// mark is what was last decided about a version, as its object has it. A decision is one
// object that is created once, under the number after the one before, and never changes.
type mark struct {
	Removed bool `json:",omitempty"`
	Hidden  bool `json:",omitempty"` // neither: it was restored
	Reason  string
	Time    time.Time // when that was decided, UTC
	// Mod and Zip are the hashes of what a removal deleted, empty if it was not held. What
	// is stored after a Restore must have them.
	Mod string `json:",omitempty"`
	Zip string `json:",omitempty"`

	seq  int64 // of its object; zero is no mark
	done bool  // the removal was carried out
}

// same reports whether a decision changes nothing.
func (k mark) same(other mark) bool {
	return k.Removed == other.Removed && k.Hidden == other.Hidden && k.Reason == other.Reason
}

// blocked is the error for a version that the mark removes, nil if it removes none.
func (k mark) blocked(m module.Version) error {
	if !k.Removed {
		return nil
	}
	return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: k.Reason, Removed: true}
}

// isRemoved reports whether err says that a version was removed.
func isRemoved(err error) bool {
	blocked, ok := errors.AsType[*athens.BlockedError](err)
	return ok && blocked.Removed
}

// marked is what is known of the marks of one module. It is not changed once it is kept.
type marked struct {
	marks map[string]mark
	until time.Time // when the service is asked again
}

// newMarks returns a memory for the marks of modules.
func newMarks(maxBytes int64) *cache.Cache[string, marked] {
	return cache.New(maxBytes, func(path string, of marked) int64 {
		n := len(path)
		for v, k := range of.marks {
			n += len(v) + len(k.Reason) + len(k.Mod) + len(k.Zip) + partOverhead
		}
		return int64(n)
	})
}

// Marks returns the marks of a module's versions: one request, and another for each mark
// that this process has not seen yet. They stay in memory for Options.MarksTTL.
func (s *Store) Marks(ctx context.Context, path string) (map[string]athens.BlockedError, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := s.marksOf(ctx, path)
	if err != nil {
		return nil, fault(ctx, "marks", module.Version{Path: path}, err)
	}
	var shown map[string]athens.BlockedError
	for v, k := range all {
		if k.Removed || k.Hidden {
			if shown == nil {
				shown = make(map[string]athens.BlockedError, len(all))
			}
			shown[v] = k.shown(module.Version{Path: path, Version: v})
		}
	}
	return shown, nil
}

// shown is a mark as callers see it.
func (k mark) shown(m module.Version) athens.BlockedError {
	return athens.BlockedError{Path: m.Path, Version: m.Version, Reason: k.Reason, Removed: k.Removed}
}

// AllMarks walks over the marks of all modules, in the order of their keys: a request for
// each thousand decisions, and one for each marked version. It ends with the first request
// that fails.
func (s *Store) AllMarks(ctx context.Context) iter.Seq2[athens.BlockedError, error] {
	return func(yield func(athens.BlockedError, error) bool) {
		var last decision
		flush := func() bool {
			if last.seq == 0 {
				return true
			}
			k, err := s.readMark(ctx, last.m, last.seq)
			if err != nil {
				yield(athens.BlockedError{Path: last.m.Path, Version: last.m.Version}, fault(ctx, "marks", last.m, err))
				return false
			}
			return !k.Removed && !k.Hidden || yield(k.shown(last.m), nil)
		}
		for d, err := range s.decisions(ctx, takenRoot) {
			if err != nil {
				yield(athens.BlockedError{}, fault(ctx, "marks", d.m, err))
				return
			}
			if d.m != last.m && !flush() {
				return
			}
			last = d
		}
		flush()
	}
}

// decision is the object of a mark, or the note that it was carried out, as a listing has it.
type decision struct {
	m    module.Version
	seq  int64
	done bool
}

// decisions lists the objects under a prefix, those of a version in the order of their
// numbers. An error is the last.
func (s *Store) decisions(ctx context.Context, prefix string) iter.Seq2[decision, error] {
	return func(yield func(decision, error) bool) {
		for o, err := range s.objects(ctx, prefix) {
			if err != nil {
				yield(decision{}, err)
				return
			}
			if d, ok := parseTakenKey(o.Key); ok && !yield(d, nil) {
				return
			}
		}
	}
}

// newest lists the last decision about each version under a prefix of one module.
func (s *Store) newest(ctx context.Context, prefix string) (map[module.Version]decision, error) {
	last := map[module.Version]decision{}
	for d, err := range s.decisions(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		last[d.m] = d // the note comes after its decision
		if len(last) > maxVersions {
			return nil, fmt.Errorf("more than %d marks", maxVersions)
		}
	}
	return last, nil
}

// marksOf returns the marks of a module, from memory if they are new enough.
func (s *Store) marksOf(ctx context.Context, path string) (map[string]mark, error) {
	known, _ := s.marks.Get(path)
	if time.Now().Before(known.until) {
		return known.marks, nil
	}
	prefix, err := takenPrefix(path)
	if err != nil {
		return nil, err
	}
	last, err := s.newest(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all, err := s.readMarks(ctx, last, known.marks)
	if err != nil {
		return nil, err
	}
	s.marks.Update(path, func(was marked) marked {
		for v, k := range was.marks { // decided here, after the listing
			if k.seq > all[v].seq {
				all[v] = k
			}
		}
		return marked{all, time.Now().Add(s.opts.MarksTTL)}
	})
	return all, nil
}

// readsOnce is how many marks are read at once.
const readsOnce = 8

// readMarks reads the decisions that are not known, and finishes what a process that died
// has left.
func (s *Store) readMarks(ctx context.Context, last map[module.Version]decision, known map[string]mark) (map[string]mark, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	all, slots := make(map[string]mark, len(last)), make(chan struct{}, readsOnce)
	for m, d := range last {
		if k := known[m.Version]; k.seq == d.seq && (!k.Removed || k.done) {
			mu.Lock()
			all[m.Version] = k
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			k, err := s.readMark(ctx, m, d.seq)
			if err == nil {
				k = s.learn(ctx, m, k, d.done)
			}
			mu.Lock()
			defer mu.Unlock()
			all[m.Version], failed = k, errors.Join(failed, err)
		})
	}
	wg.Wait()
	return all, failed
}

// learn forgets what this process remembers of a version that others have removed. If
// nobody has carried the removal out, it does; a failure of that is tried again later.
func (s *Store) learn(ctx context.Context, m module.Version, k mark, done bool) mark {
	if !k.Removed {
		return k
	}
	s.seen.forget(m)
	k.done = done || !s.opts.Unprobed && s.carryOut(ctx, m, k) == nil
	return k
}

// newestMark asks the service for the mark of one version, the zero mark if there is none.
func (s *Store) newestMark(ctx context.Context, m module.Version) (mark, error) {
	prefix, err := takenPrefixOf(m)
	if err != nil {
		return mark{}, err
	}
	last, err := s.newest(ctx, prefix)
	if err != nil {
		return mark{}, err
	}
	d, ok := last[m]
	if !ok {
		return mark{}, nil
	}
	k, err := s.readMark(ctx, m, d.seq)
	if err == nil {
		k = s.learn(ctx, m, k, d.done)
		s.noteMark(m, k)
	}
	return k, err
}

// readMark reads the object of a mark.
func (s *Store) readMark(ctx context.Context, m module.Version, seq int64) (k mark, err error) {
	key, err := takenKey(m, seq)
	if err != nil {
		return k, err
	}
	data, held, err := find(ctx, s, key, func(ctx context.Context) ([]byte, error) { return s.readWhole(ctx, key, maxMark) })
	switch {
	case err != nil:
		return k, err
	case !held:
		return k, fmt.Errorf("%s was deleted", key)
	}
	if err := json.Unmarshal(data, &k); err != nil || k.Removed && k.Hidden {
		return k, fmt.Errorf("%s is no mark, restore that object: %w", key, errors.Join(err))
	}
	k.seq = seq
	return k, nil
}

// noteMark adds a mark to those that are in memory of its module.
func (s *Store) noteMark(m module.Version, k mark) {
	s.marks.Update(m.Path, func(was marked) marked {
		if was.until.IsZero() || was.marks[m.Version].seq > k.seq {
			return was
		}
		all := maps.Clone(was.marks)
		if all == nil {
			all = map[string]mark{}
		}
		all[m.Version] = k
		return marked{all, was.until}
	})
}

// buried says what an empty object in the place of a version means: that it was removed, by
// the error; or that it was and is not any more, by nil.
func (s *Store) buried(ctx context.Context, m module.Version) error {
	all, err := s.marksOf(ctx, m.Path)
	if err != nil {
		return err
	}
	if k := all[m.Version]; k.Removed {
		s.seen.forget(m)
		return k.blocked(m)
	}
	k, err := s.newestMark(ctx, m)
	if err == nil && k.seq == 0 {
		err = errors.New("the object is empty, and no mark says that it was removed: it was not written by this package")
	}
	if err != nil {
		return err
	}
	return k.blocked(m)
}

// createMark makes a decision: the service creates its object, and refuses to do so again.
// It reports false if another process has decided meanwhile.
func (s *Store) createMark(ctx context.Context, m module.Version, k mark) (mine bool, err error) {
	key, err := takenKey(m, k.seq)
	if err != nil {
		return false, err
	}
	data, err := json.Marshal(k)
	if err == nil && len(data) > maxMark {
		err = fmt.Errorf("the mark would have %d bytes, more than %d", len(data), maxMark)
	}
	if err != nil {
		return false, err
	}
	write := func() error { return s.writeTaken(ctx, key, data) }
	same := false
	mine, err = s.create(ctx, write, func() (bool, error) {
		there, held, err := find(ctx, s, key, func(ctx context.Context) ([]byte, error) { return s.readWhole(ctx, key, maxMark) })
		same = held && string(there) == string(data)
		return held, err
	})
	if err != nil || !mine && !same {
		return false, err
	}
	return true, s.proofs.after(ctx, func() error { return refused(write()) })
}

// writeTaken creates an object that marks something, if there is none.
func (s *Store) writeTaken(ctx context.Context, key string, data []byte) error {
	_, err := within(ctx, s.opts.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.bucket.WriteAll(ctx, key, data, &blob.WriterOptions{ContentType: "application/json", IfNotExist: true})
	})
	return err
}
