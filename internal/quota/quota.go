// Package quota bounds how many pseudo-versions of a module clients can make a server
// fetch: a repository has one for each commit, and requests for them cost a client
// nothing.
//
// The requests of a build whose go.sum pins a pseudo-version look like any others. So
// the limit is far above what builds need, and what exceeds it comes from an upstream,
// or later.
package quota

import (
	"fmt"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
)

// window is the time that a limit is about.
const window = time.Hour

// maxBytes bounds the memory for what was counted.
const maxBytes = 4 << 20

// Quota counts the pseudo-versions of each module. It is safe for concurrent use. A nil
// *Quota admits everything. Make one with [New].
type Quota struct {
	max     int
	modules *cache.Cache[string, allowance]
	known   *cache.Cache[module.Version, struct{}] // admitted: the other files of a version cost nothing
}

// allowance is how many more versions of a module are admitted, as of a time.
type allowance struct {
	left float64
	at   time.Time
}

// New returns a quota of most new pseudo-versions of a module in an hour, which
// is not zero. A negative number means no limit: New returns nil.
func New(most int) *Quota {
	if most < 0 {
		return nil
	}
	return &Quota{
		max:     most,
		modules: cache.New(maxBytes/2, func(path string, _ allowance) int64 { return int64(len(path)) }),
		known:   cache.New(maxBytes/2, func(m module.Version, _ struct{}) int64 { return int64(len(m.Path) + len(m.Version)) }),
	}
}

// Admit counts a version that is not held, if it is a pseudo-version that was not
// admitted in the last hour. An [*Error] says that it exceeds the limit.
func (q *Quota) Admit(m module.Version) error {
	if q == nil || !module.IsPseudoVersion(m.Version) {
		return nil
	}
	if _, known := q.known.Get(m); known {
		return nil
	}
	each, admitted := max(window/time.Duration(q.max), 1), false
	q.modules.Update(m.Path, func(a allowance) allowance {
		now := time.Now() // not before: another caller's time would be later than this one's
		if a.at.IsZero() {
			a = allowance{left: float64(q.max), at: now}
		}
		a.left = min(a.left+float64(now.Sub(a.at))/float64(each), float64(q.max))
		a.at = now
		if admitted = a.left >= 1; admitted {
			a.left--
		}
		return a
	})
	if !admitted {
		return &Error{Max: q.max, RetryAfter: max(each, time.Second)}
	}
	q.known.PutFor(m, struct{}{}, window)
	return nil
}

// Error says that clients requested more pseudo-versions of a module than the limit.
type Error struct {
	Max        int
	RetryAfter time.Duration // until another one is admitted
}

func (e *Error) Error() string {
	return fmt.Sprintf("this server fetches at most %d new pseudo-versions of a module in an hour (Options.MaxPseudoVersions)", e.Max)
}
