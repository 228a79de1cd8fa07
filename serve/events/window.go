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
	// to it there are the removals that are in force.
	floor    int64
	standing []Event
	events   []Event // the newest last
	bytes    int64   // of events, about
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
// bounds.
func (w window) with(more []Event, o Options) window {
	for _, e := range more {
		w.events = append(w.events, e) // past the end of what readers of older windows see
		w.bytes += e.size()
		if takesBack(e.Kind) {
			w.marks[e.version()] = e.Seq
			w.standing = without(w.standing, e.version())
		}
	}
	var dropped []Event
	for len(w.events)-len(dropped) > o.MaxEvents || w.bytes > o.MaxBytes && len(w.events) > len(dropped) {
		e := w.events[len(dropped)]
		w.bytes -= e.size()
		dropped = w.events[:len(dropped)+1]
	}
	if len(dropped) == 0 {
		return w
	}
	w.events = w.events[len(dropped):]
	w.floor = max(w.floor, dropped[len(dropped)-1].Seq)
	w.standing = slices.Clone(w.standing)
	for _, e := range dropped {
		switch latest := takesBack(e.Kind) && w.marks[e.version()] == e.Seq; {
		case latest && e.Kind == Removed:
			w.standing = append(w.standing, e)
		case latest:
			delete(w.marks, e.version())
		}
	}
	if over := len(w.standing) - o.MaxEvents; over > 0 {
		for _, e := range w.standing[:over] {
			delete(w.marks, e.version())
		}
		w.standing = w.standing[over:]
	}
	return w
}

// without returns the events that are not of a version.
func without(all []Event, m module.Version) []Event {
	i := slices.IndexFunc(all, func(e Event) bool { return e.version() == m })
	if i < 0 {
		return all
	}
	return slices.Concat(all[:i], all[i+1:])
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
