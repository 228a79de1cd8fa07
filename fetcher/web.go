package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A httpPage is what a server answered to a question for a small document.
type httpPage struct {
	response
	body    []byte
	bodyErr error // the error that cut the body short, if any
}

// insecureTimeout bounds the https attempt at a host that may support only http.
const insecureTimeout = 5 * time.Second

// getImportPage gets u, whose scheme is empty, by https. If that fails and the policy
// allows it, it uses http. Any status is a success. For a host that recently did not
// answer by https, it tries http first.
func (f *Fetcher) getImportPage(ctx context.Context, u *url.URL, to networkPolicy) (*httpPage, error) {
	if !to.insecure {
		return f.getPage(ctx, "https", u, to)
	}
	key := to.String() + u.Host
	schemes := []string{"https", "http"}
	if _, _, ok := f.plainHTTP.get(key); ok {
		slices.Reverse(schemes)
	}
	p, err := f.getPage(ctx, schemes[0], u, to)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	p, err = f.getPage(ctx, schemes[1], u, to)
	if err == nil && schemes[1] == "http" {
		f.plainHTTP.put(key, struct{}{}, nil, f.opts.MissTTL)
	}
	return p, err
}

// getPage gets u, one small document, with a scheme. It returns an error only if the
// server could not be reached.
func (f *Fetcher) getPage(ctx context.Context, scheme string, u *url.URL, to networkPolicy) (*httpPage, error) {
	with := *u
	with.Scheme, u = scheme, &with
	timeout := f.opts.PageTimeout
	if to.insecure && u.Scheme == "https" {
		timeout = min(timeout, insecureTimeout)
	}
	ctx, cancel := f.withPageTimeout(ctx, timeout)
	defer cancel()
	release, err := f.limiter.acquire(ctx, u.Host)
	if err != nil {
		return nil, err
	}
	defer release()

	ctx, got, end := withFirstByte(ctx)
	defer end()
	resp, err := f.get(ctx, f.pageClient(to, u.Scheme), u, to)
	if err != nil {
		return nil, sourceUnavailable(redactedURL(u), cause(err))
	}
	got()
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, f.opts.MaxPageBytes+1))
	page := &httpPage{response: responseOf(u, resp), body: body, bodyErr: err}
	if int64(len(body)) > f.opts.MaxPageBytes {
		page.body, page.bodyErr = body[:f.opts.MaxPageBytes], fmt.Errorf("the page has more than %d bytes; Options.MaxPageBytes sets this limit", f.opts.MaxPageBytes)
	}
	return page, nil
}

// cause removes the URL from an HTTP client's error. The caller adds it without
// credentials.
func cause(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// redacted returns a URL without credentials.
func redacted(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		_, rest, found := strings.Cut(rawURL, "@")
		if !found {
			return rawURL
		}
		return rest
	}
	if u.User == nil {
		return rawURL
	}
	return redactedURL(u)
}

// redactedURL returns a URL without credentials. For HTTP that includes the user's
// name, which can be a token.
func redactedURL(u *url.URL) string {
	if u.User == nil {
		return u.String()
	}
	bare := *u
	bare.User = nil
	if u.Scheme != "http" && u.Scheme != "https" {
		bare.User = url.User(u.User.Username())
	}
	return bare.String()
}
