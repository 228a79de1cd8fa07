// Package filltest checks that an [athens.FillScheduler] keeps its promises.
//
// An implementation's test gives the kit a [Harness] and calls [Run]. An
// implementation that uses the clock of package time runs in a bubble of
// testing/synctest, where no test really waits:
//
//	func TestKit(t *testing.T) {
//		filltest.Run(t, filltest.Harness{
//			New:     func() (athens.FillScheduler, error) { return fill.New(nil) },
//			Advance: func(d time.Duration) { time.Sleep(d); synctest.Wait() },
//			Around:  synctest.Test,
//		})
//	}
//
// An implementation that uses another clock, such as a queue on a server, sets
// that clock in Advance and reads it in Now. If it can't, Advance really waits,
// Unit is short, and Slack allows for a busy machine: a check whose own steps
// came too late to prove anything runs again with a longer Unit.
//
// An implementation whose fills survive the process sets Reopen, and also Crash
// if they survive kill -9; the kit then checks that too.
//
// The promises are the rows of [Cases]. The kit checks each one from outside:
// which fills run, when, and how Run ends.
package filltest

import (
	"testing"
	"time"

	"github.com/athens-go/athens"
)

// Harness tells the kit how to use an implementation. New and Advance are
// required.
type Harness struct {
	// New returns a scheduler without any fills. Each check uses its own, and
	// a second one if the machine was too slow for the first.
	New func() (athens.FillScheduler, error)

	// Advance lets d pass and gives the fills that became due the time to start.
	Advance func(d time.Duration)

	// Now is the clock that Advance moves. Nil means time.Now.
	Now func() time.Time

	// Unit is the measure of the kit's delays, which are a few units long.
	// A hundred calls of Schedule should fit into it. Zero means 1 second.
	Unit time.Duration

	// Slack is how much later than promised something may happen because the
	// machine is busy. Zero means not at all, which is right in a bubble.
	Slack time.Duration

	// Retry is the longest that the kit waits for a fill that failed twice.
	// Zero means 10 units.
	Retry time.Duration

	// Grace is how long Run lets fills go on after its context is done; at
	// least 4 units. Zero means 10 units.
	Grace time.Duration

	// Reopen is for schedulers whose fills survive the process. After the Run
	// of the scheduler that New made last has returned, Reopen opens it again,
	// as a new process would. Nil means that fills do not survive.
	Reopen func() (athens.FillScheduler, error)

	// Crash is for schedulers whose fills survive kill -9. It opens the
	// scheduler that New made last again, as a new process would if the old
	// one were killed at this instant, in the middle of its Run. From then on
	// the old one must change nothing; the kit ends its Run afterwards. Nil
	// means that fills do not survive a crash.
	Crash func() (athens.FillScheduler, error)

	// Around runs one check, as synctest.Test does. Nil means that the kit
	// calls the check directly.
	Around func(t *testing.T, check func(t *testing.T))
}

// Case is one promise.
type Case struct {
	Name    string // a few words, as a test's name
	Promise string // what must hold
	// Check returns an error that says how the promise was broken. It needs no
	// [testing.T] and leaves nothing running.
	Check func(Harness) error
	// Applies reports whether a scheduler with this Harness makes the promise.
	// Nil means that every scheduler does.
	Applies func(Harness) bool
}

// Cases returns the promises that [Run] checks.
func Cases() []Case {
	cases := []Case{
		{"runs", "a fill that is scheduled before or during Run runs, with or without Zip as scheduled", checkRuns, nil},
		{"delay", "a fill runs no sooner than asked for, and soon after", checkDelay, nil},
		{"once", "a pending fill that is scheduled again runs once", checkOnce, nil},
		{"not-put-off", "scheduling a pending fill again does not delay it", checkNotPutOff, nil},
		{"zip-wins", "a fill with Zip replaces one without, in either order", checkZipWins, nil},
		{"anew", "a fill that is done runs again when it is scheduled again", checkAnew, nil},
		{"zip-during-run", "a fill with Zip that is scheduled while its version is filled without one runs too", checkZipDuringRun, nil},
		{"several", "several fills run at once", checkSeveral, nil},
		{"no-wait", "Schedule does not wait for fills", checkNoWait, nil},
		{"load", "many versions, each scheduled by many at once, are filled once each", checkLoad, nil},
		{"own-context", "the context of a fill is independent of the one that Schedule was given", checkOwnContext, nil},
		{"retry", "a fill that fails is tried until it succeeds, and then no more", checkRetry, nil},
		{"retry-later", "a fill that keeps failing is retried with pauses", checkRetryLater, nil},
		{"final", "a fill whose error is final is not tried again", checkFinal, nil},
		{"panic", "a fill that panics does not affect others", checkPanic, nil},
		{"grace", "fills that are running when Run's context ends may finish, and then Run returns nil", checkGrace, nil},
		{"grace-ends", "the context of a fill ends after the grace period, and Run returns nil", checkGraceEnds, nil},
		{"no-start-after-end", "no fill starts after Run's context is done", checkNoStartAfterEnd, nil},
		{"not-lost", "a fill that Schedule accepts runs, if necessary in a later process; otherwise Schedule fails", checkNotLost, nil},
		{"survives", "the next process runs the fills that are pending when Run ends, and none that is done", checkSurvives, reopens},
		{"survives-with-delay", "the next process runs no fill sooner than asked for", checkDelaySurvives, reopens},
		{"survives-its-failure", "the next process retries a fill that failed", checkFailedSurvives, reopens},
		{"crash", "the next process runs the fills that Schedule accepted before a crash, with Zip if that was scheduled", checkCrash, crashes},
		{"crash-during-run", "the next process runs a fill that a crash interrupts, with Zip if that was scheduled meanwhile", checkCrashDuringRun, crashes},
	}
	for i, c := range cases {
		cases[i].Check = func(h Harness) error { return inTime(h, c.Check) }
	}
	return cases
}

// Run checks every promise that applies to the harness, each as a subtest with
// its name.
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
