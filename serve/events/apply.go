package events

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/oneline"
)

// batch is what was read and not yet applied, without what is superseded in it.
type batch struct {
	cursor   int64 // up to where it goes
	count    int
	paths    map[string]bool
	news     []Event // of other kinds than marks
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
		return
	}
	b.news = append(b.news, e)
}

// tell tells Options.Changed of an event.
func (f *Follower) tell(ctx context.Context, e Event) {
	if f.opts.Changed != nil {
		f.opts.Changed(ctx, e.Kind, e.version(), e.Reason)
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
	for _, e := range b.news {
		if f.handler.FromUpstream(ctx, e.version()) {
			f.tell(ctx, e)
		}
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
	f.applied.Store(b.cursor)
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
	var changed bool
	var err error
	if e.Kind == Restored {
		changed, err = f.restore(ctx, store, e.version())
	} else {
		changed, err = f.takeBack(ctx, store, e)
	}
	if changed {
		f.tell(ctx, e)
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

// upstreamPrefix begins the reasons of versions that the upstream has removed or hidden. A
// mark without it is that of an operator of this store, and is left alone.
const upstreamPrefix = "upstream: "

// takeBack removes or hides here what the upstream has. Unless the store is to be a copy, what
// is not held is only watched for a while: a source may name any number of versions.
func (f *Follower) takeBack(ctx context.Context, store athens.Remover, e Event) (changed bool, err error) {
	m, removes := e.version(), e.Kind == Removed
	if f.seen != nil && len(f.seen) < maxSeen {
		f.seen[m] = struct{}{}
	}
	marks, err := store.Marks(ctx, m.Path)
	if err != nil {
		return false, err
	}
	mark, marked := marks[m.Version]
	ours := strings.HasPrefix(mark.Reason, upstreamPrefix)
	reason := upstreamPrefix + printable(e.Reason)
	switch {
	case ours && mark.Removed == removes && mark.Reason == reason:
		f.note(m, true)
		return false, nil
	case marked && !ours && (mark.Removed || !removes): // an operator did as much or more here
		return false, nil
	}
	if !ours && !f.opts.Mirror {
		held, err := f.holds(ctx, m)
		if err == nil && !held {
			f.watch(e)
		}
		if err != nil || !held {
			return false, err
		}
	}
	switch {
	case marked && !ours: // an operator hides it here, which must outlast a restoration
		err = store.Evict(ctx, m)
	case removes:
		err = store.Remove(ctx, m, reason)
	default:
		err = store.Hide(ctx, m, reason)
	}
	if err != nil {
		return false, err
	}
	if ours || !marked {
		f.note(m, true)
	}
	f.opts.Logger.Warn("version taken back", "operation", operation(e.Kind), "module", m.Path, "version", m.Version, "reason", printable(e.Reason), "user", "upstream")
	return true, nil
}

// operation is what the log calls a change of a version.
func operation(kind string) string {
	switch kind {
	case Removed:
		return "remove"
	case Hidden:
		return "hide"
	}
	return "restore"
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

// restore undoes what takeBack did.
func (f *Follower) restore(ctx context.Context, store athens.Remover, m module.Version) (changed bool, err error) {
	delete(f.late, m)
	marks, err := store.Marks(ctx, m.Path)
	if err != nil {
		return false, err
	}
	if !strings.HasPrefix(marks[m.Version].Reason, upstreamPrefix) {
		f.note(m, false)
		return false, nil
	}
	if err := store.Restore(ctx, m); err != nil {
		return false, err
	}
	f.note(m, false)
	f.opts.Logger.Warn("version taken back", "operation", operation(Restored), "module", m.Path, "version", m.Version, "user", "upstream")
	return true, nil
}

// maxSeen bounds the marks that are kept in mind after a reset.
const maxSeen = 200_000

// restoreUnseen restores, at the end of what came after a reset, what the upstream no longer
// says is removed or hidden: the event that said so is lost. If it was lost together with the
// removal, nothing is served wrongly: the files are gone, and the upstream refuses them.
func (f *Follower) restoreUnseen(ctx context.Context) error {
	store, able := f.store.(athens.Remover)
	if f.seen == nil || !able {
		return nil
	}
	if len(f.seen) == maxSeen {
		f.opts.Logger.Error("the upstream has too many versions that are removed or hidden: what it has restored meanwhile stays so here", "most", maxSeen)
		f.seen, f.state.Anew, f.behind = nil, false, true
		return nil
	}
	for m, err := range f.taken(ctx) {
		if err != nil {
			return err
		}
		if _, seen := f.seen[m]; seen || !f.handler.FromUpstream(ctx, m) {
			continue
		}
		changed, err := f.restore(ctx, store, m)
		if err != nil {
			return err
		}
		if changed {
			f.tell(ctx, Event{Kind: Restored, Module: m.Path, Version: m.Version})
		}
	}
	f.seen, f.state.Anew, f.behind = nil, false, true
	return nil
}

// taken yields what is taken back here because of an event: the state says so or, if there
// was too much for it, the store.
func (f *Follower) taken(ctx context.Context) iter.Seq2[module.Version, error] {
	return func(yield func(module.Version, error) bool) {
		store, able := f.store.(marked)
		if !able || !f.state.More {
			for m := range maps.Clone(f.state.removed) {
				if !yield(m, nil) {
					return
				}
			}
			return
		}
		for mark, err := range store.AllMarks(ctx) {
			if err == nil && !strings.HasPrefix(mark.Reason, upstreamPrefix) {
				continue
			}
			if !yield(module.Version{Path: mark.Path, Version: mark.Version}, err) {
				return
			}
		}
	}
}

// Bounds of what is watched: a fetch may have begun before the removal and end after it.
const (
	maxLate  = 1024
	lateTime = 15 * time.Minute
)

type lateMark struct {
	event Event
	until time.Time
}

// watch keeps an event of a version that is not held in mind.
func (f *Follower) watch(e Event) {
	if len(f.late) < maxLate {
		f.late[e.version()] = lateMark{e, time.Now().Add(lateTime)}
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
			var changed bool
			if changed, err = f.takeBack(ctx, store, late.event); changed {
				f.tell(ctx, late.event)
			}
		}
		if err != nil || held || time.Now().After(late.until) {
			delete(f.late, m)
		}
	}
	return nil
}

// printable returns a reason as one line of at most 300 bytes. If the upstream follows
// another registry itself, its prefix is left out.
func printable(reason string) string {
	return oneline.Of(strings.TrimPrefix(strings.TrimSpace(reason), upstreamPrefix), 300)
}
