package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/limit"
)

// Bounds of the file that keeps what happened.
const (
	saveInterval  = 10 * time.Minute
	maxStateBytes = 8 << 20
	savedFailures = 500
	savedHistory  = 200
	savedBlocked  = 200
	stateVersion  = 1
)

// state is the content of the file.
type state struct {
	Version int
	Slots   []savedSlot
	Days    []day
	Failed  []savedEvent
	History []savedEvent
	Blocked []savedEvent
}

// savedSlot is a slot by its number since 1970.
type savedSlot struct {
	N               int64
	Public, Private [6]int64
}

func (s slot) list() [6]int64 {
	return [6]int64{s.requests, s.served, s.missed, s.failed, s.bytes, s.stored}
}

func slotFrom(n [6]int64) slot { return slot{n[0], n[1], n[2], n[3], n[4], n[5]} }

// savedEvent is something that happened. Text is why it failed, for a reader who sees
// everything, and Kind for others.
type savedEvent struct {
	At                  time.Time
	Op, Path, Ver       string
	Outcome, Source     string `json:",omitempty"`
	Bytes               int64  `json:",omitempty"`
	Took                time.Duration
	Text, Kind          string     `json:",omitempty"`
	BlockPath, BlockVer string     `json:",omitempty"` // of what the policy refused
	Until               *time.Time `json:",omitempty"`
}

// pastError is why something failed before the server started.
type pastError struct{ text, kind string }

func (e *pastError) Error() string { return e.text }

// credentials are in some URLs of errors.
var credentials = regexp.MustCompile(`://[^/\s"']+@`)

// save makes a savedEvent.
func (h *happened) save() savedEvent {
	e := savedEvent{At: h.at, Op: h.op, Path: h.module.Path, Ver: h.module.Version, Outcome: h.outcome, Source: h.source, Bytes: h.bytes, Took: h.duration}
	if blocked, ok := errors.AsType[*athens.BlockedError](h.err); ok {
		e.Text, e.BlockPath, e.BlockVer = cut(blocked.Reason, 300), blocked.Path, blocked.Version
		if !blocked.Until.IsZero() {
			e.Until = &blocked.Until
		}
	} else if h.err != nil {
		e.Text, e.Kind = cut(credentials.ReplaceAllString(h.err.Error(), "://"), 500), h.reason(false)
	}
	return e
}

// happened is the way back.
func (e *savedEvent) happened() happened {
	h := happened{at: e.At, op: e.Op, module: module.Version{Path: e.Path, Version: e.Ver}, outcome: e.Outcome, source: e.Source, bytes: e.Bytes, duration: e.Took}
	switch {
	case e.Kind != "":
		h.err = &pastError{cut(e.Text, 500), cut(e.Kind, 200)}
	case e.BlockPath != "" || e.Text != "":
		blocked := &athens.BlockedError{Path: e.BlockPath, Version: e.BlockVer, Reason: e.Text}
		if e.Until != nil {
			blocked.Until = *e.Until
		}
		h.err = blocked
	}
	return h
}

