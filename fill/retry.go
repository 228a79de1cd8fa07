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

// wait is how long a fill waits after its latest run, one of attempts, has
// returned err: as long as the source asked for, but at least as long as
// backoff says and at most RetryMax.
func (o *Options) wait(attempts int, err error) time.Duration {
	wait := o.backoff(attempts)
	wait = wait/2 + rand.N(wait/2+1)
	var down *athens.UnavailableError
	if errors.As(err, &down) {
		wait = max(wait, min(down.RetryAfter, o.RetryMax))
	}
	return wait
}

// backoff is RetryMin, doubled with each run after the first, and RetryMax at
// most.
func (o *Options) backoff(attempts int) time.Duration {
	d := o.RetryMin
	for ; attempts > 1 && d < o.RetryMax; attempts-- {
		if d > o.RetryMax/2 {
			return o.RetryMax
		}
		d *= 2
	}
	return d
}

// reason is err's text, cut so that many of them fit into memory.
func reason(err error) string {
	s := err.Error()
	if len(s) > maxReason {
		s = s[:maxReason] + "…"
	}
	return strings.Clone(strings.ToValidUTF8(s, "?"))
}
