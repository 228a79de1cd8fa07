package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
)

// A request to another server waits for a slot among those of the same host, and then
// for one among all. A host that hangs blocks only its own slots.
const (
	manyHosts  = 4                // times Options.Concurrency requests run in all
	queueTime  = 30 * time.Second // that a request waits for a slot
	maxWaiting = 10_000           // requests waiting at once
	retryAfter = 10 * time.Second // for a client whose request got no slot
)

type hostLimiter struct{ *limit.Keyed[string] }

func newHostLimiter(each int) hostLimiter {
	return hostLimiter{limit.NewKeyed[string](each, manyHosts*each, maxWaiting)}
}

// acquire waits for a slot for a request to a host. The caller must call release.
func (p hostLimiter) acquire(ctx context.Context, host string) (release func(), err error) {
	release, err = p.Acquire(ctx, host, queueTime)
	if errors.Is(err, limit.ErrBusy) {
		return nil, &athens.UnavailableError{Source: host, RetryAfter: retryAfter, Err: fmt.Errorf("%w for a slot; Options.Concurrency sets how many run at once", err)}
	}
	return release, err
}

// host returns the repository's host, whose limit its requests share.
func (r *repo) host() string { return hostOf(r.url) }

// hostOf returns the host, with its port, of a repository's URL.
func hostOf(rawURL string) string {
	if u, err := url.Parse(rawURL); err == nil && u.Host != "" {
		return u.Host
	}
	return redacted(rawURL)
}
