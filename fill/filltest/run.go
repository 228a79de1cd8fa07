package filltest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/athens-go/athens"
)

func checkRetry(h Harness) error {
	fails := []error{
		errors.New("it did not work"),
		&athens.UnavailableError{Source: "the registry", Err: errors.New("connection refused")},
	}
	answer := func(_ *session, _ context.Context, _ athens.Fill, n int) error {
		if n <= len(fails) {
			return fails[n-1]
		}
		return nil
	}
	return with(h, answer, func(s *session) error {
		if err := s.schedule(whole(1), 0); err != nil {
			return err
		}
		return s.expect(whole(1), len(fails)+1, s.units(2)+s.Retry)
	})
}

func checkRetryLater(h Harness) error {
	const often = 50
	answer := func(s *session, ctx context.Context, _ athens.Fill, n int) error {
		if n > often {
			return s.wait(ctx) // otherwise the clock of a bubble would stand still
		}
		return errors.New("it never works")
	}
	return with(h, answer, func(s *session) error {
		if err := s.schedule(small(1), 0); err != nil {
			return err
		}
		begin := s.Now()
		s.Advance(s.units(4))
		if n := s.count(small(1)); n > often {
			return s.broken(begin, 8, fmt.Errorf("tried more than %d times in four units", often))
		}
		return nil
	})
}

func checkFinal(h Harness) error {
	m := version(0)
	finals := []error{
		&athens.MissingError{Path: m.Path, Query: m.Version},
		&athens.BlockedError{Path: m.Path, Version: m.Version, Reason: "a test"},
		&athens.InvalidError{Path: m.Path, Version: m.Version, Err: errors.New("a broken zip")},
		&athens.ConflictError{Module: m, File: athens.ZipFile, Held: "h1:a", Got: "h1:b"},
	}
	answer := func(_ *session, _ context.Context, f athens.Fill, _ int) error {
		for i, err := range finals {
			if f == small(i) {
				return fmt.Errorf("filling: %w", err)
			}
		}
		return nil
	}
	return with(h, answer, func(s *session) error {
		for i := range finals {
			if err := s.schedule(small(i), 0); err != nil {
				return err
			}
		}
		if !s.eventually(s.units(4), func() bool { return s.total() >= len(finals) }) {
			return fmt.Errorf("%d of %d fills ran", s.total(), len(finals))
		}
		s.Advance(s.Retry)
		for i, err := range finals {
			if n := s.count(small(i)); n != 1 {
				return fmt.Errorf("ran %d times, although its error was final: %w", n, err)
			}
		}
		return nil
	})
}

func checkPanic(h Harness) error {
	answer := func(_ *session, _ context.Context, f athens.Fill, n int) error {
		if f.Zip && n == 1 {
			panic("a fill that goes wrong")
		}
		return nil
	}
	return with(h, answer, func(s *session) error {
		for i := range 8 {
			if err := s.schedule(whole(i), 0); err != nil {
				return err
			}
		}
		s.Advance(s.units(2))
		for i := range 8 {
			if err := s.schedule(small(100+i), 0); err != nil {
				return err
			}
		}
		for i := range 8 {
			if err := s.expect(small(100+i), 1, s.units(4)); err != nil {
				return fmt.Errorf("after others had panicked: %w", err)
			}
		}
		if s.hasEnded() {
			return fmt.Errorf("Run returned %v", s.err)
		}
		return nil
	})
}

func checkGrace(h Harness) error {
	var cut, finished atomic.Bool
	answer := func(s *session, ctx context.Context, _ athens.Fill, _ int) error {
		err := s.wait(ctx)
		cut.Store(err != nil)
		finished.Store(true)
		return err
	}
	return with(h, answer, func(s *session) error {
		if err := s.running(1); err != nil {
			return err
		}
		begin, graced := s.Now(), int(s.Grace/s.Unit)
		s.stop()
		s.Advance(s.units(2))
		if cut.Load() {
			return s.broken(begin, graced, errors.New("the running fill's context ended with Run's"))
		}
		if s.hasEnded() {
			return s.broken(begin, graced, errors.New("Run returned while a fill was running within the grace period"))
		}
		s.release()
		if err := s.returnsNil(4); err != nil {
			return err
		}
		if !finished.Load() || cut.Load() {
			return s.broken(begin, graced, errors.New("the running fill was not allowed to finish"))
		}
		return nil
	})
}

func checkGraceEnds(h Harness) error {
	return with(h, holds, func(s *session) error {
		if err := s.running(1); err != nil {
			return err
		}
		s.stop()
		s.Advance(s.Grace)
		return s.returnsNil(4)
	})
}

func checkNoStartAfterEnd(h Harness) error {
	return with(h, holds, func(s *session) error {
		const n = 64 // more than run at once
		for i := range n {
			if err := s.schedule(small(i), 0); err != nil {
				return err
			}
		}
		if err := s.schedule(small(n), 8); err != nil {
			return err
		}
		s.Advance(s.units(2))
		s.stop()
		before := -1
		for n := s.total(); n != before; n = s.total() { // some may be starting
			before = n
			s.Advance(s.Unit)
		}
		s.release()
		s.Advance(s.units(10))
		if after := s.total(); after != before {
			return fmt.Errorf("%d fills started after Run's context was done", after-before)
		}
		return s.returnsNil(1)
	})
}

func checkNotLost(h Harness) error {
	return with(h, nil, func(s *session) error {
		begin := s.Now()
		before := s.schedule(small(1), 4)
		s.stop()
		if s.broken(begin, 4, nil) != nil {
			return errSlow
		}
		if err := errors.Join(before, s.returnsNil(4)); err != nil {
			return err
		}
		after := s.schedule(small(2), 0)
		if h.Reopen == nil {
			if after == nil {
				return errors.New("Schedule accepted a fill after Run had returned, and nothing will run it")
			}
			return nil
		}
		fills, err := h.Reopen()
		if err != nil {
			return fmt.Errorf("Reopen: %w", err)
		}
		later := newSession(s.Harness, fills)
		defer later.close()
		later.start()
		if after == nil {
			after = later.expect(small(2), 1, s.units(4))
		} else {
			after = nil
		}
		return errors.Join(after, later.expect(small(1), 1, s.units(8)))
	})
}

// running schedules a fill of version n and waits until it runs.
func (s *session) running(n int) error {
	if err := s.schedule(small(n), 0); err != nil {
		return err
	}
	if !s.eventually(s.units(4), func() bool { return s.count(small(n)) > 0 }) {
		return errors.New("the fill did not start")
	}
	return nil
}

// returnsNil waits for Run to return nil.
func (s *session) returnsNil(units int) error {
	if !s.eventually(s.units(units), s.hasEnded) {
		return fmt.Errorf("Run did not return within %d units", units)
	}
	if s.err != nil {
		return fmt.Errorf("Run returned an error: %w", s.err)
	}
	return nil
}
