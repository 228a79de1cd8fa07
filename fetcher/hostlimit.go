package fetcher

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
)

// Requests to other servers wait for a place among those to the same host, and then
// for one among all. A host that hangs keeps only its own places.
const (
	manyHosts  = 4                // times Options.Concurrency run in all
	queueTime  = 30 * time.Second // a request waits for a place at most
	maxWaiting = 10_000           // requests that wait at once
	retryAfter = 10 * time.Second // told to a client whose request waited in vain
)

type hostLimiter struct{ *limit.Keyed[string] }

func newHostLimiter(each int) hostLimiter {
	return hostLimiter{limit.NewKeyed[string](each, manyHosts*each, maxWaiting)}
}

// acquire waits for a place for a request to a host. The caller calls release.
func (p hostLimiter) acquire(ctx context.Context, host string) (release func(), err error) {
	release, err = p.Acquire(ctx, host, queueTime)
	if errors.Is(err, limit.ErrBusy) {
		return nil, &athens.UnavailableError{Source: host, RetryAfter: retryAfter, Err: err}
	}
	return release, err
}

// host is where the repository is, for the places of requests.
func (r *repo) host() string { return hostOf(r.url) }

// hostOf is the host, with its port, of a repository's URL.
func hostOf(rawURL string) string {
	if u, err := url.Parse(rawURL); err == nil && u.Host != "" {
		return u.Host
	}
	return redacted(rawURL)
}
