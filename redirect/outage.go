package redirect

import (
	"errors"
	"net/http"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

const (
	// outageBytes bounds the memory for outages.
	outageBytes = 1 << 20
	// maxOutage bounds how long a server is not asked because it said so.
	maxOutage = time.Hour
)

// outages remembers what a server asked not to be asked for a while. A 429 and refused
// credentials are about the server as a whole, any other refusal with a Retry-After is
// about the question.
type outages struct {
	downFor time.Duration
	held    *cache.Cache[string, outage]
}

// outage is one of them.
type outage struct {
	err   *athens.UnavailableError
	until time.Time
}

func newOutages(opts Options) *outages {
	return &outages{opts.DownTTL, cache.New(outageBytes, func(path string, o outage) int64 {
		return int64(len(path) + 3*len(o.err.Error()) + 200) // its text, and those of the errors in it
	})}
}

// everything is the path of an outage of the whole server.
const everything = ""

// known returns the outage that keeps q from being asked, with what is left of it.
func (m *outages) known(q question) error {
	for _, path := range []string{everything, q.path} {
		if o, ok := m.held.Get(path); ok {
			err := *o.err
			err.RetryAfter = max(time.Until(o.until), time.Second)
			return &err
		}
	}
	return nil
}

// note remembers err, with which q has failed.
func (m *outages) note(q question, err error) {
	down, ok := err.(*athens.UnavailableError)
	if !ok {
		return
	}
	var status *statusError
	if !errors.As(err, &status) {
		return
	}
	path, wait := q.path, min(down.RetryAfter, maxOutage)
	switch status.code {
	case http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusProxyAuthRequired:
		path, wait = everything, max(wait, m.downFor)
	}
	m.held.PutFor(path, outage{down, time.Now().Add(wait)}, wait)
}
