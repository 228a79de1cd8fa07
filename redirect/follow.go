package redirect

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync/atomic"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/netguard"
)

// maxRedirects is how many redirects are followed.
const maxRedirects = 10

// refusedError is what a server says that can't be followed.
type refusedError string

func (e refusedError) Error() string { return string(e) }

// follow sends the request and follows its redirects. It differs from the standard client:
// credentials go only to the server that they are for, the Via header goes to all, no Referer is
// sent, and errors contain no URL, because the URL of a redirect may allow anyone who reads it to
// download the file.
func (c *client) follow(ctx context.Context, q question) (*http.Response, error) {
	at, err := url.Parse(c.url(q.path))
	if err != nil {
		return nil, refusedError("the path does not make a valid URL")
	}
	auth, transport := c.auth, c.opts.Transport
	first, inside := c.watch(ctx, at)
	for hops := 0; ; hops++ {
		resp, err := transport.RoundTrip(c.request(first, at, auth))
		if err != nil {
			if hops > 0 && errors.As(err, new(netguard.Forbidden)) {
				err = refusedError("the server redirects to an address that is not public")
			}
			return nil, err
		}
		if hops == 0 {
			c.health.contact()
		}
		location := resp.Header.Get("Location")
		if !redirects(resp.StatusCode) || location == "" {
			return resp, nil
		}
		// What is read to its end leaves a connection that can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, 2<<10)
		resp.Body.Close()
		next, err := at.Parse(location)
		if err == nil {
			err = followable(at, next, hops)
		} else {
			err = errors.New("a malformed URL")
		}
		if err != nil {
			return nil, refusedError("the server redirects to " + err.Error())
		}
		next.User, next.Fragment = nil, ""
		if next.Scheme != at.Scheme || next.Host != at.Host {
			auth = "" // also if a later redirect comes back
		}
		at, first = next, ctx
		if !inside.Load() {
			transport = c.away
		}
	}
}

// watch returns a context for the first request, which records whether the server has a private
// address. Only such a server may redirect to private addresses: otherwise a server on the public
// internet could make this one request internal URLs and pass on the answers.
func (c *client) watch(ctx context.Context, at *url.URL) (context.Context, *atomic.Bool) {
	inside := new(atomic.Bool)
	t, ok := c.opts.Transport.(*http.Transport)
	if !ok {
		return ctx, inside
	}
	if t.Proxy != nil {
		if via, err := t.Proxy(&http.Request{Method: http.MethodGet, URL: at}); via != nil || err != nil {
			return ctx, inside // the address would be that of a proxy in between
		}
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		ip, err := netip.ParseAddrPort(got.Conn.RemoteAddr().String())
		inside.Store(err == nil && !netguard.IsPublic(ip.Addr()))
	}}), inside
}

// redirects reports whether a status is that of a redirect.
func redirects(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// followable says why a redirect is not followed.
func followable(from, to *url.URL, hops int) error {
	switch {
	case hops >= maxRedirects:
		return errors.New("yet another URL, too many times")
	case from.Scheme == "https" && to.Scheme == "http":
		return errors.New("http, although it was reached by https")
	case to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "":
		return errors.New("a URL that is neither http nor https")
	}
	return nil
}

// request returns the GET of a URL. Naming an encoding keeps the transport from
// unpacking one by itself: what is counted and compared are the bytes that came.
func (c *client) request(ctx context.Context, at *url.URL, auth string) *http.Request {
	header := make(http.Header)
	if c.opts.Header != nil {
		maps.Copy(header, c.opts.Header(ctx))
	}
	header["Accept-Encoding"], header["User-Agent"] = []string{"identity"}, []string{c.opts.UserAgent}
	info := athens.RequestInfoFrom(ctx)
	if info.Via != "" {
		header.Set("Via", info.Via)
	}
	if info.NoCache {
		header.Set("Cache-Control", "no-cache")
	}
	if auth != "" {
		header.Set("Authorization", auth)
	}
	return (&http.Request{Method: http.MethodGet, URL: at, Header: header, Host: at.Host}).WithContext(ctx)
}
