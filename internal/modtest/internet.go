package modtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Insecure is the value of GOINSECURE that belongs to an [Internet]: a go
// command, or code that does as it does, may then use http for these hosts.
const Insecure = "*.test"

// Internet is a whole internet in one loopback server: an HTTP proxy that
// answers by itself for every host there is. It refuses CONNECT, so that a
// client which may fall back from https to http does, except for hosts that
// have https by [Internet.Secure].
//
// It serves repositories (see [Repo]) with git's smart HTTP protocol, go-import
// pages for the module paths they declare, and handlers of the test's own. Any other
// path is 404. The Tap counts requests and makes them fail.
//
// A client that can't use a proxy reaches http://HOST/PATH at
// [Internet.Direct]; it is the same place, counted under the same name.
type Internet struct {
	*Tap
	addr string
	ca   *authority

	mu       sync.Mutex
	repos    []*Repo
	handlers map[string]http.Handler // by host/path prefix
	secure   map[string]bool         // hosts that have https
}

// NewInternet starts an internet with those repositories. It ends with the test.
func NewInternet(t testing.TB, repos ...*Repo) *Internet {
	t.Helper()
	n := &Internet{handlers: map[string]http.Handler{}, secure: map[string]bool{}}
	n.Tap = newTap(t, http.HandlerFunc(n.route), n.locate)
	n.addr = serve(t, nil, n.Tap)
	n.ca = newAuthority(t, n.Tap)
	n.Add(repos...)
	return n
}

// Add puts more repositories in the internet.
func (n *Internet) Add(repos ...*Repo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.repos = append(n.repos, repos...)
}

// Handle makes h answer for prefix, which is host/path without a slash at its
// end, and all below it. h sees the whole path. The longest prefix wins, also
// over a repository or page. With [net/http/httputil.NewSingleHostReverseProxy] a server
// that listens on loopback gets a name here, and its requests are counted.
func (n *Internet) Handle(prefix string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[prefix] = h
}

// ProxyURL is the URL of the proxy, for HTTP_PROXY and [http.ProxyURL].
func (n *Internet) ProxyURL() *url.URL { return &url.URL{Scheme: "http", Host: n.addr} }

// Transport returns a transport of a client that lives in this internet. Go
// reads the proxy variables once a process, so code under test in the test's
// own process needs it. Requests to 127.0.0.1 go there, as from any Go program.
func (n *Internet) Transport() *http.Transport {
	proxy := func(r *http.Request) (*url.URL, error) {
		if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() {
			return nil, nil
		}
		return n.ProxyURL(), nil
	}
	transport := &http.Transport{Proxy: proxy, TLSClientConfig: &tls.Config{RootCAs: n.ca.pool()}}
	n.t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// URL returns the URL of hostPath, such as "git.test/simple", inside the
// internet. It is also what go-import pages name for a repository there.
func (n *Internet) URL(hostPath string) string {
	host, _, _ := strings.Cut(hostPath, "/")
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.secure[host] {
		return "https://" + hostPath
	}
	return "http://" + hostPath
}

// Direct returns the URL at which hostPath, such as "git.test/simple", is
// reached without a proxy.
func (n *Internet) Direct(hostPath string) string { return "http://" + n.addr + "/" + hostPath }

// Env returns the variables that put a child process into this internet.
func (n *Internet) Env() []string {
	// The first is for Go, the second for git; they trust nobody else then.
	return append(proxyEnv(n.ProxyURL().String()), "SSL_CERT_FILE="+n.ca.file, "GIT_SSL_CAINFO="+n.ca.file)
}

// proxyEnv sends all requests to one proxy. Git and curl read http_proxy in
// lower case only. Nothing is exempt, but Go never uses a proxy for loopback.
func proxyEnv(proxy string) []string {
	return []string{
		"HTTP_PROXY=" + proxy, "http_proxy=" + proxy, "HTTPS_PROXY=" + proxy, "https_proxy=" + proxy,
		"ALL_PROXY=", "all_proxy=", "NO_PROXY=", "no_proxy=", "GOINSECURE=" + Insecure,
	}
}

// locate splits what r asks for into host and path.
func (n *Internet) locate(r *http.Request) (host, path string) {
	if r.Method == http.MethodConnect {
		return r.Host, ""
	}
	port := ":80"
	if r.TLS != nil {
		port = ":443"
	}
	host, path = strings.TrimSuffix(strings.ToLower(r.Host), port), r.URL.Path
	if host == n.addr {
		host, path, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
		path = "/" + path
	}
	return host, path
}

func (n *Internet) route(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		n.connect(w, r)
		return
	}
	host, path := n.locate(r)
	name := host + strings.TrimSuffix(path, "/")
	if h := n.handler(name); h != nil {
		r = r.Clone(r.Context())
		r.Host, r.URL.Path, r.URL.RawPath = host, path, ""
		h.ServeHTTP(w, r)
		return
	}
	n.mu.Lock()
	repos := n.repos
	n.mu.Unlock()
	for _, repo := range repos {
		// As at large hosts, .git at the end of its name makes no difference.
		rest, ok := strings.CutPrefix(name, strings.TrimSuffix(repo.Path, ".git"))
		rest = strings.TrimPrefix(rest, ".git")
		if ok && isGit(rest) {
			repo.serveGit(w, r, rest)
			return
		}
	}
	if page := n.importPage(repos, name); page != "" {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, page)
		return
	}
	http.Error(w, "modtest: there is no "+name, http.StatusNotFound)
}

// handler returns the handler with the longest prefix of name, or nil.
func (n *Internet) handler(name string) http.Handler {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found http.Handler
	longest := -1
	for prefix, h := range n.handlers {
		if match(prefix, name) && len(prefix) > longest {
			found, longest = h, len(prefix)
		}
	}
	return found
}

// importPage returns the go-import page for a package path, or "" if no
// repository declares a prefix of it. Of several prefixes the longest counts.
func (n *Internet) importPage(repos []*Repo, name string) string {
	var page, longest string
	for _, repo := range repos {
		for _, i := range repo.imports() {
			if match(i.prefix, name) && len(i.prefix) > len(longest) {
				longest = i.prefix
				content := i.prefix + " git " + n.URL(repo.Path)
				if i.subdir != "" {
					content += " " + i.subdir
				}
				page = `<!DOCTYPE html><html><head><meta name="go-import" content="` +
					html.EscapeString(content) + `"></head><body>` + html.EscapeString(name) + "</body></html>\n"
			}
		}
	}
	return page
}

// serve starts a server for h, on l or, if that is nil, on loopback, and returns its
// address. At the end of the test it cancels hanging requests and closes.
func serve(t testing.TB, l net.Listener, h http.Handler) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewUnstartedServer(h)
	if l != nil {
		_ = s.Listener.Close()
		s.Listener = l
	}
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Config.ErrorLog = log.New(t.Output(), "modtest: ", 0)
	s.Start()
	t.Cleanup(func() {
		cancel()
		s.Close()
	})
	return s.Listener.Addr().String()
}
