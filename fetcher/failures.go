package fetcher

import (
	"context"
	"errors"
	"time"

	"github.com/athens-go/athens"
)

// failureTTL returns how long a failure is cached; zero if it is not.
func (f *Fetcher) failureTTL(err error) time.Duration {
	var outage *athens.UnavailableError
	if !errors.As(err, new(sourceFailure)) || !errors.As(err, &outage) {
		return 0
	}
	return max(outage.RetryAfter, f.opts.DownTTL)
}

// cachedFailure returns the cached failure of a request, or nil. A context with
// [athens.RequestInfo].NoCache ignores it after probeInterval, but not if the server asked with
// Retry-After to be left alone.
func cachedFailure[V any](ctx context.Context, c ttlCache[V], key string) error {
	entry, ok := c.entries.Get(key)
	if !ok || entry.err == nil {
		return nil
	}
	if outage := (*athens.UnavailableError)(nil); athens.RequestInfoFrom(ctx).NoCache && time.Since(entry.at) >= probeInterval &&
		!(errors.As(entry.err, &outage) && outage.RetryAfter > 0) {
		return nil
	}
	return withElapsed(entry.at, entry.err)
}

// cacheFailure caches the failure of a request for as long as it is likely to last.
func (f *Fetcher) cacheFailure(key string, err error) {
	if ttl := f.failureTTL(err); ttl > 0 {
		f.failures.put(key, struct{}{}, err, ttl)
	}
}

// keepNoCache returns ctx for shared work, with the wish of the caller for a fresh answer,
// and the servers that its question came through.
func keepNoCache(ctx, caller context.Context) context.Context {
	asked, info := athens.RequestInfoFrom(caller), athens.RequestInfoFrom(ctx)
	if !asked.NoCache && asked.Via == info.Via {
		return ctx
	}
	info.NoCache, info.Via = info.NoCache || asked.NoCache, asked.Via
	return info.Context(ctx)
}

// packKey is the cache key of a server's refusal to send packs of the repository.
func (r *repo) packKey() string { return r.key + " pack" }

// cachePackFailure caches a refusal of the server. What it says in its own words may
// depend on what was requested, so that is cached only for the same request.
func (r *repo) cachePackFailure(req *fetchRequest, err error) {
	switch {
	case errors.As(err, new(statusFailure)):
		r.f.cacheFailure(r.packKey(), err)
	case errors.As(err, new(serverMessage)) && len(req.wants) == 1:
		r.f.cacheFailure(r.packKey()+req.wants[0], err)
	}
}

// cachedPackFailure returns the cached refusal of a request, or nil.
func (r *repo) cachedPackFailure(ctx context.Context, req *fetchRequest) error {
	err := cachedFailure(ctx, r.f.failures, r.packKey())
	if err == nil && len(req.wants) == 1 {
		err = cachedFailure(ctx, r.f.failures, r.packKey()+req.wants[0])
	}
	return err
}
