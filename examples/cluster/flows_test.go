package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/nats/embedded"
	"github.com/athens-go/athens/internal/modtest"
)

// world is a registry, version control, a bucket and a queue, on which proxies
// come and go.
type world struct {
	t        *testing.T
	net      *modtest.Internet
	s3       *modtest.S3
	queue    string
	registry *modtest.Tap // counts what comes in
	upstream string
	bin      string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, net: modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...), s3: modtest.NewS3(t, "modules")}
	programs, err := build(t.Context(), t.TempDir(), &options{bucket: "there"}, t.Output())
	require.NoError(t, err)
	w.bin = programs.replica
	server, err := embedded.New(t.TempDir(), &embedded.Options{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	w.queue = "nats://" + server.Addr()

	registry := modtest.Start(t, modtest.Build(t, "./examples/registry"), []string{"-addr", "127.0.0.1:0", "-dir", t.TempDir()}, modtest.NewGo(t, w.net).Env())
	to, err := url.Parse(registry.URL)
	require.NoError(t, err)
	w.registry = modtest.NewTap(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }})
	front := httptest.NewServer(w.registry)
	t.Cleanup(front.Close)
	w.upstream = front.URL
	return w
}

// proxy starts a proxy that shares bucket and queue with the others.
func (w *world) proxy() *modtest.Process {
	args := []string{"-addr", "127.0.0.1:0", "-dir", w.t.TempDir(), "-bucket", w.s3.URL("modules"), "-nats", w.queue,
		"-upstream", w.upstream, "-private", "corp.test", "-fill-after", "0"}
	return modtest.Start(w.t, w.bin, args, append(modtest.NewGo(w.t, w.net).Env(), modtest.S3Env()...))
}

// download has a fresh client download a version through a proxy, and returns how
// many calls that made to the registry and to version control.
func (w *world) download(p *modtest.Process, ref string) (sum string, registry, vcs int) {
	w.t.Helper()
	w.registry.Reset()
	w.net.Reset()
	g := modtest.NewGo(w.t, w.net)
	g.Set(p.Env...)
	sum = g.MustDownload(ref).Sum
	return sum, w.registry.Count(""), w.net.Count("")
}

// filled waits until a proxy serves the zip of a version itself.
func (w *world) filled(p *modtest.Process, path, version string) {
	w.t.Helper()
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(2 * time.Minute); ; <-tick.C {
		resp, err := direct.Head(p.URL + "/" + path + "/@v/" + version + ".zip")
		require.NoError(w.t, err)
		require.NoError(w.t, resp.Body.Close())
		if resp.StatusCode == http.StatusOK {
			return
		}
		require.True(w.t, time.Now().Before(limit), "the zip was not filled")
	}
}

// TestFlows runs the flows of docs/flows.md over a bucket and a queue that two
// proxies share.
func TestFlows(t *testing.T) {
	w := newWorld(t)
	one, two := w.proxy(), w.proxy()
	direct := modtest.NewGo(t, w.net)

	// Clean plate: one proxy is asked, and whichever of the two is free fills.
	want := direct.MustDownload("git.test/simple@v1.0.0").Sum
	sum, registry, vcs := w.download(one, "git.test/simple@v1.0.0")
	assert.Equal(t, want, sum)
	assert.NotZero(t, registry)
	assert.NotZero(t, vcs)
	w.filled(one, "git.test/simple", "v1.0.0")

	// Happy path, through the proxy that was not asked before.
	sum, registry, vcs = w.download(two, "git.test/simple@v1.0.0")
	assert.Equal(t, want, sum)
	assert.Zero(t, registry)
	assert.Zero(t, vcs)

	// A new proxy joins: it holds what the others do.
	sum, registry, vcs = w.download(w.proxy(), "git.test/simple@v1.0.0")
	assert.Equal(t, want, sum)
	assert.Zero(t, registry)
	assert.Zero(t, vcs)

	// A private module: fetched by one, served by the other.
	want = direct.MustDownload("corp.test/secret/plans@v1.0.0").Sum
	sum, registry, vcs = w.download(one, "corp.test/secret/plans@v1.0.0")
	assert.Equal(t, want, sum)
	assert.Zero(t, registry)
	assert.NotZero(t, vcs)
	w.filled(one, "corp.test/secret/plans", "v1.0.0")
	sum, registry, vcs = w.download(two, "corp.test/secret/plans@v1.0.0")
	assert.Equal(t, want, sum)
	assert.Zero(t, registry)
	assert.Zero(t, vcs)
}
