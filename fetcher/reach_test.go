package fetcher_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// inside is a server behind the firewall, on loopback. It counts connections.
type inside struct {
	*httptest.Server
	conns, requests atomic.Int64
}

func newInside(t *testing.T) *inside {
	t.Helper()
	s := &inside{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		http.Error(w, "the keys to the kingdom", http.StatusTeapot)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// requireBlocked checks that policy, and nothing else, is the answer: one that
// names the path and does not tell addresses.
func requireBlocked(t *testing.T, err error, path string) {
	t.Helper()
	var blocked *athens.BlockedError
	require.ErrorAs(t, err, &blocked)
	assert.Equal(t, path, blocked.Path)
	assert.ErrorContains(t, err, "is not a public one")
	assert.True(t, athens.Final(err))
	assert.NotErrorAs(t, err, new(*athens.MissingError))
	assert.NotContains(t, err.Error(), "kingdom")
}

// Whoever owns a public path can write what its page, redirects and name say.
// None of it makes this server connect to a private address.
func TestPublicPathsStayOutside(t *testing.T) {
	in := newInside(t)
	port := in.URL[strings.LastIndex(in.URL, ":"):]
	redirect := func(n *modtest.Internet, pattern, to string) {
		n.Break(pattern, func(http.Handler) http.Handler { return http.RedirectHandler(to, http.StatusFound) })
	}
	for name, attack := range map[string]func(t *testing.T, n *modtest.Internet, o *fetcher.Options){
		"page names it": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", in.URL+"/x")
		},
		"page names mod": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "mod", in.URL)
		},
		"page redirects": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) { redirect(n, "git.test/simple", in.URL) },
		"git redirects": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "http://git.test/simple")
			redirect(n, "git.test/simple/info", in.URL+"/x/info/refs?service=git-upload-pack")
		},
		"git protocol": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "git://127.0.0.1"+port+"/x")
		},
		"local name": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "git://localhost"+port+"/x")
		},
		"mapped address": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "git://[::ffff:127.0.0.1]"+port+"/x")
		},
		"no address": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "git://0.0.0.0"+port+"/x")
		},
		"private address": func(_ *testing.T, n *modtest.Internet, _ *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "git://10.11.12.13/x")
		},
		"ssh": func(t *testing.T, n *modtest.Internet, o *fetcher.Options) {
			s, home := newSSHServer(t, newEd25519(t)), newSSHHome(t)
			home.reach("code.test", s)
			s.allow(home.key("id_ed25519", newEd25519(t), ""))
			o.SSHDir = home.dir
			t.Cleanup(func() { assert.Zero(t, s.dialed.Load()) })
			httpPage(n, "git.test/simple", "git", "ssh://git@code.test/simple")
		},
		"insteadOf": func(t *testing.T, n *modtest.Internet, o *fetcher.Options) {
			httpPage(n, "git.test/simple", "git", "http://git.test/simple")
			o.GitConfig = gitConfig(t, "[url \""+in.URL+"/\"]\n insteadOf = http://git.test/\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := modtest.NewInternet(t)
			f := newFetcher(t, n, func(o *fetcher.Options) {
				attack(t, n, o)
				o.Private = "corp.test/simple"
			})
			in.conns.Store(0)
			_, err := f.Versions(t.Context(), "git.test/simple")
			requireBlocked(t, err, "git.test/simple")
			_, err = f.Resolve(t.Context(), "git.test/simple", "latest")
			requireBlocked(t, err, "git.test/simple")
			assert.Zero(t, in.conns.Load(), "connections to what is inside")
		})
	}
}

// What is private may be inside; what a private path was told is not told to a
// public one that names the same repository.
func TestPrivatePathsReachInside(t *testing.T) {
	repo := modtest.Ready(t, "simple")[0]
	n := modtest.NewInternet(t, repo)
	f := newFetcher(t, n, func(o *fetcher.Options) {
		o.Private = "corp.test"
	})
	httpPage(n, "corp.test/simple", "git", n.Direct("git.test/simple"))
	httpPage(n, "public.test/simple", "git", n.Direct("git.test/simple"))
	for range 2 {
		_, err := f.Versions(t.Context(), "public.test/simple")
		requireBlocked(t, err, "public.test/simple")
		list, err := f.Versions(t.Context(), "corp.test/simple")
		require.NoError(t, err)
		assert.Equal(t, []string{"v1.0.0", "v1.1.0", "v1.2.0"}, list)
	}
	_, err := modtest.FetchAll(t, f, "public.test/simple", "v1.0.0")
	requireBlocked(t, err, "public.test/simple")
}

