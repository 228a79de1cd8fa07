package fetcher

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// proxyKey is the context key of git's http.proxy: its address, or "" for no
// proxy.
type proxyKey struct{}

// withProxy returns a context for requests to the repository. git's configuration does
// not apply to requests for pages.
func (s *httpSession) withProxy(ctx context.Context) context.Context {
	if text, ok := s.cfg.HTTPLast(s.url, "proxy"); ok {
		return context.WithValue(ctx, proxyKey{}, text)
	}
	return ctx
}

// proxyOf returns the proxy for a request: the one of git's configuration, or
// otherwise the environment's.
func proxyOf(req *http.Request) (*url.URL, error) {
	text, ok := req.Context().Value(proxyKey{}).(string)
	switch {
	case !ok:
		return http.ProxyFromEnvironment(req)
	case text == "" || withoutProxy(req.URL.Hostname()):
		return nil, nil
	case !strings.Contains(text, "://"):
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("git's configuration: http.proxy is not the URL of a proxy") // it can contain a password, so it is not shown
	}
	switch u.Scheme {
	case "https", "socks5", "socks5h":
	default:
		u.Scheme = "http"
	}
	return u, nil
}

// withoutProxy reports whether NO_PROXY names a host or one of its parent domains.
func withoutProxy(host string) bool {
	list := os.Getenv("no_proxy")
	if list == "" {
		list = os.Getenv("NO_PROXY")
	}
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		name = strings.ToLower(strings.TrimPrefix(name, "."))
		if name == "*" || host == name || strings.HasSuffix(host, "."+name) {
			return true
		}
	}
	return false
}
