// Package filltest checks that an [athens.FillScheduler] keeps its promises.
//
// An implementation's test gives the kit a [Harness] and calls [Run]. One that
// keeps time with the clock of package time runs in a bubble of
// testing/synctest, so that nothing is waited for:
//
//	func TestKit(t *testing.T) {
//		filltest.Run(t, filltest.Harness{
//			New:     func() (athens.FillScheduler, error) { return fill.New(nil) },
//			Advance: func(d time.Duration) { time.Sleep(d); synctest.Wait() },
//			Around:  synctest.Test,
//		})
//	}
//
// One that keeps time elsewhere, such as a queue on a server, sets that clock
// in Advance, or waits for d in fact and takes a short Unit.
//
// One whose fills survive the process says how in Reopen, and in Crash if they
// survive kill -9, and is held to that too.
//
// The promises are the rows of [Cases]. Each is checked on what can be seen from
// outside: which fills run, when, and how Run ends.
package filltest

import (
	"testing"
	"time"

	"github.com/athens-go/athens"
)

// Harness is how the kit gets at an implementation. New and Advance are
// required.
type Harness struct {
	// New returns a scheduler that holds nothing. Each check uses its own.
	New func() (athens.FillScheduler, error)

	// Advance lets d pass, and gives what became due in it the time to start.
	Advance func(d time.Duration)

	// Unit is the measure of the kit's delays, which are a few units long.
	// It is long enough for a hundred calls of Schedule. Zero means 1 second.
	Unit time.Duration

	// Retry is how long a fill that failed twice is waited for at most.
	// Zero means 10 units.
	Retry time.Duration

	// Grace is how long Run lets fills go on after its context is done; at
	// least 4 units. Zero means 10 units.
	Grace time.Duration

	// Reopen is for schedulers whose fills survive the process: it opens the
	// one that New made last again, after its Run has returned, as a new
	// process would. Nil means that fills do not survive.
	Reopen func() (athens.FillScheduler, error)

	// Crash is for schedulers whose fills survive kill -9: it opens the one
	// that New made last again, as a new process would if the old one were
	// killed at this instant, in the middle of its Run. What the old one does
	// from then on must not count; the kit ends its Run afterwards. Nil means
	// that fills do not survive that.
	Crash func() (athens.FillScheduler, error)

	// Around is called to run one check, synctest.Test for example. Nil
	// means that the check is just run.
	Around func(t *testing.T, check func(t *testing.T))
}

// Case is one promise.
type Case struct {
	Name    string // a few words, as a test's name
	Promise string // what must hold
	// Check returns how the promise was broken. It needs no [testing.T], and
	// leaves nothing running.
	Check func(Harness) error
	// Applies reports whether the promise is one that a scheduler with this
	// Harness makes. Nil means that every one does.
	Applies func(Harness) bool
}

// Cases returns the promises that [Run] checks.
func Cases() []Case {
	return []Case{
		{"runs", "what is scheduled runs, before Run was called and during it, as the fill that it is", checkRuns, nil},
		{"delay", "a fill runs no sooner than asked for, and soon after", checkDelay, nil},
		{"once", "a pending fill that is scheduled again runs once", checkOnce, nil},
		{"not-put-off", "scheduling a pending fill again does not delay it", checkNotPutOff, nil},
		{"zip-wins", "a fill with Zip takes the place of one without, in whatever order they come", checkZipWins, nil},
		{"anew", "a fill that is done runs again when it is scheduled again", checkAnew, nil},
		{"zip-during-run", "a zip that is asked for while its version is filled without is filled too", checkZipDuringRun, nil},
		{"several", "several fills run at once", checkSeveral, nil},
		{"no-wait", "Schedule does not wait for fills", checkNoWait, nil},
		{"load", "many versions, each asked for by many at once, are filled once each", checkLoad, nil},
		{"own-context", "a fill has neither the end nor the values of the context it was scheduled in", checkOwnContext, nil},
		{"retry", "a fill that fails is tried until it succeeds, and then no more", checkRetry, nil},
		{"retry-later", "a fill that goes on failing is tried now and then, not all the time", checkRetryLater, nil},
		{"final", "a fill whose error is final is not tried again", checkFinal, nil},
		{"panic", "a fill that panics harms no other", checkPanic, nil},
		{"grace", "what runs when Run's context ends comes to its end, and Run returns nil after it", checkGrace, nil},
		{"grace-ends", "the context of a fill ends after the grace period, and Run returns nil", checkGraceEnds, nil},
		{"no-start-after-end", "no fill starts after Run's context is done", checkNoStartAfterEnd, nil},
		{"not-lost", "a fill that Schedule accepts is run, by a later process if need be; else Schedule fails", checkNotLost, nil},
		{"survives", "what is pending when Run ends is run by the next process as the fill that it is, and what is done is not", checkSurvives, reopens},
		{"survives-with-delay", "the next process runs no fill sooner than it was asked for", checkDelaySurvives, reopens},
		{"survives-its-failure", "a fill that failed and is to be tried again is tried by the next process", checkFailedSurvives, reopens},
		{"crash", "what Schedule accepted before a crash is run by the next process, with its zip if that was asked for", checkCrash, crashes},
		{"crash-during-run", "a fill that a crash interrupts is run by the next process, with the zip that was asked for meanwhile", checkCrashDuringRun, crashes},
	}
}

// Run checks every promise that the harness allows to, each as a subtest of its
// name.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range Cases() {
		if c.Applies != nil && !c.Applies(h) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			check := func(t *testing.T) {
				if err := c.Check(h); err != nil {
					t.Errorf("broken promise: %s:\n\t%v", c.Promise, err)
				}
			}
			if h.Around == nil {
				check(t)
				return
			}
			h.Around(t, check)
		})
	}
}
