package filltest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/athens-go/athens"
)

func reopens(h Harness) bool { return h.Reopen != nil }
func crashes(h Harness) bool { return h.Crash != nil }

// successor opens the fills that s left as the next process would, and runs them.
// The caller closes it.
func (s *session) successor(open func() (athens.FillScheduler, error)) (*session, error) {
	fills, err := open()
	if err != nil {
		return nil, fmt.Errorf("opening the scheduler again: %w", err)
	}
	later := newSession(s.Harness, fills)
	later.start()
	return later, nil
}

// reopened ends s in order and returns its successor.
func (s *session) reopened() (*session, error) {
	s.stop()
	if err := s.returnsNil(4); err != nil {
		return nil, err
	}
	return s.successor(s.Reopen)
}

// reopenedBefore is reopened. The error is errSlow if s did not stop before some units
// had passed since begin.
func (s *session) reopenedBefore(begin time.Time, units int) (*session, error) {
	s.stop()
	if s.broken(begin, units, nil) != nil {
		return nil, errSlow
	}
	return s.reopened()
}

// crashed has s killed and returns its successor.
func (s *session) crashed() (*session, error) {
	later, err := s.successor(s.Crash)
	s.stop()
	return later, err
}

// tries waits until f has run at least once; after a crash it may run again.
func (s *session) tries(f athens.Fill, units int) error {
	if !s.eventually(s.units(units)+s.Retry, func() bool { return s.count(f) > 0 }) {
		return fmt.Errorf("the next process did not run %v", f)
	}
	return nil
}

func checkSurvives(h Harness) error {
	return with(h, nil, func(s *session) error {
		if err := s.schedule(whole(1), 0); err != nil {
			return err
		}
		if err := s.expect(whole(1), 1, s.units(4)); err != nil {
			return err
		}
		begin := s.Now()
		err := errors.Join(s.schedule(small(2), 4), s.schedule(whole(3), 4), s.schedule(small(4), 4), s.schedule(whole(4), 4))
		if err != nil {
			return err
		}
		later, err := s.reopenedBefore(begin, 4)
		if err != nil {
			return err
		}
		defer later.close()
		for _, f := range []athens.Fill{small(2), whole(3), whole(4)} {
			if err := later.expect(f, 1, s.units(8)); err != nil {
				return fmt.Errorf("in the next process: %w", err)
			}
		}
		if later.count(whole(1)) != 0 {
			return errors.New("a fill that was done ran again in the next process")
		}
		return nil
	})
}

func checkDelaySurvives(h Harness) error {
	return with(h, nil, func(s *session) error {
		begin := s.Now()
		if err := s.schedule(small(1), 12); err != nil {
			return err
		}
		later, err := s.reopenedBefore(begin, 12)
		if err != nil {
			return err
		}
		defer later.close()
		s.Advance(s.units(4))
		if later.total() != 0 {
			return s.broken(begin, 12, errors.New("the next process ran a fill before it was due"))
		}
		return later.expect(small(1), 1, s.units(12))
	})
}

func checkFailedSurvives(h Harness) error {
	answer := func(*session, context.Context, athens.Fill, int) error { return errors.New("it does not work yet") }
	return with(h, answer, func(s *session) error {
		if err := s.running(1); err != nil {
			return err
		}
		s.Advance(s.Unit / 8)
		later, err := s.reopened()
		if err != nil {
			return err
		}
		defer later.close()
		return later.expect(small(1), 1, s.units(4)+s.Retry)
	})
}

func checkCrash(h Harness) error {
	return with(h, nil, func(s *session) error {
		begin := s.Now()
		if err := errors.Join(s.schedule(whole(1), 4), s.schedule(small(2), 4), s.schedule(whole(2), 4)); err != nil {
			return err
		}
		later, err := s.crashed()
		if err == nil && s.broken(begin, 4, nil) != nil {
			later.close()
			return errSlow // the first one may have run them
		}
		if err != nil {
			return err
		}
		defer later.close()
		return errors.Join(later.tries(whole(1), 8), later.tries(whole(2), 8))
	})
}

func checkCrashDuringRun(h Harness) error {
	return with(h, holds, func(s *session) error {
		if err := errors.Join(s.running(1), s.running(2)); err != nil {
			return err
		}
		if err := s.schedule(whole(2), 0); err != nil {
			return err
		}
		later, err := s.crashed()
		if err != nil {
			return err
		}
		defer later.close()
		return errors.Join(later.tries(small(1), 4), later.tries(whole(2), 4))
	})
}
