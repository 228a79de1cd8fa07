package events

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// batch is what was read and not yet applied, without what is superseded in it.
type batch struct {
	cursor   int64 // up to where it goes
	count    int
	paths    map[string]bool
	marks    []Event // the latest that takes back or restores each version, in order
	caughtUp bool    // there was no more at that time
}

func (b *batch) add(e Event) {
	if b.paths == nil {
		b.paths = map[string]bool{}
	}
	b.cursor, b.caughtUp = e.Seq, false
	b.count++
	b.paths[e.Module] = true
	if takesBack(e.Kind) {
		b.marks = append(slices.DeleteFunc(b.marks, func(old Event) bool { return old.version() == e.version() }), e)
	}
}

// maxForgotten is how many modules are forgotten one by one: beyond it all are at once.
const maxForgotten = 200

// apply applies what was read. An error means that it must be read again.
func (f *Follower) apply(ctx context.Context) error {
	b := f.batch
	if b.count > 0 {
		f.forget(ctx, b.paths)
	}
	for _, e := range b.marks {
		if err := f.mark(ctx, e); err != nil {
			return err
		}
	}
	if b.caughtUp {
		if err := f.restoreUnseen(ctx); err != nil {
			return err
		}
		if err := f.takeLate(ctx); err != nil {
			return err
		}
	}
	if b.cursor != f.state.Cursor {
		f.state.Cursor, f.behind = b.cursor, true
	}
	f.batch = batch{cursor: b.cursor}
	if f.behind && time.Since(f.saved) >= saveInterval {
		f.save()
	}
	return nil
}

// forget drops what the upstream answered about modules.
func (f *Follower) forget(ctx context.Context, paths map[string]bool) {
	own := maps.Clone(paths)
	maps.DeleteFunc(own, func(path string, _ bool) bool {
		return !f.handler.FromUpstream(ctx, module.Version{Path: path})
	})
	if len(own) > maxForgotten {
		f.handler.Forget("")
		return
	}
	for path := range own {
		f.handler.Forget(path)
	}
}

// maxTries is how often an event that can't be applied is tried before it is left out.
const maxTries = 5

// mark does in the store what an event of the upstream says about a version.
func (f *Follower) mark(ctx context.Context, e Event) error {
	store, able := f.store.(athens.Remover)
	if !able || !f.handler.FromUpstream(ctx, e.version()) { // the upstream has no say on what is private here
		return nil
	}
	var err error
	if e.Kind == Removed {
		err = f.remove(ctx, store, e.version(), e.Reason)
	} else {
		err = f.restore(ctx, store, e.version())
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if f.failed != e.Seq {
		f.failed, f.tries = e.Seq, 0
	}
	if f.tries++; f.tries < maxTries {
		return err
	}
	f.opts.Logger.Error("what the upstream says of a version can't be done here", "kind", e.Kind, "module", e.Module, "version", e.Version, "error", err)
	return nil
}

// upstreamPrefix begins the reasons of versions that the upstream has removed. A mark without
// it is that of an operator of this store, and is left alone.
const upstreamPrefix = "upstream: "

// remove takes back what the upstream has removed. What is not held is only watched for a
// while: a source may name any number of versions.
func (f *Follower) remove(ctx context.Context, store athens.Remover, m module.Version, reason string) error {
	if f.seen != nil {
		f.seen[m] = struct{}{}
	}
	marks, err := store.Marks(ctx, m.Path)
	if err != nil {
		return err
	}
	mark, marked := marks[m.Version]
	if marked && mark.Removed {
		if strings.HasPrefix(mark.Reason, upstreamPrefix) {
			f.note(m, true)
		}
		return nil
	}
	held, err := f.holds(ctx, m)
	switch {
	case err != nil:
		return err
	case !held:
		f.watch(m, reason)
		return nil
	case marked: // an operator hides it here, which must outlast a restoration
		err = store.Evict(ctx, m)
	default:
		if err = store.Remove(ctx, m, upstreamPrefix+printable(reason)); err == nil {
			f.note(m, true)
		}
	}
	if err == nil {
		f.opts.Logger.Warn("version taken back", "operation", "remove", "module", m.Path, "version", m.Version, "reason", printable(reason), "user", "upstream")
	}
	return err
}

// holds reports whether the store has a version.
func (f *Follower) holds(ctx context.Context, m module.Version) (bool, error) {
	obj, err := f.store.Open(ctx, m, athens.ModFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, obj.Body.Close()
}

// restore undoes what remove did.
func (f *Follower) restore(ctx context.Context, store athens.Remover, m module.Version) error {
	delete(f.late, m)
	marks, err := store.Marks(ctx, m.Path)
	if err != nil {
		return err
	}
	if mark := marks[m.Version]; !mark.Removed || !strings.HasPrefix(mark.Reason, upstreamPrefix) {
		f.note(m, false)
		return nil
	}
	if err := store.Restore(ctx, m); err != nil {
		return err
	}
	f.note(m, false)
	f.opts.Logger.Warn("version taken back", "operation", "restore", "module", m.Path, "version", m.Version, "user", "upstream")
	return nil
}

// restoreUnseen restores, at the end of what came after a reset, what the upstream no longer
// says is removed: the event that said so is lost. If it was lost together with the removal,
// nothing is served wrongly: the files are gone, and the upstream refuses them.
func (f *Follower) restoreUnseen(ctx context.Context) error {
	store, able := f.store.(athens.Remover)
	if f.seen == nil || !able {
		return nil
	}
	for m := range maps.Clone(f.state.removed) {
		if _, seen := f.seen[m]; seen || !f.handler.FromUpstream(ctx, m) {
			continue
		}
		if err := f.restore(ctx, store, m); err != nil {
			return err
		}
	}
	f.seen = nil
	return nil
}

// Bounds of what is watched: a fetch may have begun before the removal and end after it.
const (
	maxLate  = 1024
	lateTime = 15 * time.Minute
)

type lateMark struct {
	reason string
	until  time.Time
}

// watch keeps a removed version that is not held in mind.
func (f *Follower) watch(m module.Version, reason string) {
	if len(f.late) < maxLate {
		f.late[m] = lateMark{reason, time.Now().Add(lateTime)}
	}
}

// takeLate takes back what came in after its removal.
func (f *Follower) takeLate(ctx context.Context) error {
	store, able := f.store.(athens.Remover)
	if !able {
		return nil
	}
	for m, late := range f.late {
		held, err := f.holds(ctx, m)
		if err == nil && held {
			err = f.remove(ctx, store, m, late.reason)
		}
		if err != nil || held || time.Now().After(late.until) {
			delete(f.late, m)
		}
	}
	return nil
}

// printable returns a reason as one line of at most 300 bytes.
func printable(reason string) string {
	const most = 300
	reason = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(reason, " "), func(r rune) bool {
		return r == ' ' || !unicode.IsPrint(r)
	}), " ")
	reason = strings.TrimPrefix(reason, upstreamPrefix) // the upstream follows another
	for len(reason) > most {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	return reason
}
