package events

import (
	"context"
	"iter"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// marked is a store that can list what was taken back in it.
type marked interface {
	athens.Remover
	AllMarks(ctx context.Context) iter.Seq2[athens.BlockedError, error]
}

// standing is what a version is: "", Removed or Hidden, with the reason.
type standing struct{ kind, reason string }

// learn tells of the marks of a store that the feed does not know, and that those are gone
// which only the feed knows.
func (f *Feed) learn(ctx context.Context, store marked) {
	known := f.inForce()
	var written <-chan struct{} // of the last event
	for mark, err := range store.AllMarks(ctx) {
		if err != nil {
			f.opts.Logger.Warn("marks of the store can't be read: readers of events may not learn of them", "module", mark.Path, "error", err)
			continue
		}
		m := module.Version{Path: mark.Path, Version: mark.Version}
		was := known[m]
		delete(known, m)
		if was != standingOf(mark) {
			if w := f.correct(ctx, store, m, was); w != nil {
				written = w
			}
		}
	}
	for m, was := range known { // correct asks the store, which the walk may have missed
		if ctx.Err() != nil {
			return
		}
		if w := f.correct(ctx, store, m, was); w != nil {
			written = w
		}
	}
	if written != nil {
		select {
		case <-written:
		case <-ctx.Done():
		}
	}
}

// maxCorrections is how often the mark of a version is followed that changes meanwhile.
const maxCorrections = 10

// correct tells what a version is now, of which the feed has told something else. A change
// that comes in between is told by whoever makes it, and may be told before: so the mark is
// read once more afterwards.
func (f *Feed) correct(ctx context.Context, store athens.Remover, m module.Version, told standing) (written <-chan struct{}) {
	for range maxCorrections {
		marks, err := store.Marks(ctx, m.Path)
		if err != nil {
			return written // learn has said so, or the next start does
		}
		var is standing
		if mark, ok := marks[m.Version]; ok {
			is = standingOf(mark)
		}
		if is == told {
			return written
		}
		kind := is.kind
		if kind == "" {
			kind = Restored
		}
		written, told = f.tell(kind, m, is.reason), is
	}
	return written
}

// standingOf is what a mark says, as an event has it.
func standingOf(mark athens.BlockedError) standing {
	reason := strings.ToValidUTF8(mark.Reason[:min(len(mark.Reason), maxReason-2)], "")
	if mark.Removed {
		return standing{Removed, reason}
	}
	return standing{Hidden, reason}
}

// inForce returns the marks that the feed has told of.
func (f *Feed) inForce() map[module.Version]standing {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[module.Version]standing{}
	note := func(e Event) {
		switch e.Kind {
		case Removed, Hidden:
			all[e.version()] = standing{e.Kind, e.Reason}
		case Restored:
			delete(all, e.version())
		}
	}
	for _, list := range [][]Event{f.kept.standing, f.kept.events} {
		for _, e := range list {
			note(e)
		}
	}
	for _, w := range f.waiting {
		note(w.event)
	}
	return all
}
