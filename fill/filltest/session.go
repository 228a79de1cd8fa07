package filltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// session is one scheduler under test, with a fill function that records each run.
type session struct {
	Harness
	fills athens.FillScheduler
	// answer is what a fill does; n counts the runs of the same version, from
	// one. If nil, every fill succeeds.
	answer func(ctx context.Context, f athens.Fill, n int) error
	// release ends all waits for hold.
	release func()
	hold    chan struct{}

	stop  context.CancelFunc // ends Run's context
	ended chan struct{}      // closed when Run has returned
	err   error              // what Run returned; after ended

	mu   sync.Mutex
	runs []run // in the order in which they started
}

// run is one run of a fill.
type run struct {
	athens.Fill
	at time.Time // when it started
}

// errSlow says that the check's own steps came too late to prove anything.
var errSlow = errors.New("the machine is too slow for this check, also with longer delays")

// inTime runs a check until its own steps were in time, with longer units each time.
func inTime(h Harness, check func(Harness) error) error {
	if h.Now == nil {
		h.Now = time.Now
	}
	if h.Unit == 0 {
		h.Unit = time.Second
	}
	if h.Retry == 0 {
		h.Retry = 10 * h.Unit
	}
	if h.Grace == 0 {
		h.Grace = 10 * h.Unit
	}
	for range 8 {
		if err := check(h); !errors.Is(err, errSlow) {
			return err
		}
		if 8*h.Unit <= h.Grace {
			h.Unit *= 2
		}
	}
	return errSlow
}

// broken returns err, which holds only if fewer than some units have passed since begin;
// otherwise errSlow.
func (s *session) broken(begin time.Time, units int, err error) error {
	if s.Now().Sub(begin) >= s.units(units) {
		return errSlow
	}
	return err
}

// open makes the session of a new scheduler; Run is not called yet.
func open(h Harness) (*session, error) {
	fills, err := h.New()
	if err != nil {
		return nil, fmt.Errorf("New: %w", err)
	}
	return newSession(h, fills), nil
}

func newSession(h Harness, fills athens.FillScheduler) *session {
	hold := make(chan struct{})
	return &session{Harness: h, fills: fills, hold: hold, release: sync.OnceFunc(func() { close(hold) })}
}

// start calls Run.
func (s *session) start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		s.err = s.fills.Run(ctx, s.fill)
	}()
}

func (s *session) fill(ctx context.Context, f athens.Fill) error {
	s.mu.Lock()
	s.runs = append(s.runs, run{f, s.Now()})
	n := 0
	for _, run := range s.runs {
		if run.Module == f.Module {
			n++
		}
	}
	s.mu.Unlock()
	if s.answer == nil {
		return nil
	}
	return s.answer(ctx, f, n)
}

// wait keeps an answer running until release is called, or ctx is done.
func (s *session) wait(ctx context.Context) error {
	select {
	case <-s.hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the session and waits for Run.
func (s *session) close() {
	s.release()
	if s.stop == nil {
		s.start() // an implementation may free what it holds in Run
	}
	s.stop()
	s.eventually(s.Grace+20*s.Unit, s.hasEnded)
}

func (s *session) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// eventually lets time pass until ok holds, and reports whether it does within d and
// the harness's Slack.
func (s *session) eventually(d time.Duration, ok func() bool) bool {
	for d += s.Slack; d > 0; d -= s.Unit / 4 {
		if ok() {
			return true
		}
		s.Advance(s.Unit / 4)
	}
	return ok()
}

func (s *session) schedule(f athens.Fill, units int) error {
	if err := s.fills.Schedule(context.Background(), f, time.Duration(units)*s.Unit); err != nil {
		return fmt.Errorf("Schedule(%v): %w", f, err)
	}
	return nil
}

// count is how often f was started.
func (s *session) count(f athens.Fill) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, run := range s.runs {
		if run.Fill == f {
			n++
		}
	}
	return n
}

// soonest returns when f first started.
func (s *session) soonest(f athens.Fill) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, run := range s.runs {
		if run.Fill == f {
			return run.at
		}
	}
	return time.Time{}
}

// total is how many runs were started.
func (s *session) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// expect lets time pass until f has run n times, and a little longer to see that
// it does not run more often.
func (s *session) expect(f athens.Fill, n int, within time.Duration) error {
	if !s.eventually(within, func() bool { return s.count(f) >= n }) {
		return fmt.Errorf("%v ran %d times within %v, not %d", f, s.count(f), within, n)
	}
	s.Advance(4 * s.Unit)
	if got := s.count(f); got != n {
		return fmt.Errorf("%v ran %d times, not %d", f, got, n)
	}
	return nil
}

func (s *session) units(n int) time.Duration { return time.Duration(n) * s.Unit }

// version is a module version of its own for each n.
func version(n int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/mod%d", n), Version: "v1.0.0"}
}

func small(n int) athens.Fill { return athens.Fill{Module: version(n)} }
func whole(n int) athens.Fill { return athens.Fill{Module: version(n), Zip: true} }
