package filltest_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/filltest"
)

// harness makes toys that break one promise, or none. It is used in a bubble.
func harness(broken string, durable bool) filltest.Harness {
	h := filltest.Harness{
		New:     func() (athens.FillScheduler, error) { return newToy(broken, nil), nil },
		Advance: func(d time.Duration) { time.Sleep(d); synctest.Wait() },
		Around:  synctest.Test,
	}
	if durable {
		d := new(disk)
		h.New = func() (athens.FillScheduler, error) {
			*d = disk{}
			return newToy(broken, d), nil
		}
		h.Reopen = func() (athens.FillScheduler, error) { return newToy(broken, d), nil }
		h.Crash = func() (athens.FillScheduler, error) {
			d = &disk{wants: slices.Clone(d.wants)} // the old one keeps its own
			return newToy(broken, d), nil
		}
	}
	return h
}

func TestSound(t *testing.T) {
	filltest.Run(t, harness("", false))
}

// Each row is a scheduler that breaks a promise, and the case that must say so.
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

// A queue on a server keeps what it holds; the kit's Reopen is for it.
func TestDurable(t *testing.T) {
	filltest.Run(t, harness("", true))
}

func ExampleCases() {
	for _, c := range filltest.Cases() {
		fmt.Printf("%s: %s\n", c.Name, c.Promise)
	}
	// Output:
	// runs: what is scheduled runs, before Run was called and during it, as the fill that it is
	// delay: a fill runs no sooner than asked for, and soon after
	// once: a pending fill that is scheduled again runs once
	// not-put-off: scheduling a pending fill again does not delay it
	// zip-wins: a fill with Zip takes the place of one without, in whatever order they come
	// anew: a fill that is done runs again when it is scheduled again
	// zip-during-run: a zip that is asked for while its version is filled without is filled too
	// several: several fills run at once
	// no-wait: Schedule does not wait for fills
	// load: many versions, each asked for by many at once, are filled once each
	// own-context: a fill has neither the end nor the values of the context it was scheduled in
	// retry: a fill that fails is tried until it succeeds, and then no more
	// retry-later: a fill that goes on failing is tried now and then, not all the time
	// final: a fill whose error is final is not tried again
	// panic: a fill that panics harms no other
	// grace: what runs when Run's context ends comes to its end, and Run returns nil after it
	// grace-ends: the context of a fill ends after the grace period, and Run returns nil
	// no-start-after-end: no fill starts after Run's context is done
	// not-lost: a fill that Schedule accepts is run, by a later process if need be; else Schedule fails
	// survives: what is pending when Run ends is run by the next process as the fill that it is, and what is done is not
	// survives-with-delay: the next process runs no fill sooner than it was asked for
	// survives-its-failure: a fill that failed and is to be tried again is tried by the next process
	// crash: what Schedule accepted before a crash is run by the next process, with its zip if that was asked for
	// crash-during-run: a fill that a crash interrupts is run by the next process, with the zip that was asked for meanwhile
}
