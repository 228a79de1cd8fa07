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
	"github.com/athens-go/athens/internal/retryafter"
)

// A response is what a server's answer says before its body is read.
type response struct {
	url        string // the final URL, without credentials
	host       string // of url, with its port
	status     int
	crossHost  bool          // redirects led to another host
	withheld   bool          // a login is known, but was not sent without TLS
	retryAfter time.Duration // from the Retry-After header; zero if there is none
}

// responseOf describes the response to a request for u.
func responseOf(u *url.URL, resp *http.Response) response {
	from := resp.Request.URL
	return response{
		url: redactedURL(from), host: from.Host, status: resp.StatusCode, crossHost: !sameSite(u.Host, from.Host),
		withheld: from.Scheme == "http" && resp.Request.Context().Value(withheldKey{}) != nil, retryAfter: retryafter.Parse(resp.Header, maxRetryAfter),
	}
}

// sameSite reports whether two hosts, with their ports, belong to one site. Ports
// differ if a site redirects from http to https.
func sameSite(a, b string) bool {
	name := func(host string) string {
		u := url.URL{Host: host}
		return strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	}
	return name(a) == name(b)
}

// statusError returns the error for a response's status. Only 404 and 410 mean that
// there is no such thing, and only from the requested host: a redirect to another host
// may lead to a sign-in page, and that host knows nothing of modules. All others are
// outages. So are 401 and 403, which hosts answer for private and for missing
// repositories alike.
func statusError(a response) error {
	text := fmt.Errorf("%d %s", a.status, http.StatusText(a.status))
	switch a.status {
	case http.StatusNotFound, http.StatusGone:
		if !a.crossHost {
			return notFoundf("%s: %w", a.url, text)
		}
		text = fmt.Errorf("%w from another host, to which the request was redirected", text)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		if a.withheld {
			text = fmt.Errorf("%w: a login for %s is known, but is not sent over plain http; Options.Insecure (GOINSECURE) allows that", text, a.host)
			break
		}
		text = fmt.Errorf("%w: credentials are missing or insufficient; netrc or Options.Credentials provides them", text)
	}
	return &athens.UnavailableError{Source: a.url, RetryAfter: a.retryAfter, Err: sourceFailure{statusFailure{text, a.status}}}
}

// sourceFailure is a failure of a server, which an immediate retry would not mend, so
// it is cached for DownTTL.
type sourceFailure struct{ error }

func (e sourceFailure) Unwrap() error { return e.error }

// statusFailure is a response whose status is no success.
type statusFailure struct {
	error
	code int
}

func (e statusFailure) Unwrap() error { return e.error }

// refusesAll reports whether a failure is a refusal that does not depend on what exactly
// was requested: the server wants a login, or to be left alone.
func refusesAll(err error) bool {
	var status statusFailure
	if !errors.As(err, &status) {
		return false
	}
	switch status.code {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return false
}

// sourceUnavailable returns the outage for a failed request to a source, which is named
// without credentials. It is cached.
func sourceUnavailable(source string, err error) error {
	if errors.As(err, new(queueError)) || errors.As(err, new(hostDown)) {
		return unavailable(source, err)
	}
	return unavailable(source, sourceFailure{err})
}

// queueError is a failure to get a slot on this server, which says nothing about
// the source.
type queueError struct{ error }

func (e queueError) Unwrap() error { return e.error }

// asUnavailable turns "not found" into an outage: a repository that has just listed its
// references exists.
func asUnavailable(source string, err error) error {
	if missing := (notFound{}); errors.As(err, &missing) {
		return &athens.UnavailableError{Source: source, Err: sourceFailure{statusFailure{missing.error, http.StatusNotFound}}}
	}
	return err
}

// maxRetryAfter bounds a Retry-After header.
const maxRetryAfter = time.Hour

// notText returns an outage if data is an HTML page, such as a sign-in page, instead of
// a file of the GOPROXY protocol.
func notText(source string, data []byte) error {
	if data = bytes.TrimSpace(data); bytes.HasPrefix(data, []byte("<")) {
		return sourceUnavailable(source, errors.New("the answer is an HTML page instead of a file of the GOPROXY protocol"))
	}
	return nil
}
