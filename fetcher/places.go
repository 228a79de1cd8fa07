package fetcher

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/athens-go/athens"
)

// Requests to the outside wait for a place among those to the same host, and
// then for one among all. A host that hangs keeps its own places only.
const (
	manyHosts  = 4                // times Options.Concurrency run in all
	queueTime  = 30 * time.Second // a request waits for a place at most
	retryAfter = 10 * time.Second // what is said to who waited in vain
)

type places struct {
	each int
	all  chan struct{}

	mu    sync.Mutex
	hosts map[string]*hostPlaces
}

type hostPlaces struct {
	taken chan struct{}
	users int // who has a place or waits for one
}

func newPlaces(each int) *places {
	return &places{each: each, all: make(chan struct{}, manyHosts*each), hosts: make(map[string]*hostPlaces)}
}

var errBusy = errors.New("too many requests are waiting")

// acquire waits for a place for a request to a host. The caller calls release.
func (p *places) acquire(ctx context.Context, host string) (release func(), err error) {
	h := p.enter(host)
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	take := func(taken chan struct{}) error {
		select {
		case taken <- struct{}{}:
			return nil
		case <-timer.C:
			return &athens.UnavailableError{Source: host, RetryAfter: retryAfter, Err: errBusy}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := take(h.taken); err != nil {
		p.leave(host, h)
		return nil, err
	}
	if err := take(p.all); err != nil {
		<-h.taken
		p.leave(host, h)
		return nil, err
	}
	return func() {
		<-p.all
		<-h.taken
		p.leave(host, h)
	}, nil
}

func (p *places) enter(host string) *hostPlaces {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.hosts[host]
	if !ok {
		h = &hostPlaces{taken: make(chan struct{}, p.each)}
		p.hosts[host] = h
	}
	h.users++
	return h
}

// leave forgets a host when nobody is left there.
func (p *places) leave(host string, h *hostPlaces) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(p.hosts, host)
	}
}

// host is where the repository is, for the places of requests.
func (r *repo) host() string {
	if u, err := url.Parse(r.url); err == nil {
		return u.Host
	}
	return r.name
}
