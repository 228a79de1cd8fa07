package fetcher

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/athens-go/athens/internal/netrc"
)

// BasicAuth returns the headers that log in with a name and a password, for
// [Options.Credentials]. Hosting services take an access token as the password.
func BasicAuth(user, password string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header
}

type refusedKey struct{}

// Refused reports, in [Options.Credentials], whether a server has just refused
// what was returned before, so that a token that is kept must be replaced. The
// question is not asked a third time.
func Refused(ctx context.Context) bool { return ctx.Value(refusedKey{}) != nil }

func withRefused(ctx context.Context) context.Context {
	return context.WithValue(ctx, refusedKey{}, true)
}

// A credential is what a request logs in with.
type credential struct {
	header     http.Header // nil if there is none
	fromOption bool        // by the Credentials option

	withheld bool // one is known, and is not sent without TLS
}

// withheldKey marks the context of requests that go without a login that is known.
type withheldKey struct{}

func withWithheld(ctx context.Context, withheld bool) context.Context {
	if !withheld {
		return ctx
	}
	return context.WithValue(ctx, withheldKey{}, true)
}

// knowsLogin reports whether the URL or netrc has a login for u. The Credentials option
// is not asked for one that would not be sent.
func (f *Fetcher) knowsLogin(u *url.URL) bool {
	if u.User != nil {
		return true
	}
	if f.opts.Netrc == "" {
		return false
	}
	file, err := netrc.Load(f.opts.Netrc)
	if err != nil {
		return false
	}
	_, ok := file.Lookup(u.Hostname())
	return ok
}

// credentials returns the login at u. Without TLS there is none, unless the
// path may do without.
func (f *Fetcher) credentials(ctx context.Context, u *url.URL, to networkPolicy) (credential, error) {
	if u.Scheme != "https" && !to.insecure {
		return credential{withheld: f.knowsLogin(u)}, nil
	}
	if u.User != nil {
		password, _ := u.User.Password()
		return credential{header: BasicAuth(u.User.Username(), password)}, nil
	}
	if f.opts.Credentials != nil {
		header, err := f.opts.Credentials(ctx, u)
		if header != nil || err != nil {
			return credential{header: header, fromOption: true}, err
		}
	}
	if f.opts.Netrc == "" {
		return credential{}, nil
	}
	file, err := netrc.Load(f.opts.Netrc)
	if err != nil {
		f.warn(ctx, "netrc can't be read; requests go without its logins")(f.opts.Netrc, err)
		return credential{}, nil
	}
	if e, ok := file.Lookup(u.Hostname()); ok {
		return credential{header: BasicAuth(e.Login, e.Password)}, nil
	}
	return credential{}, nil
}

// get asks for what is at u, logged in. Where the server refuses the login and
// there is a new one, it is asked once more.
func (f *Fetcher) get(ctx context.Context, client *http.Client, u *url.URL, to networkPolicy) (*http.Response, error) {
	old, err := f.credentials(ctx, u, to)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	resp, err := getWith(ctx, client, u, old)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || old.header == nil {
		return resp, err
	}
	fresh, err := f.credentials(withRefused(ctx), u, to)
	if err != nil || sameHeader(old.header, fresh.header) {
		return resp, nil // the refusal is the answer
	}
	resp.Body.Close()
	return getWith(ctx, client, u, fresh)
}

func getWith(ctx context.Context, client *http.Client, u *url.URL, l credential) (*http.Response, error) {
	ctx = withWithheld(ctx, l.withheld)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	logins(l.header).SetAuth(req)
	return client.Do(req)
}

func sameHeader(a, b http.Header) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

// logins is how go-git's HTTP transport takes headers; it drops them when a
// redirect leaves the host they are for.
type logins http.Header

// SetAuth adds the headers to a request.
func (l logins) SetAuth(r *http.Request) {
	for name, values := range l {
		r.Header[name] = values
	}
}

// Name says what kind of login this is.
func (l logins) Name() string { return "http-headers" }

// String does not show the secrets.
func (l logins) String() string { return "http-headers: *****" }
