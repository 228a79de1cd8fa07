// Package backoff decides how long a fill that failed waits until it is tried again, and
// what is kept of its error. The queue of package fill and the one of backends/nats share
// it.
package backoff

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/athens-go/athens"
)

// MaxReason bounds the text that [Reason] keeps of an error, in bytes. The mark of what
// was cut off comes on top of it.
const MaxReason = 500

// Cut is the mark at the end of a reason that was cut off.
const Cut = "…"

// Policy says how long a fill waits after an error.
type Policy struct {
	// Min is the wait after the first error. Each further error doubles it;
	// the actual wait is between half of that and all of it, at random, so that
	// fills that failed together are not retried together.
	Min time.Duration
	// Max is the longest wait, also when an [athens.UnavailableError] asks for
	// a longer one.
	Max time.Duration
}

// Wait returns how long a fill waits after run number attempts returned err: as long as
// the source asked for, but at least as long as the policy says and at most Max.
func (p Policy) Wait(attempts int, err error) time.Duration {
	wait := p.Base(attempts)
	wait = wait/2 + rand.N(wait/2+1)
	var down *athens.UnavailableError
	if errors.As(err, &down) {
		wait = max(wait, min(down.RetryAfter, p.Max))
	}
	return wait
}

// Base returns Min, doubled for each run after the first, and Max at most.
func (p Policy) Base(attempts int) time.Duration {
	d := p.Min
	for ; attempts > 1 && d < p.Max; attempts-- {
		if d > p.Max/2 {
			return p.Max
		}
		d *= 2
	}
	return d
}

// Reason returns err's text as valid UTF-8, cut to [MaxReason] bytes so that many of
// them fit into memory.
func Reason(err error) string {
	s := err.Error()
	if len(s) > MaxReason {
		s = s[:MaxReason] + Cut
	}
	return strings.Clone(strings.ToValidUTF8(s, "?"))
}
