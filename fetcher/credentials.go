package fetcher

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/athens-go/athens"
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
// the headers returned before, so that a cached token must be replaced. The request is
// not sent a third time.
func Refused(ctx context.Context) bool { return ctx.Value(refusedKey{}) != nil }

func withRefused(ctx context.Context) context.Context {
	return context.WithValue(ctx, refusedKey{}, true)
}

// A credential is the login of a request.
type credential struct {
	header     http.Header // nil if there is none
	fromOption bool        // from the Credentials option

	withheld bool // one is known, but is not sent without TLS
}

// withheldKey marks the context of a request that is sent without a known login.
type withheldKey struct{}

func withWithheld(ctx context.Context, withheld bool) context.Context {
	if !withheld {
		return ctx
	}
	return context.WithValue(ctx, withheldKey{}, true)
}

// knowsLogin reports whether u or netrc has a login for u. It does not call the
// Credentials option for a login that would not be sent.
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

// credentials returns the login for u. Without TLS there is none, unless the
// policy allows it.
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
		f.warn(ctx, "netrc can't be read; continuing without its logins")(f.opts.Netrc, err)
		return credential{}, nil
	}
	if e, ok := file.Lookup(u.Hostname()); ok {
		return credential{header: BasicAuth(e.Login, e.Password)}, nil
	}
	return credential{}, nil
}

// get gets u, with the login for it. If the server refuses the login and
// a new one is available, it retries once.
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
		return resp, nil // the refusal is the result
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
	if via := athens.RequestInfoFrom(ctx).Via; via != "" {
		req.Header.Set("Via", via) // this server may be asked by itself, see serve/goimport
	}
	return client.Do(req)
}

func sameHeader(a, b http.Header) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}

// logins are the headers that authenticate a request.
type logins http.Header

// SetAuth adds the headers to a request.
func (l logins) SetAuth(r *http.Request) {
	for name, values := range l {
		r.Header[name] = values
	}
}

// Name returns the kind of login.
func (l logins) Name() string { return "http-headers" }

// String hides the secrets.
func (l logins) String() string { return "http-headers: *****" }
