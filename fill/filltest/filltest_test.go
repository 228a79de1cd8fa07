package filltest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/filltest"
)

// harness makes toys that break one promise, or none. It runs in a bubble.
func harness(broken string, durable bool) filltest.Harness {
	h := filltest.Harness{
		New:     func() (athens.FillScheduler, error) { return newToy(broken, nil), nil },
		Advance: func(d time.Duration) { time.Sleep(d); synctest.Wait() },
		Around:  synctest.Test,
	}
	if durable {
		d := new(disk)
		h.New = func() (athens.FillScheduler, error) {
			d = new(disk)
			return newToy(broken, d), nil
		}
		h.Reopen = func() (athens.FillScheduler, error) { return newToy(broken, d), nil }
		h.Crash = func() (athens.FillScheduler, error) {
			d = &disk{wants: d.read()} // the old one keeps its own
			return newToy(broken, d), nil
		}
	}
	return h
}

func TestSound(t *testing.T) {
	filltest.Run(t, harness("", false))
}

// Each row is a scheduler that breaks a promise, and the case that must report it.
var broken = []struct{ how, name string }{
	{"forgets what came before Run", "runs"},
	{"forgets what comes during Run", "runs"},
	{"forgets Zip", "runs"},
	{"ignores the delay", "delay"},
	{"is late", "delay"},
	{"runs each asking", "once"},
	{"puts off what is asked again", "not-put-off"},
	{"the first asking wins", "zip-wins"},
	{"the last asking wins", "zip-wins"},
	{"runs a version once ever", "anew"},
	{"refuses a zip during a run", "zip-during-run"},
	{"runs one at a time", "several"},
	{"waits for the fill", "no-wait"},
	{"runs each asking", "load"},
	{"uses the caller's context", "own-context"},
	{"keeps the caller's values", "own-context"},
	{"never retries", "retry"},
	{"runs on after success", "retry"},
	{"retries at once", "retry-later"},
	{"retries what is final", "final"},
	{"dies of a panic", "panic"},
	{"has no grace", "grace"},
	{"does not wait for the last", "grace"},
	{"returns an error", "grace"},
	{"does not end the grace", "grace-ends"},
	{"starts after the end", "no-start-after-end"},
	{"accepts when closed", "not-lost"},
	{"forgets what it left", "not-lost"},
	{"forgets what it left", "survives"},
	{"forgets Zip in the end", "survives"},
	{"forgets what is done", "survives"},
	{"runs at once what was left", "survives-with-delay"},
	{"forgets what has failed", "survives-its-failure"},
	{"writes in the end only", "crash"},
	{"forgets Zip in the end", "crash"},
	{"forgets what runs", "crash-during-run"},
}

func TestBroken(t *testing.T) {
	for _, b := range broken {
		t.Run(fmt.Sprintf("%s/%s", b.name, b.how), func(t *testing.T) {
			cases := filltest.Cases()
			at := slices.IndexFunc(cases, func(c filltest.Case) bool { return c.Name == b.name })
			synctest.Test(t, func(t *testing.T) {
				err := cases[at].Check(harness(b.how, b.name == "not-lost" && b.how == "forgets what it left" || cases[at].Applies != nil))
				if err == nil {
					t.Errorf("a scheduler that %s passes", b.how)
				}
				t.Log(err)
			})
		})
	}
}

func TestEveryCaseIsTried(t *testing.T) {
	for _, c := range filltest.Cases() {
		if !slices.ContainsFunc(broken, func(b struct{ how, name string }) bool { return b.name == c.Name }) {
			t.Errorf("no broken scheduler tries the case %s", c.Name)
		}
	}
}

// The kit's Reopen is for a queue on a server, which keeps its fills.
func TestDurable(t *testing.T) {
	filltest.Run(t, harness("", true))
}

// A machine that is so busy that each step comes late fails no sound scheduler, and
// hides no broken one.
func TestBusyMachine(t *testing.T) {
	busy := func(broken string, durable bool) filltest.Harness {
		h := harness(broken, durable)
		late := &lateness{random: rand.New(rand.NewPCG(1, 2))}
		newQueue := h.New
		h.New = func() (athens.FillScheduler, error) {
			q, err := newQueue()
			return lateScheduler{q, late}, err
		}
		advance := h.Advance
		h.Advance = func(d time.Duration) { advance(d + late.upTo(3*time.Second)) }
		h.Unit, h.Slack, h.Grace = time.Second, 20*time.Second, 10*time.Second
		return h
	}
	for _, durable := range []bool{false, true} {
		filltest.Run(t, busy("", durable))
	}
	for _, b := range broken {
		if b.how == "is late" || b.how == "retries at once" || b.how == "does not end the grace" {
			continue // by less than the machine is
		}
		t.Run(fmt.Sprintf("%s/%s", b.name, b.how), func(t *testing.T) {
			cases := filltest.Cases()
			at := slices.IndexFunc(cases, func(c filltest.Case) bool { return c.Name == b.name })
			synctest.Test(t, func(t *testing.T) {
				err := cases[at].Check(busy(b.how, b.name == "not-lost" && b.how == "forgets what it left" || cases[at].Applies != nil))
				if err == nil {
					t.Errorf("on a busy machine a scheduler that %s passes", b.how)
				}
			})
		})
	}
}

// lateScheduler is a scheduler whose Schedule takes up to an eighth of a second.
type lateScheduler struct {
	athens.FillScheduler
	late *lateness
}

// lateness is random, and the same each time as long as the order of its calls is.
type lateness struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (l *lateness) upTo(most time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.random.Int64N(int64(most)))
}

func (s lateScheduler) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	<-time.After(s.late.upTo(time.Second / 8))
	return s.FillScheduler.Schedule(ctx, f, after)
}

func ExampleCases() {
	for _, c := range filltest.Cases() {
		fmt.Printf("%s: %s\n", c.Name, c.Promise)
	}
	// Output:
	// runs: a fill that is scheduled before or during Run runs, with or without Zip as scheduled
	// delay: a fill runs no sooner than asked for, and soon after
	// once: a pending fill that is scheduled again runs once
	// not-put-off: scheduling a pending fill again does not delay it
	// zip-wins: a fill with Zip replaces one without, in either order
	// anew: a fill that is done runs again when it is scheduled again
	// zip-during-run: a fill with Zip that is scheduled while its version is filled without one runs too
	// several: several fills run at once
	// no-wait: Schedule does not wait for fills
	// load: many versions, each scheduled by many at once, are filled once each
	// own-context: the context of a fill is independent of the one that Schedule was given
	// retry: a fill that fails is tried until it succeeds, and then no more
	// retry-later: a fill that keeps failing is retried with pauses
	// final: a fill whose error is final is not tried again
	// panic: a fill that panics does not affect others
	// grace: fills that are running when Run's context ends may finish, and then Run returns nil
	// grace-ends: the context of a fill ends after the grace period, and Run returns nil
	// no-start-after-end: no fill starts after Run's context is done
	// not-lost: a fill that Schedule accepts runs, if necessary in a later process; otherwise Schedule fails
	// survives: the next process runs the fills that are pending when Run ends, and none that is done
	// survives-with-delay: the next process runs no fill sooner than asked for
	// survives-its-failure: the next process retries a fill that failed
	// crash: the next process runs the fills that Schedule accepted before a crash, with Zip if that was scheduled
	// crash-during-run: the next process runs a fill that a crash interrupts, with Zip if that was scheduled meanwhile
}
