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

// front is a small load balancer: it sends each request to the next proxy, and to another one
// if that does not answer.
type front struct {
	members   []*member
	next      atomic.Uint64
	transport *http.Transport
}

// newFront returns a handler that passes requests on to the members.
func newFront(members []*member) http.Handler {
	f := &front{members: members, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.Host // the name that clients use
			r.SetXForwarded()
		},
		Transport:     f,
		FlushInterval: -1,                         // pass on each part of a zip at once
		ErrorLog:      log.New(io.Discard, "", 0), // about clients that closed their connection
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "no proxy answered: "+err.Error(), http.StatusBadGateway)
		},
	}
}

// RoundTrip sends the request to one member after the other until one answers. Repeating a
// request is safe, since all requests of the protocol are GET or HEAD.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	err := errors.New("there are no proxies")
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
