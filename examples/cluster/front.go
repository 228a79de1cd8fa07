package main

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// front stands before the proxies, as a load balancer does: each request goes to
// the next of them, and to another one if it has got no answer.
type front struct {
	members   []*member
	next      atomic.Uint64
	transport *http.Transport
}

// newFront returns the one name of all the members.
func newFront(members []*member) http.Handler {
	f := &front{members: members, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.Host // the name that clients know
			r.SetXForwarded()
		},
		Transport:     f,
		FlushInterval: -1,                         // a zip that is arriving passes as it comes
		ErrorLog:      log.New(io.Discard, "", 0), // clients that went away
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "no proxy answers: "+err.Error(), http.StatusBadGateway)
		},
	}
}

// RoundTrip asks one member after the other. Asking twice does no harm: all that
// the protocol has is questions.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	err := errors.New("there is none")
	first := f.next.Add(1)
	for i := range f.members {
		to := f.members[(first+uint64(i))%uint64(len(f.members))]
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host = "http", to.addr
		var resp *http.Response
		if resp, err = f.transport.RoundTrip(out); err == nil || r.Context().Err() != nil {
			return resp, err
		}
	}
	return nil, err
}
