package web

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Bounds of what is kept of events.
const (
	slotTime    = 5 * time.Minute
	slots       = 24 * 12   // a day
	maxStored   = 200       // versions that came in lately
	maxHistory  = 2000      // fetches and fills
	maxFailures = 1000      // of them that failed, which no success pushes out
	maxBlocked  = 500       // versions that were refused
	failingFor  = time.Hour // after which a failure is no news
)

// slot is what requests did in a while.
type slot struct {
	requests, served, missed, failed int64 // served and missed are of files of versions
	bytes                            int64
	stored                           int64 // bytes that came into the store
}

func (s *slot) add(o slot) {
	s.requests += o.requests
	s.served += o.served
	s.missed += o.missed
	s.failed += o.failed
	s.bytes += o.bytes
	s.stored += o.stored
}

// happened is an event that is kept.
type happened struct {
	at       time.Time
	op       string
	module   module.Version
	outcome  string
	source   string
	bytes    int64
	duration time.Duration
	err      error
}

// ring keeps the newest.
type ring struct {
	max int
	all []happened // the newest last
}

func (r *ring) add(h happened) {
	if len(r.all) >= r.max {
		r.all = slices.Delete(r.all, 0, r.max/4+1)
	}
	r.all = append(r.all, h)
}

// activity is what happened lately.
type activity struct {
	events   atomic.Int64 // that were noted
	mu       sync.Mutex
	began    time.Time
	public   [slots]slot // by the time modulo a day
	private  [slots]slot
	current  int64 // number of the newest slot since 1970
	stored   ring
	failures ring // fetches and fills that failed
	history  ring // the others
	blocked  ring
	days     []day
}

func newActivity() *activity {
	return &activity{began: time.Now(), stored: ring{max: maxStored}, failures: ring{max: maxFailures}, history: ring{max: maxHistory}, blocked: ring{max: maxBlocked}}
}

// turn empties the slots between the newest one and now; the caller holds the lock.
func (a *activity) turn(now time.Time) int {
	n := now.Unix() / int64(slotTime/time.Second)
	for a.current < n {
		a.current = max(a.current+1, n-slots+1)
		a.public[a.current%slots], a.private[a.current%slots] = slot{}, slot{}
	}
	return int(a.current % slots)
}

// note keeps an event.
func (a *activity) note(e *athens.Event, private bool) {
	now := time.Now()
	a.events.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	h := happened{at: now, op: e.Op, module: e.Module, outcome: e.Outcome, source: e.Source, bytes: e.Bytes, duration: e.Duration, err: e.Err}
	switch e.Op {
	case athens.OpRequest:
		i := a.turn(now)
		to := &a.public[i]
		if private {
			to = &a.private[i]
		}
		to.add(slotOf(e))
		if e.Outcome == athens.OutcomeBlocked && e.Module.Path != "" {
			a.blocked.add(h)
		}
	case athens.OpPut:
		a.addStored(e, now, private)
		if e.Outcome == athens.OutcomeDone {
			a.stored.add(h)
		} else {
			a.past(h)
		}
	case athens.OpCommit:
		a.addStored(e, now, private)
		a.past(h)
	case athens.OpInfo, athens.OpMod, athens.OpZip, athens.OpFill:
		a.past(h)
	}
}

// past keeps a fetch or fill; the caller holds the lock.
func (a *activity) past(h happened) {
	if h.failed() {
		a.failures.add(h)
	} else {
		a.history.add(h)
	}
}

// addStored counts bytes that came into the store; the caller holds the lock.
func (a *activity) addStored(e *athens.Event, now time.Time, private bool) {
	if e.Outcome != athens.OutcomeDone {
		return
	}
	i := a.turn(now)
	if private {
		a.private[i].stored += e.Bytes
	} else {
		a.public[i].stored += e.Bytes
	}
}

// slotOf is what a request adds.
func slotOf(e *athens.Event) slot {
	s := slot{requests: 1, bytes: e.Bytes}
	file := e.File == "info" || e.File == "mod" || e.File == "zip"
	switch e.Outcome {
	case athens.OutcomeHeld, athens.OutcomeLocated:
		if file {
			s.served = 1
		}
	case athens.OutcomeRedirect, athens.OutcomeFetch:
		if file {
			s.missed = 1
		}
	case athens.OutcomeFailed:
		s.failed = 1
	}
	return s
}

// traffic returns the last slots, the newest last, and their sum.
func (a *activity) traffic(n int, private bool) (list []slot, sum slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(time.Now())
	for k := a.current - int64(n) + 1; k <= a.current; k++ {
		s := a.public[k%slots]
		if private {
			s.add(a.private[k%slots])
		}
		list = append(list, s)
		sum.add(s)
	}
	return list, sum
}

// latest returns what a ring has that the reader may see, the newest first, at most n.
func (a *activity) latest(r *ring, n int, which func(h *happened) bool) []happened {
	a.mu.Lock()
	all := slices.Clone(r.all)
	if r == &a.history { // with the failures, in the order of time
		all = append(all, a.failures.all...)
		slices.SortStableFunc(all, func(x, y happened) int { return x.at.Compare(y.at) })
	}
	a.mu.Unlock()
	var found []happened
	for i := range slices.Backward(all) {
		if len(found) == n {
			break
		}
		if which(&all[i]) {
			found = append(found, all[i])
		}
	}
	return found
}

// failing returns the versions whose last fetch or fill failed a short while ago, the
// newest first, at most n.
func (a *activity) failing(n int, sees func(path string) bool) []happened {
	type key struct {
		m  module.Version
		op string
	}
	seen := make(map[key]bool)
	now := time.Now()
	return a.latest(&a.history, n, func(h *happened) bool {
		k := key{h.module, h.op}
		if seen[k] || now.Sub(h.at) > failingFor {
			return false
		}
		seen[k] = true
		return h.failed() && sees(h.module.Path)
	})
}

// failed reports whether something went wrong, as opposed to what is not there.
func (h *happened) failed() bool {
	return h.outcome == athens.OutcomeFailed
}

// reason says why something failed. A reader who may not see everything learns what kind of
// error it is: its text may name hosts and folders.
func (h *happened) reason(all bool) string {
	if h.err == nil {
		return ""
	}
	if all {
		return cut(h.err.Error(), 500)
	}
	if past, ok := errors.AsType[*pastError](h.err); ok {
		return past.kind
	}
	if blocked, ok := errors.AsType[*athens.BlockedError](h.err); ok {
		return cut(blocked.Reason, 200)
	}
	switch status, _ := athens.Status(h.err); status {
	case 404:
		return "there is no such version at the source"
	case 429:
		return "too many new versions"
	case 502:
		return "the source gave something that is not right"
	case 503:
		return "the source can't be reached"
	case 504:
		return "the source does not answer in time"
	case 507:
		return "the store is full"
	}
	return "an error in this server"
}
