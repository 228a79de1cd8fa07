package filltest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// toy is the plainest scheduler that keeps the promises, but for the one that
// broken names. It looks around every tenth of a second.
type toy struct {
	broken string
	disk   *disk

	mu     sync.Mutex
	wants  []*want
	active []*want // being run
	busy   map[module.Version]bool
	closed bool

	running bool // Run was called
}

// disk is what a toy that survives its process leaves behind.
type disk struct {
	mu    sync.Mutex
	wants []want
}

func (d *disk) read() []want {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.wants)
}

func (d *disk) write(wants []want) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wants = wants
}

// save writes down what is to be done. mu is held.
func (s *toy) save() {
	if s.disk == nil {
		return
	}
	var kept []want
	all := slices.Concat(s.wants, s.active)
	if s.broken == "forgets what runs" {
		all = s.wants
	}
	for _, w := range all {
		if s.broken == "forgets what has failed" && w.failed {
			continue
		}
		one := *w
		if s.broken == "forgets Zip in the end" {
			one.Zip = false
		}
		kept = append(kept, one)
	}
	s.disk.write(kept)
}

type want struct {
	athens.Fill
	due    time.Time
	ctx    context.Context
	ended  chan struct{}
	failed bool
}

func newToy(broken string, d *disk) *toy {
	s := &toy{broken: broken, disk: d, busy: map[module.Version]bool{}}
	if d != nil && broken != "forgets what it left" {
		for _, w := range d.read() {
			w.ended = make(chan struct{})
			if broken == "runs at once what was left" {
				w.due = time.Now()
			}
			s.wants = append(s.wants, &w)
		}
	}
	return s
}

func (s *toy) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	s.mu.Lock()
	if s.closed && s.disk == nil && s.broken != "accepts when closed" {
		s.mu.Unlock()
		return errors.New("closed")
	}
	if s.running && s.broken == "forgets what comes during Run" {
		s.mu.Unlock()
		return nil
	}
	w := s.add(ctx, f, after)
	if s.broken != "writes in the end only" {
		s.save()
	}
	s.mu.Unlock()
	if s.broken == "waits for the fill" {
		<-w.ended
	}
	return nil
}

func (s *toy) add(ctx context.Context, f athens.Fill, after time.Duration) *want {
	if s.broken == "ignores the delay" {
		after = 0
	}
	if s.broken == "is late" {
		after += 5 * time.Second
	}
	if s.broken == "forgets Zip" {
		f.Zip = false
	}
	w := &want{Fill: f, due: time.Now().Add(after), ctx: ctx, ended: make(chan struct{})}
	if s.broken == "refuses a zip during a run" && s.busy[f.Module] {
		return w
	}
	if s.broken == "runs a version once ever" {
		if s.busy[f.Module] {
			return w
		}
		s.busy[f.Module] = true
	}
	at := slices.IndexFunc(s.wants, func(held *want) bool { return held.Module == f.Module })
	switch {
	case at < 0 || s.broken == "runs each asking":
		s.wants = append(s.wants, w)
	case s.broken == "the first asking wins":
	case s.broken == "the last asking wins":
		s.wants[at].Zip = f.Zip
	case s.broken == "puts off what is asked again":
		s.wants[at] = w
	default:
		s.wants[at].Zip = s.wants[at].Zip || f.Zip
	}
	return s.wants[max(at, 0)]
}

func (s *toy) Run(ctx context.Context, fill func(context.Context, athens.Fill) error) error {
	if s.broken == "forgets what came before Run" {
		s.mu.Lock()
		s.wants = nil
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	work, cut := context.WithCancel(context.Background())
	if s.broken == "has no grace" {
		work, cut = context.WithCancel(ctx)
	}
	defer cut()
	var all sync.WaitGroup
	var dead atomic.Bool
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	for ; ctx.Err() == nil || s.broken == "starts after the end" && s.left() > 0; <-tick.C {
		for _, w := range s.due() {
			if dead.Load() {
				continue
			}
			run := func() {
				if s.run(work, w, fill) && s.broken == "dies of a panic" {
					dead.Store(true)
				}
			}
			if s.broken == "runs one at a time" {
				run()
			} else {
				all.Go(run)
			}
		}
	}
	s.mu.Lock()
	s.closed = true
	s.save()
	s.mu.Unlock()
	if s.broken != "does not end the grace" {
		time.AfterFunc(10*time.Second, cut)
	}
	if s.broken != "does not wait for the last" {
		all.Wait()
	}
	if s.broken == "returns an error" {
		return ctx.Err()
	}
	return nil
}

func (s *toy) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.wants)
}

// due takes out what is to run now, eight at a time.
func (s *toy) due() []*want {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*want
	s.wants = slices.DeleteFunc(s.wants, func(w *want) bool {
		now := len(due) < 8 && !w.due.After(time.Now())
		if now {
			due = append(due, w)
		}
		return now
	})
	s.active = append(s.active, due...)
	s.save()
	return due
}

func (s *toy) run(ctx context.Context, w *want, fill func(context.Context, athens.Fill) error) (panicked bool) {
	switch s.broken {
	case "uses the caller's context":
		ctx = w.ctx
	case "keeps the caller's values":
		ctx = context.WithoutCancel(w.ctx)
	case "refuses a zip during a run":
		s.mu.Lock()
		s.busy[w.Module] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.busy, w.Module)
		}()
	}
	defer func() {
		panicked = recover() != nil
	}()
	for {
		err := fill(ctx, w.Fill)
		if err == nil && s.broken == "runs on after success" {
			err = errors.New("not yet")
		}
		s.ran(w, err)
		if err == nil || athens.Final(err) && s.broken != "retries what is final" || s.broken == "never retries" || ctx.Err() != nil || s.isClosed() {
			close(w.ended)
			return false
		}
		if s.broken != "retries at once" {
			<-time.After(time.Second / 2)
		}
	}
}

// ran notes what came of a run.
func (s *toy) ran(w *want, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.failed = err != nil
	if err == nil && s.broken != "forgets what is done" {
		s.active = slices.DeleteFunc(s.active, func(other *want) bool { return other == w })
	}
	s.save()
}

func (s *toy) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
