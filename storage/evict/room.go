package evict

import (
	"context"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// makeRoom evicts a twentieth of what is held, because the medium is full, and reports
// whether anything was evicted.
func (s *Store) makeRoom(ctx context.Context, spare module.Version) bool {
	before := s.Stats()
	return s.evict(ctx, spare, before.Bytes-before.Bytes/20-1) > 0
}

const (
	// maxFailures is how many versions in a row the medium may fail to evict.
	maxFailures = 3
	// failedPause is how long a store that could not evict does not try again.
	failedPause = time.Minute
)

// evict evicts until at most so many bytes are held, and returns how many versions it
// evicted. It spares one version. What Options.Keep keeps is put aside until the next
// count, so that a store that can't get below its bound is not looked through at each Put.
func (s *Store) evict(ctx context.Context, spare module.Version, until int64) (n int) {
	s.evicting.Lock()
	defer s.evicting.Unlock()
	defer s.judge()
	ctx = context.WithoutCancel(ctx)
	failures := 0
	for tries := s.candidates(); tries > 0 && failures < maxFailures; tries-- {
		s.mu.Lock()
		e := s.order.Back()
		if e == nil || s.used <= until {
			s.mu.Unlock()
			break
		}
		held := *of(e)
		s.order.MoveToFront(e) // if it stays, the next one is another
		s.mu.Unlock()
		if held.m == spare {
			continue
		}
		if s.opts.Keep != nil && s.opts.Keep(ctx, held.m) {
			s.keep(held.m)
			continue
		}
		start := time.Now()
		err := s.Evict(ctx, held.m)
		if err != nil {
			failures++
			s.opts.Logger.Warn("could not evict a version", "module", held.m.Path, "version", held.m.Version, "error", err)
		} else {
			n, failures = n+1, 0
		}
		s.tell(held, time.Since(start), err)
	}
	if failures > 0 {
		s.mu.Lock()
		s.paused = time.Now().Add(failedPause)
		s.mu.Unlock()
	}
	return n
}

// candidates returns how many versions may be evicted, as far as is known.
func (s *Store) candidates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}

// keep puts a version aside.
func (s *Store) keep(m module.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[m]
	if !ok || of(e).kept {
		return
	}
	held := of(e)
	held.kept = true
	s.order.Remove(e)
	s.entries[m] = s.kept.PushFront(held)
}

// judge logs once that what is held exceeds the bound for good: until it is below it again.
func (s *Store) judge() {
	s.mu.Lock()
	now := s.used > s.most && s.order.Len() <= 1 // the one that was stored just now
	warn := now && !s.full
	s.full = now
	used := s.used
	s.mu.Unlock()
	if warn {
		s.opts.Logger.Warn("the store exceeds its bound, and what it holds must not be evicted: raise the bound or remove versions", "bytes", used, "maxBytes", s.most)
	}
}

// tell reports an eviction.
func (s *Store) tell(held entry, took time.Duration, err error) {
	if s.opts.Observe == nil {
		return
	}
	event := athens.Event{Op: OpEvict, Module: held.m, Source: athens.SourceStore, Outcome: athens.OutcomeDone, Bytes: held.meta + held.zip, Duration: took, Err: err}
	if err != nil {
		event.Outcome = athens.OutcomeFailed
	}
	s.opts.Observe(event)
}
