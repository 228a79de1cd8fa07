package fill

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/athens-go/athens"
)

// maxReason bounds the text that is kept of an error, in bytes.
const maxReason = 500

// Backoff says how long a fill that failed waits, also for schedulers of other
// kinds that want to be as patient as [Queue] is.
type Backoff struct {
	// Min is the wait after the first error. Each further error doubles it;
	// between half of it and all of it is then taken at random, so that what
	// failed together does not come back together.
	Min time.Duration
	// Max is the longest wait, also when an [athens.UnavailableError] asks for
	// a longer one.
	Max time.Duration
}

// Wait is how long a fill waits after its latest run, one of attempts, has
// returned err: as long as the source asked for, but at least as long as the
// backoff says and at most Max.
func (b Backoff) Wait(attempts int, err error) time.Duration {
	wait := b.base(attempts)
	wait = wait/2 + rand.N(wait/2+1)
	var down *athens.UnavailableError
	if errors.As(err, &down) {
		wait = max(wait, min(down.RetryAfter, b.Max))
	}
	return wait
}

// base is Min, doubled with each run after the first, and Max at most.
func (b Backoff) base(attempts int) time.Duration {
	d := b.Min
	for ; attempts > 1 && d < b.Max; attempts-- {
		if d > b.Max/2 {
			return b.Max
		}
		d *= 2
	}
	return d
}

// Reason is err's text, cut to about 500 bytes so that many of them fit into
// memory.
func Reason(err error) string {
	s := err.Error()
	if len(s) > maxReason {
		s = s[:maxReason] + "…"
	}
	return strings.Clone(strings.ToValidUTF8(s, "?"))
}
