package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/netguard"
)

// health knows whether a server can be reached. It learns from every request,
// and where there was none for a while it opens a connection to see.
type health struct {
	opts   Options
	source string
	addr   string                                                            // host:port
	dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil: can't be tried
	probes *flight.Calls[struct{}, struct{}]

	mu      sync.Mutex
	alive   time.Time // the last sign of life
	retryAt time.Time // down until then
	reason  error     // why it is down; nil if it is not

	mute     error     // why it is not worth waiting for; nil if it is
	listenAt time.Time // when the next question may find out
}

func newHealth(source string, base *url.URL, opts Options) *health {
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	return &health{
		opts:   opts,
		source: source,
		addr:   net.JoinHostPort(base.Hostname(), port),
		dial:   dialer(base, opts),
		probes: flight.NewCalls[struct{}, struct{}](context.Background()),
	}
}

// dialer returns how to open a connection to base, or nil if that would say
// nothing about it: an HTTP proxy in between can be there without it.
func dialer(base *url.URL, opts Options) func(context.Context, string, string) (net.Conn, error) {
	if opts.Dial != nil {
		return opts.Dial
	}
	t, ok := opts.Transport.(*http.Transport)
	if !ok {
		return nil
	}
	if t.Proxy != nil {
		if via, err := t.Proxy(&http.Request{Method: http.MethodGet, URL: base}); err != nil || via != nil {
			return nil
		}
	}
	if t.DialContext != nil {
		return t.DialContext
	}
	return new(net.Dialer).DialContext
}

// contact notes that the server answered.
func (h *health) contact() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive, h.reason, h.mute = time.Now(), nil, nil
}

// connected notes that the server takes connections. Whether it says something on
// them, is another thing.
func (h *health) connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive, h.reason = time.Now(), nil
}

// admit returns why a question would wait in vain: the server let another wait for
// nothing, on a connection or for one. One question in DownTTL is let through to find
// out whether that is still so.
func (h *health) admit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mute == nil {
		return nil
	}
	now := time.Now()
	if now.Before(h.listenAt) {
		return &athens.UnavailableError{Source: h.source, RetryAfter: max(h.listenAt.Sub(now), time.Second), Err: h.mute}
	}
	h.listenAt = now.Add(h.opts.DownTTL)
	return nil
}

// down notes that the server could not be reached.
func (h *health) down(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reason, h.retryAt = err, time.Now().Add(h.opts.DownTTL)
	if slow, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && slow.Timeout() {
		h.mute, h.listenAt = err, h.retryAt
	}
}

// silent notes that what was asked at a time has had no answer. It says nothing
// of the server if others had one since then, or the question itself had, which
// was a redirect to a place that can't be reached.
func (h *health) silent(asked time.Time, err error) {
	h.mu.Lock()
	unanswered := h.alive.Before(asked)
	h.mu.Unlock()
	if unanswered {
		h.down(err)
	}
}

// check returns nil if the server can be reached, as far as is known.
func (h *health) check(ctx context.Context) error {
	known, err := h.known()
	if known || h.dial == nil {
		return err
	}
	_, err = h.probes.Do(ctx, struct{}{}, h.probe)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("reaching %s: %w", h.source, context.Cause(ctx))
	}
	return err
}

// known returns what recent requests and probes say, if they say something.
func (h *health) known() (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.reason != nil && now.Before(h.retryAt) {
		return true, &athens.UnavailableError{Source: h.source, RetryAfter: max(h.retryAt.Sub(now), time.Second), Err: h.reason}
	}
	return h.reason == nil && now.Sub(h.alive) < h.opts.CheckAfter, nil
}

// probe opens a connection and closes it.
func (h *health) probe(ctx context.Context) (struct{}, error) {
	if known, err := h.known(); known { // learned since the caller looked
		return struct{}{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.opts.CheckTimeout)
	defer cancel()
	conn, err := h.dial(ctx, "tcp", h.addr)
	if err == nil {
		conn.Close()
		h.connected()
		return struct{}{}, nil
	}
	err = netguard.WithoutAddresses(err)
	h.down(err)
	return struct{}{}, &athens.UnavailableError{Source: h.source, RetryAfter: max(h.opts.DownTTL, time.Second), Err: err}
}
