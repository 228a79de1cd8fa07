package fetcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/netguard"
)

const (
	hostHealthBytes = 1 << 20          // of memory for what is known about hosts
	probeInterval   = time.Second      // between two requests that bypass a cached failure
	firstByte       = 15 * time.Second // that a page or a list of references may take to begin
)

// hostHealth remembers hosts that can't be connected to, or that accept connections and
// stay silent. Requests to such a host fail at once for a time; then one request at a
// time probes it, and the first response ends the outage.
type hostHealth struct {
	ttl time.Duration

	mu    sync.Mutex
	hosts *cache.Cache[string, *hostState]
}

// A hostState is what is known about one host.
type hostState struct {
	heard  time.Time // of the last response
	failed time.Time // of the last failure
	err    error     // that failure; nil if the host is up
	silent string    // the request during which the host was silent, if that was the failure

	probes  int // running requests that probe the host
	probe   string
	probing time.Time // start of the first of them
}

func newHostHealth(ttl time.Duration) *hostHealth {
	return &hostHealth{ttl: ttl, hosts: cache.New(hostHealthBytes, func(key string, _ *hostState) int64 { return int64(len(key)) + 1<<10 })}
}

// hostDown is a failure that was not tried again, because the host has just failed.
type hostDown struct{ error }

func (e hostDown) Unwrap() error { return e.error }

// A hostRequest is a request that hostHealth has admitted. The caller must call end.
type hostRequest struct {
	health *hostHealth
	state  *hostState
	target string
	start  time.Time
	probe  bool
}

// begin admits a request to a host, or returns the host's failure. The target tells
// requests to one host apart. A context with [athens.RequestInfo].NoCache probes a host that has
// failed after probeInterval.
func (h *hostHealth) begin(ctx context.Context, key, host, target string) (*hostRequest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.hosts.Get(key)
	if !ok {
		s = &hostState{}
		h.hosts.Put(key, s)
	}
	req := &hostRequest{health: h, state: s, target: target, start: time.Now()}
	if s.err == nil {
		return req, nil
	}
	left := h.ttl - time.Since(s.failed)
	wait := left
	if athens.RequestInfoFrom(ctx).NoCache {
		wait = min(h.ttl, probeInterval) - time.Since(s.failed)
	}
	if wait > 0 || !s.mayProbe(target) {
		return nil, &athens.UnavailableError{Source: host, RetryAfter: max(left, time.Second), Err: hostDown{fmt.Errorf(
			"it was not asked again, because it failed less than %s ago (Options.DownTTL): %w", h.ttl+firstByte, s.err)}}
	}
	if s.probes == 0 {
		s.probe, s.probing = target, req.start
	}
	s.probes++
	req.probe = true
	return req, nil
}

// mayProbe reports whether a request may probe the host now. If the host may be silent
// only for one request, which probes it again, another one may run beside that.
func (s *hostState) mayProbe(target string) bool {
	return s.probes == 0 ||
		s.probes == 1 && s.silent != "" && s.probe == s.silent && target != s.silent && time.Since(s.probing) > probeInterval
}

// end records the result of a request, and returns err.
func (r *hostRequest) end(ctx context.Context, err error) error {
	r.record(failureOf(ctx, err), err)
	return err
}

func (r *hostRequest) record(failure hostFailure, err error) {
	r.health.mu.Lock()
	defer r.health.mu.Unlock()
	s, now := r.state, time.Now()
	if r.probe {
		s.probes--
	}
	switch failure {
	case canceled:
	case noFailure:
		s.heard, s.err, s.silent = now, nil, ""
	case silentHost:
		// If others were answered meanwhile, the host is only slow for this one.
		if s.heard.Before(r.start) {
			s.failed, s.err, s.silent = now, err, r.target
		}
	case unreachable:
		s.failed, s.err, s.silent = now, err, ""
	}
}

// hostFailure classifies the result of a request to a host.
type hostFailure uint8

const (
	noFailure   hostFailure = iota // the host answered, or at least it accepted the connection
	canceled                       // the request was given up
	silentHost                     // the host did not answer in time
	unreachable                    // there is no connection to the host
)

func failureOf(ctx context.Context, err error) hostFailure {
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return noFailure
	case errors.As(err, new(netguard.Forbidden)):
		return canceled // a matter of policy, not of the host
	case errors.Is(cause, gitwire.ErrSilent), errors.As(cause, new(slowError)):
		return silentHost
	case cause != nil:
		return canceled
	}
	var (
		op      *net.OpError
		dns     *net.DNSError
		timeout net.Error
	)
	switch {
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "remote error"), errors.As(err, &dns),
		errors.As(err, new(tls.RecordHeaderError)), errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(tls.AlertError)),
		errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)), errors.As(err, new(x509.CertificateInvalidError)),
		strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return unreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		return silentHost // the TLS handshake, or the response's header
	}
	return noFailure
}

// healthTransport sends requests only to hosts that are not known to be down.
type healthTransport struct {
	health *hostHealth
	name   string // prefix for keys: transports differ in what they can reach
	base   http.RoundTripper
}

func (h *hostHealth) transport(name string, base http.RoundTripper) http.RoundTripper {
	return &healthTransport{h, name, base}
}

// RoundTrip implements [http.RoundTripper].
func (t *healthTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	r, err := t.health.begin(ctx, t.name+req.URL.Scheme+"://"+req.URL.Host, req.URL.Host, req.URL.Path)
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(req)
	failure := failureOf(ctx, err)
	if failure == silentHost && req.Method != http.MethodGet {
		failure = canceled // a server may take long to prepare a pack
	}
	r.record(failure, err)
	return resp, err
}

// CloseIdleConnections closes idle connections of the underlying transport.
func (t *healthTransport) CloseIdleConnections() {
	(&http.Client{Transport: t.base}).CloseIdleConnections()
}

// connect calls dial for an address of the repository's server, unless it is known to
// be down.
func (r *repo) connect(ctx context.Context, scheme, address string, dial func(context.Context) error) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	req, err := r.f.hosts.begin(ctx, r.policy.String()+scheme+"://"+address, host, r.url)
	if err != nil {
		return err
	}
	return req.end(ctx, dial(ctx))
}

// slowError is the cause of a context whose time ended before an answer was complete.
type slowError struct {
	after  time.Duration
	option string // that sets this time
}

func (e slowError) Error() string {
	return fmt.Sprintf("no complete answer within %s, the limit that Options.%s sets", e.after, e.option)
}

// Is reports whether target is [context.DeadlineExceeded].
func (e slowError) Is(target error) bool { return target == context.DeadlineExceeded }

// withPageTimeout bounds a request for a small document.
func (f *Fetcher) withPageTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, slowError{timeout, "PageTimeout"})
}

// withFirstByte returns a context that ends if got is not called within firstByte.
func withFirstByte(ctx context.Context) (_ context.Context, got, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(firstByte, func() { cancel(fmt.Errorf("%w for %v", gitwire.ErrSilent, firstByte)) })
	return ctx, func() { timer.Stop() }, func() {
		timer.Stop()
		cancel(nil)
	}
}
