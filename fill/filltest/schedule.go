package filltest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/athens-go/athens"
)

// with opens a session, runs it, and calls check.
func with(h Harness, answer func(*session, context.Context, athens.Fill, int) error, check func(*session) error) error {
	s, err := open(h)
	if err != nil {
		return err
	}
	if answer != nil {
		s.answer = func(ctx context.Context, f athens.Fill, n int) error { return answer(s, ctx, f, n) }
	}
	defer s.close()
	s.start()
	return check(s)
}

// holds is the answer of a fill that goes on until it is released.
func holds(s *session, ctx context.Context, _ athens.Fill, _ int) error { return s.wait(ctx) }

func checkRuns(h Harness) error {
	s, err := open(h)
	if err != nil {
		return err
	}
	defer s.close()
	if err := errors.Join(s.schedule(small(1), 0), s.schedule(whole(2), 1)); err != nil {
		return err
	}
	s.Advance(s.units(2))
	s.start()
	expect := func(fills ...athens.Fill) error {
		for _, f := range fills {
			if err := s.expect(f, 1, s.units(4)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := expect(small(1), whole(2)); err != nil { // then Run has begun, too
		return err
	}
	if err := errors.Join(s.schedule(small(3), 0), s.schedule(whole(4), 1)); err != nil {
		return err
	}
	if err := expect(small(3), whole(4)); err != nil {
		return err
	}
	if n := s.total(); n != 4 {
		return fmt.Errorf("%d runs of 4 fills: %v", n, s.runs)
	}
	return nil
}

func checkDelay(h Harness) error {
	return with(h, nil, func(s *session) error {
		begin := s.Now()
		if err := errors.Join(s.schedule(small(1), 6), s.schedule(small(2), 2)); err != nil {
			return err
		}
		s.Advance(s.units(5) - s.Now().Sub(begin))
		if err := s.expect(small(2), 1, 0); err != nil {
			return fmt.Errorf("due after two units, looked at after five: %w", err)
		}
		if err := s.expect(small(1), 1, 0); err != nil {
			return fmt.Errorf("due after six units, looked at after nine: %w", err)
		}
		for f, units := range map[athens.Fill]int{small(1): 6, small(2): 2} {
			if after := s.soonest(f).Sub(begin); after < s.units(units) {
				return fmt.Errorf("%v started after %v, although scheduled to start after %v", f, after, s.units(units))
			}
		}
		return nil
	})
}

func checkOnce(h Harness) error {
	return with(h, nil, func(s *session) error {
		begin := s.Now()
		if err := together(32, func(int) error { return s.schedule(whole(1), 4) }); err != nil {
			return err
		}
		if s.broken(begin, 4, nil) != nil {
			return errSlow
		}
		return s.expect(whole(1), 1, s.units(8))
	})
}

func checkNotPutOff(h Harness) error {
	return with(h, nil, func(s *session) error {
		for asked := 0; s.count(small(1)) == 0; asked++ {
			if s.units(asked) > s.units(5)+s.Slack {
				return fmt.Errorf("due after four units, not run after %d: scheduling it again put it off", asked)
			}
			begin := s.Now()
			if err := s.schedule(small(1), 4); err != nil {
				return err
			}
			s.Advance(s.units(1))
			if s.broken(begin, 4, nil) != nil {
				return errSlow
			}
		}
		return nil
	})
}

func checkZipWins(h Harness) error {
	return with(h, nil, func(s *session) error {
		begin := s.Now()
		err := errors.Join(
			s.schedule(small(1), 2), s.schedule(whole(1), 2),
			s.schedule(whole(2), 2), s.schedule(small(2), 2))
		if err != nil {
			return err
		}
		if s.broken(begin, 2, nil) != nil {
			return errSlow
		}
		for n := 1; n <= 2; n++ {
			if err := s.expect(whole(n), 1, s.units(6)); err != nil {
				return err
			}
			// A queue that can't merge may keep the two apart.
			if got := s.count(small(n)); got > 1 {
				return fmt.Errorf("%v ran %d times beside the fill with Zip", small(n), got)
			}
		}
		return nil
	})
}

func checkAnew(h Harness) error {
	return with(h, nil, func(s *session) error {
		for n := 1; n <= 3; n++ {
			if err := s.schedule(small(1), 0); err != nil {
				return err
			}
			if err := s.expect(small(1), n, s.units(4)); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkZipDuringRun(h Harness) error {
	return with(h, holds, func(s *session) error {
		if err := s.schedule(small(1), 0); err != nil {
			return err
		}
		if !s.eventually(s.units(4), func() bool { return s.count(small(1)) == 1 }) {
			return errors.New("the fill without Zip did not start")
		}
		if err := s.schedule(whole(1), 0); err != nil {
			return err
		}
		s.Advance(s.units(1))
		s.release()
		return s.expect(whole(1), 1, s.units(4))
	})
}

func checkSeveral(h Harness) error {
	return with(h, holds, func(s *session) error {
		if err := errors.Join(s.schedule(small(1), 0), s.schedule(small(2), 0)); err != nil {
			return err
		}
		if !s.eventually(s.units(4), func() bool { return s.total() == 2 }) {
			return errors.New("the second fill did not start while the first ran")
		}
		return nil
	})
}

func checkNoWait(h Harness) error {
	return with(h, holds, func(s *session) error {
		const n = 64 // more than run at once
		done := make(chan error, 1)
		go func() {
			done <- together(n, func(i int) error { return s.schedule(small(i), 0) })
		}()
		var err error
		if !s.eventually(s.units(8), func() bool {
			select {
			case err = <-done:
				return true
			default:
				return false
			}
		}) {
			s.release()
			<-done
			return errors.New("Schedule did not return while fills were running")
		}
		return err
	})
}

func checkLoad(h Harness) error {
	return with(h, nil, func(s *session) error {
		const versions, askers = 50, 4
		begin := s.Now()
		err := together(askers, func(int) error {
			for i := range versions {
				if err := s.schedule(whole(i), 4); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if s.broken(begin, 4, nil) != nil {
			return errSlow
		}
		if !s.eventually(s.units(20), func() bool { return s.total() >= versions }) {
			return fmt.Errorf("%d of %d versions were filled", s.total(), versions)
		}
		s.Advance(s.units(4))
		for i := range versions {
			if n := s.count(whole(i)); n != 1 {
				return fmt.Errorf("%v ran %d times", whole(i), n)
			}
		}
		return nil
	})
}

func checkOwnContext(h Harness) error {
	type caller struct{}
	var mu sync.Mutex
	var seen []error
	look := func(_ *session, ctx context.Context, _ athens.Fill, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, ctx.Err())
		if ctx.Value(caller{}) != nil {
			seen = append(seen, errors.New("the fill's context has values of the context that Schedule was given"))
		}
		return nil
	}
	return with(h, look, func(s *session) error {
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), caller{}, "someone"))
		err := s.fills.Schedule(ctx, small(1), s.units(2))
		cancel()
		if err != nil {
			return err
		}
		if err := s.expect(small(1), 1, s.units(6)); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		return errors.Join(seen...)
	})
}

// together calls f n times at once and returns the errors.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
