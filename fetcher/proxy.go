package fetcher

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// proxyKey is for what git's configuration says of a proxy: its address, or ""
// for none.
type proxyKey struct{}

// withProxy is for requests to the repository; those for pages are no business of
// git's configuration.
func (s *httpSession) withProxy(ctx context.Context) context.Context {
	if text, ok := s.cfg.HTTPLast(s.url, "proxy"); ok {
		return context.WithValue(ctx, proxyKey{}, text)
	}
	return ctx
}

// proxyOf says which proxy a request takes: the one of git's configuration, or
// else the environment's.
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
		return nil, errors.New("git's configuration: http.proxy is no address of a proxy") // it can hold a password
	}
	switch u.Scheme {
	case "https", "socks5", "socks5h":
	default:
		u.Scheme = "http"
	}
	return u, nil
}

// withoutProxy reports whether NO_PROXY names a host, or a domain above it.
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
