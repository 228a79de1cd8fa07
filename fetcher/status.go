package fetcher

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/athens-go/athens"
)

// A response is what a server's answer says before its body is read.
type response struct {
	url        string // where it came from in the end, without credentials
	host       string // of url, with its port
	status     int
	crossHost  bool          // another host answered than the one that was asked
	withheld   bool          // a login is known, and was not sent without TLS
	retryAfter time.Duration // what the server asks to wait; zero if it does not say
}

// responseOf describes the answer to a request for u.
func responseOf(u *url.URL, resp *http.Response) response {
	from := resp.Request.URL
	return response{
		url: redactedURL(from), host: from.Host, status: resp.StatusCode, crossHost: !sameSite(u.Host, from.Host),
		withheld: from.Scheme == "http" && resp.Request.Context().Value(withheldKey{}) != nil, retryAfter: retryAfterOf(resp.Header, time.Now()),
	}
}

// sameSite reports whether two hosts, with their ports, are one site. Ports differ
// where a site moves from http to https.
func sameSite(a, b string) bool {
	name := func(host string) string {
		u := url.URL{Host: host}
		return strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	}
	return name(a) == name(b)
}

// statusError says what it means that a server answered with a status. Only 404 and
// 410 mean that there is no such thing, and only where the host itself says so: a
// request that was redirected to another host may have been sent to sign in, and
// that host knows nothing of modules. All others are outages, 401 and 403 among
// them, which hosts answer for what is private as for what is missing.
func statusError(a response) error {
	text := fmt.Errorf("%d %s", a.status, http.StatusText(a.status))
	switch a.status {
	case http.StatusNotFound, http.StatusGone:
		if !a.crossHost {
			return notFoundf("%s: %w", a.url, text)
		}
		text = fmt.Errorf("%w from a host that the request was redirected to", text)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		if a.withheld {
			text = fmt.Errorf("%w: a login for %s is known, but is not sent over plain http; Options.Insecure (GOINSECURE) allows that", text, a.host)
			break
		}
		text = fmt.Errorf("%w: credentials are missing, or they do not suffice", text)
	}
	return &athens.UnavailableError{Source: a.url, RetryAfter: a.retryAfter, Err: sourceFailure{text}}
}

// sourceFailure is an outage of a server, which asking again at once does not end.
type sourceFailure struct{ error }

func (e sourceFailure) Unwrap() error { return e.error }

// sourceUnavailable is an error of asking a source over the network, named without credentials.
func sourceUnavailable(source string, err error) error {
	if errors.As(err, new(queueError)) {
		return unavailable(source, err)
	}
	return unavailable(source, sourceFailure{err})
}

// queueError is an error of waiting for other requests of this server, which says nothing of
// the source.
type queueError struct{ error }

func (e queueError) Unwrap() error { return e.error }

// failureTTL is how long an error of a server is its answer; zero if it is to be asked
// again.
func (f *Fetcher) failureTTL(err error) time.Duration {
	var outage *athens.UnavailableError
	if !errors.As(err, new(sourceFailure)) || !errors.As(err, &outage) {
		return 0
	}
	return max(outage.RetryAfter, f.opts.DownTTL)
}

// asUnavailable turns "there is no such repository" into an outage: a repository that has
// just listed its references is there.
func asUnavailable(source string, err error) error {
	if missing := (notFound{}); errors.As(err, &missing) {
		return &athens.UnavailableError{Source: source, Err: missing.error}
	}
	return err
}

// maxRetryAfter bounds how long a server can ask to be left alone.
const maxRetryAfter = time.Hour

// retryAfterOf is how long a server asks to wait, zero if it does not say.
func retryAfterOf(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	wait, err := time.ParseDuration(text + "s")
	if err != nil || strings.ContainsAny(text, "hmsuµn") {
		at, err := http.ParseTime(text)
		if err != nil {
			return 0
		}
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// notText is an outage if what should be a text of the GOPROXY protocol is a page or
// another document, such as one to sign in at.
func notText(source string, data []byte) error {
	if data = bytes.TrimSpace(data); bytes.HasPrefix(data, []byte("<")) {
		return unavailable(source, fmt.Errorf("the answer is a page and not a file of the GOPROXY protocol"))
	}
	return nil
}