// Within a handler's work the handler says what is private, and for each caller
// anew.
func TestHandlerSaysWhatIsPrivate(t *testing.T) {
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")[0])
	f := newFetcher(t, n, func(o *fetcher.Options) { o.Private = "public.test" })
	httpPage(n, "corp.test/simple", "git", n.Direct("git.test/simple"))
	httpPage(n, "public.test/simple", "git", n.Direct("git.test/simple"))
	for range 2 {
		_, err := f.Versions(athens.RequestInfo{Private: new(true)}.Context(t.Context()), "corp.test/simple")
		require.NoError(t, err)
		_, err = f.Versions(t.Context(), "corp.test/simple")
		requireBlocked(t, err, "corp.test/simple")
		_, err = f.Versions(athens.RequestInfo{Private: new(false)}.Context(t.Context()), "public.test/simple")
		requireBlocked(t, err, "public.test/simple")
	}
}

// A transport that dials by itself is judged by where its connections lead:
// nothing is sent through one that leads inside.
func TestOwnDialIsJudged(t *testing.T) {
	in := newInside(t)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, in.Listener.Addr().String())
	}
	old := func(network, address string) (net.Conn, error) { return dial(context.Background(), network, address) }
	for name, transport := range map[string]*http.Transport{
		"DialContext":    {DialContext: dial},
		"DialTLSContext": {DialContext: dial, DialTLSContext: dial},
		"Dial":           {Dial: old},
		"DialTLS":        {Dial: old, DialTLS: old},
	} {
		t.Run(name, func(t *testing.T) {
			in.requests.Store(0)
			for _, insecure := range []string{"none", "*.test"} {
				f, err := fetcher.New(t.TempDir(), &fetcher.Options{
					Transport: transport, Insecure: insecure, Netrc: "none", GitConfig: "none", SSHDir: "none",
				})
				require.NoError(t, err)
				_, err = f.Versions(t.Context(), "rebound.test/x")
				requireBlocked(t, err, "rebound.test/x")
				_, err = f.Versions(t.Context(), "rebound.test/x.git")
				requireBlocked(t, err, "rebound.test/x.git")
				require.NoError(t, f.Close())
			}
			assert.Zero(t, in.requests.Load())
			transport.CloseIdleConnections()
		})
	}
}

// A transport of a kind that is not known can't be judged, nor can what a proxy
// connects to.
func TestOwnTransportIsNotJudged(t *testing.T) {
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	transport := n.Transport()
	f := newFetcher(t, n, func(o *fetcher.Options) {
		o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) { return transport.RoundTrip(r) })
	})
	_, err := f.Versions(t.Context(), "git.test/simple")
	require.NoError(t, err)

	broken := newFetcher(t, n, func(o *fetcher.Options) {
		o.Transport = &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, io.ErrNoProgress }}
	})
	_, err = broken.Versions(t.Context(), "git.test/simple")
	requireOutage(t, err, io.ErrNoProgress.Error())
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// More redirects than allowed are refused, for pages and repositories alike.
func TestRedirectsAreCounted(t *testing.T) {
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	httpPage(n, "corp.test/simple", "git", "http://round.test/simple")
	for _, host := range []string{"round.test", "page.test"} {
		n.Handle(host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+host+filepath.ToSlash(filepath.Join("/x", r.URL.Path))+"?"+r.URL.RawQuery, http.StatusFound)
		}))
	}
	f := newFetcher(t, n, func(o *fetcher.Options) { o.MaxRedirects = 3 })
	for _, path := range []string{"corp.test/simple", "page.test/simple"} {
		_, err := f.Versions(t.Context(), path)
		assert.ErrorContains(t, err, "stopped after 3 redirects", path)
	}
	assert.Equal(t, 3, n.Count("round.test"))
}
