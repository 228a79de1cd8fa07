package fetcher

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"github.com/athens-go/athens/internal/netguard"
)

// clients send the HTTP requests of one network policy.
type clients struct {
	pages *http.Client // for pages; does not verify certificates if the policy is insecure
	git   *http.Client // for repositories by HTTP
}

// newClients returns the clients of each policy. Those that may dial private
// addresses, or skip TLS verification, share no connections with the others.
func newClients(o *Options, health *hostHealth) map[networkPolicy]*clients {
	all := make(map[networkPolicy]*clients)
	for _, private := range []bool{false, true} {
		judged := netguard.Transport
		if private {
			judged = withDialTimeout
		}
		policy := networkPolicy{private: private}
		verified := health.transport(policy.String(), judged(o.Transport))
		unverified := health.transport("unverified "+policy.String(), judged(insecureTransport(o.Transport)))
		all[policy] = &clients{newClient(verified, false, o.MaxRedirects), newClient(verified, false, o.MaxRedirects)}
		policy.insecure = true
		all[policy] = &clients{newClient(unverified, true, o.MaxRedirects), newClient(verified, true, o.MaxRedirects)}
	}
	return all
}

// withDialTimeout returns a transport that gives up connecting in time, as that for
// public addresses does.
func withDialTimeout(base http.RoundTripper) http.RoundTripper {
	t, ok := base.(*http.Transport)
	//lint:ignore SA1019 a Dial that is set must be used
	if !ok || t.DialContext != nil || t.Dial != nil {
		return base
	}
	t = t.Clone()
	t.DialContext = (&net.Dialer{Timeout: netguard.DialTimeout}).DialContext
	return t
}

// pageClient returns the client for a page or a file at a URL of that scheme.
func (f *Fetcher) pageClient(to networkPolicy, scheme string) *http.Client {
	if scheme != "https" {
		to.insecure = false // there is no certificate to verify
	}
	return f.clients[to].pages
}

func tooManyRedirects(via []*http.Request, most int) error {
	if len(via) >= most {
		return fmt.Errorf("stopped after %d redirects; Options.MaxRedirects sets this limit", most)
	}
	return nil
}

// newClient returns a client that never sends credentials to another host or from
// https to http. It follows redirects to http only if insecure is true, and gives up
// after a number of redirects.
func newClient(transport http.RoundTripper, insecure bool, redirects int) *http.Client {
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0]
			downgraded := first.URL.Scheme == "https" && req.URL.Scheme != "https"
			if downgraded && !insecure {
				return fmt.Errorf("redirected from https to %s, which Options.Insecure (GOINSECURE) does not allow for this path", redactedURL(req.URL))
			}
			if first.Method != http.MethodGet {
				return http.ErrUseLastResponse // git does not follow these either
			}
			if downgraded || req.URL.Host != first.URL.Host {
				stripCredentials(req.Header)
			}
			return tooManyRedirects(via, redirects)
		},
	}
}

// stripCredentials removes all headers but those that describe the request.
func stripCredentials(h http.Header) {
	for name := range h {
		switch name {
		case "Accept", "Git-Protocol", "Pragma", "User-Agent":
		default:
			delete(h, name)
		}
	}
}

// insecureTransport returns transport without verification of certificates, if it is
// an [*http.Transport].
func insecureTransport(transport http.RoundTripper) http.RoundTripper {
	t, ok := transport.(*http.Transport)
	if !ok {
		return transport
	}
	t = t.Clone()
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.InsecureSkipVerify = true
	return t
}