// save writes what happened, if there is a file for it and something has.
func (s *Site) save() {
	events := s.activity.events.Load()
	if s.opts.StateFile == "" || events == s.saved {
		return
	}
	data, err := json.Marshal(s.activity.state())
	dir := filepath.Dir(s.opts.StateFile)
	if err == nil {
		if err = os.Mkdir(dir, 0o777); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err == nil {
		err = durable.Replace(durable.OS{}, dir, newState, s.opts.StateFile, data)
	}
	if err != nil {
		if !s.unsaved { // once is enough: the store may be one that can only be read
			s.opts.Logger.Warn("what happened lately is kept in memory alone, and a restart forgets it", "error", err)
		}
		s.unsaved = true
		return
	}
	s.saved, s.unsaved = events, false
}

// state copies what is to be written.
func (a *activity) state() *state {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(time.Now())
	st := &state{Version: stateVersion, Days: slices.Clone(a.days)}
	for n := a.current - slots + 1; n <= a.current; n++ {
		public, private := a.public[n%slots], a.private[n%slots]
		if public != (slot{}) || private != (slot{}) {
			st.Slots = append(st.Slots, savedSlot{n, public.list(), private.list()})
		}
	}
	st.Failed, st.History, st.Blocked = a.failures.save(savedFailures), a.history.save(savedHistory), a.blocked.save(savedBlocked)
	return st
}

// save returns the newest.
func (r *ring) save(most int) (all []savedEvent) {
	for _, h := range r.all[max(len(r.all)-most, 0):] {
		all = append(all, h.save())
	}
	return all
}

// newState begins the name of a state that is being written.
const newState = ".new-"

// sweepState removes what processes that died while they wrote a state have left.
func sweepState(dir string, now time.Time) {
	entries, _ := os.ReadDir(dir) // one that can't be read has nothing to remove
	for _, e := range entries {
		at, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), newState) && at.Mode().IsRegular() && now.Sub(at.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name())) // another process may have been faster
		}
	}
}

// load reads what happened before the start. A file that is damaged costs that only.
func (s *Site) load() {
	if s.opts.StateFile == "" {
		return
	}
	sweepState(filepath.Dir(s.opts.StateFile), time.Now())
	st, err := readState(s.opts.StateFile)
	if err == nil {
		err = s.activity.restore(st, time.Now())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Logger.Warn("what happened before the start can't be read and is not shown", "file", s.opts.StateFile, "error", err)
	}
}

func readState(name string) (*state, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := limit.ReadAll(f, maxStateBytes)
	st := new(state)
	if err == nil {
		err = json.Unmarshal(data, st)
	}
	return st, err
}

// restore puts what was read in front of what happened since.
func (a *activity) restore(st *state, now time.Time) error {
	if st.Version != stateVersion {
		return fmt.Errorf("it is of version %d, and this program reads %d", st.Version, stateVersion)
	}
	if len(st.Days) > maxDays || len(st.Slots) > slots {
		return errors.New("it has too many entries")
	}
	before := int64(-1)
	for _, d := range st.Days {
		if d.Day <= before || d.Day > dayOf(now)+1 || min(d.All.Modules, d.All.Versions, d.All.Bytes, d.Public.Modules, d.Public.Versions, d.Public.Bytes) < 0 {
			return fmt.Errorf("day %d is not possible", d.Day)
		}
		before = d.Day
	}
	for _, s := range st.Slots {
		if s.N < 0 || slices.Min(append(s.Public[:], s.Private[:]...)) < 0 {
			return fmt.Errorf("the counts of slot %d are not possible", s.N)
		}
	}
	var rings [3][]happened
	for i, list := range [][]savedEvent{st.Failed, st.History, st.Blocked} {
		for _, e := range list[:min(len(list), maxHistory)] {
			if e.At.After(now.Add(time.Hour)) || module.CheckPath(e.Path) != nil {
				return fmt.Errorf("what happened to %.80q is not possible", e.Path)
			}
			rings[i] = append(rings[i], e.happened())
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(now)
	for _, s := range st.Slots {
		if s.N > a.current-slots && s.N <= a.current {
			a.public[s.N%slots].add(slotFrom(s.Public))
			a.private[s.N%slots].add(slotFrom(s.Private))
		}
	}
	if len(st.Days) > 0 {
		a.days = st.Days
	}
	a.failures.all = append(rings[0], a.failures.all...)
	a.history.all = append(rings[1], a.history.all...)
	a.blocked.all = append(rings[2], a.blocked.all...)
	return nil
}

// keep samples and writes what happened every few minutes, and returns when it is due again.
func (s *Site) keep(due time.Time) time.Time {
	now := time.Now()
	if now.Before(due) {
		return due
	}
	s.sample()
	s.save()
	return now.Add(saveInterval)
}
