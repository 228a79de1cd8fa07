package athens

import (
	"fmt"
	"net/http"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
)

// pseudoWindow is the time that Options.MaxPseudoVersions is about.
const pseudoWindow = time.Hour

// pseudoBytes bounds the memory for what was counted.
const pseudoBytes = 4 << 20

// pseudoVersions bounds how many pseudo-versions of a module clients make this server
// get: there is one for each commit of a repository, and none costs who asks anything.
// Whether a go.sum pins one can't be told, since those who build with it send the same
// requests. So all are served as long as somebody builds as people do, and what is
// beyond that is served by an upstream, or later.
type pseudoVersions struct {
	max     int
	modules *cache.Cache[string, allowance]
	known   *cache.Cache[module.Version, struct{}] // counted: its other files cost nothing
}

// allowance is what is left for one module, which grows with time.
type allowance struct {
	left float64
	at   time.Time
}

func newPseudoVersions(most int) *pseudoVersions {
	if most < 0 {
		return nil
	}
	return &pseudoVersions{
		max:     most,
		modules: cache.New(pseudoBytes/2, func(path string, _ allowance) int64 { return int64(len(path)) }),
		known:   cache.New(pseudoBytes/2, func(m module.Version, _ struct{}) int64 { return int64(len(m.Path) + len(m.Version)) }),
	}
}

// admit counts a version that is not held. Its error says that it is one too many.
func (p *pseudoVersions) admit(m module.Version) error {
	if p == nil || !module.IsPseudoVersion(m.Version) {
		return nil
	}
	if _, known := p.known.Get(m); known {
		return nil
	}
	now, each, admitted := time.Now(), max(pseudoWindow/time.Duration(p.max), 1), false
	p.modules.Update(m.Path, func(a allowance) allowance {
		if a.at.IsZero() {
			a = allowance{left: float64(p.max), at: now}
		}
		a.left = min(a.left+float64(now.Sub(a.at))/float64(each), float64(p.max))
		a.at = now
		if admitted = a.left >= 1; admitted {
			a.left--
		}
		return a
	})
	if !admitted {
		return &crowdedError{m.Path, p.max, max(each, time.Second)}
	}
	p.known.PutFor(m, struct{}{}, pseudoWindow)
	return nil
}

// crowdedError says that too many pseudo-versions of a module were asked for lately.
type crowdedError struct {
	path  string
	max   int
	retry time.Duration
}

func (e *crowdedError) Error() string {
	return fmt.Sprintf("this server takes at most %d new pseudo-versions of a module in an hour (Options.MaxPseudoVersions)", e.max)
}

// status is what it is answered with. It is not 404: no client shall ask elsewhere.
func (*crowdedError) status() int { return http.StatusTooManyRequests }
