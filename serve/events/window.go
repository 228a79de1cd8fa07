package events

import (
	"slices"
	"sort"

	"golang.org/x/mod/module"
)

// window is what a feed still has. It does not change: with returns the next one.
type window struct {
	epoch string
	born  int64 // when the epoch began
	// floor is the highest number of which something may be missing here. Of the events up
	// to it there are those of the marks that are in force: what is removed or hidden.
	floor     int64
	standing  []Event
	markBytes int64   // of standing, about
	events    []Event // the newest last
	bytes     int64   // of events, about
	forgotten int     // marks that are in force and were dropped: there were too many
	// marks are the numbers of the latest events that took back or restored a version. Only
	// the feed's writer uses the map, and all windows share it.
	marks map[module.Version]int64
}

// newest returns the highest number in the window.
func (w *window) newest() int64 {
	if n := len(w.events); n > 0 {
		return max(w.events[n-1].Seq, w.floor)
	}
	return w.floor
}

// size estimates the bytes of an event in the file.
func (e *Event) size() int64 { return int64(len(e.Module)+len(e.Version)+len(e.Reason)) + 128 }

// with returns the window with more events, and without the oldest where those exceed the
// bounds. Each window is made of the one before, so what is appended to a list is past the
// end of what readers of older windows see.
func (w window) with(more []Event, o Options) window {
	for _, e := range more {
		w.add(e)
	}
	n := 0
	for bytes := w.bytes; len(w.events)-n > o.MaxEvents || bytes > o.MaxBytes && len(w.events) > n; n++ {
		bytes -= w.events[n].size()
	}
	w.drop(n)
	over := 0
	for bytes := w.markBytes; len(w.standing)-over > o.MaxMarks || bytes > maxMarkBytes; over++ {
		bytes -= w.standing[over].size()
	}
	for _, e := range w.standing[:over] {
		delete(w.marks, e.version())
		w.markBytes -= e.size()
	}
	w.standing = w.standing[over:]
	w.forgotten += over
	return w
}

// add appends an event.
func (w *window) add(e Event) {
	w.events = append(w.events, e)
	w.bytes += e.size()
	if takesBack(e.Kind) {
		w.mark(e)
	}
}

// mark notes the latest event that took back or restored a version.
func (w *window) mark(e Event) {
	if _, known := w.marks[e.version()]; known {
		w.unstand(e.version())
	}
	w.marks[e.version()] = e.Seq
}

// unstand takes a version out of standing.
func (w *window) unstand(m module.Version) {
	i := slices.IndexFunc(w.standing, func(e Event) bool { return e.version() == m })
	if i < 0 {
		return
	}
	w.markBytes -= w.standing[i].size()
	w.standing = slices.Concat(w.standing[:i], w.standing[i+1:])
}

// drop takes out the first n events. The marks among them that are in force stay.
func (w *window) drop(n int) {
	for _, e := range w.events[:n] {
		w.bytes -= e.size()
		w.floor = max(w.floor, e.Seq)
		switch latest := takesBack(e.Kind) && w.marks[e.version()] == e.Seq; {
		case latest && e.Kind == Restored:
			delete(w.marks, e.version())
		case latest:
			w.standing = append(w.standing, e)
			w.markBytes += e.size()
		}
	}
	w.events = w.events[n:]
}

// anew returns the window in which, up to a number, there are only the marks that are in
// force: readers that have not seen it start anew.
func (w window) anew(floor int64) window {
	w.drop(len(w.events))
	w.floor = floor
	return w
}

// after returns what a reader that has seen everything up to a number of an epoch, which may
// be empty, has not seen; last is the highest number that any reader was given. Reset says
// that the reader may have missed events that are gone.
func (w *window) after(n int64, epoch string, last int64) (standing, events []Event, reset bool) {
	switch {
	case epoch != "" && epoch != w.epoch, n < 0, n > last, n > 0 && n < w.floor, n == 0 && w.floor > w.born:
		return w.standing, w.events, true
	}
	first := sort.Search(len(w.events), func(i int) bool { return w.events[i].Seq > n })
	return nil, w.events[first:], false
}
