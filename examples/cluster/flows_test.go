package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/nats/embedded"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/auth"
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
	w.bin = filepath.Join(programsIn(t, t.TempDir()), "replica")
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
func (w *world) proxy(more ...string) *modtest.Process {
	args := append([]string{"-addr", "127.0.0.1:0", "-dir", w.t.TempDir(), "-bucket", w.s3.URL("modules"), "-nats", w.queue,
		"-upstream", w.upstream, "-private", "corp.test", "-fill-after", "0"}, more...)
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

	w.takeBack(want)
	w.follow()
	w.jobsOnly()
}

// takeBack has an operator remove a version that the bucket holds at one proxy, and look at
// the bucket and restore the version by the tool.
func (w *world) takeBack(sum string) {
	t := w.t
	secret, line, err := auth.NewToken("ops", "corp.test", auth.Admin)
	require.NoError(t, err)
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(line+"\n"), 0o600))
	url := w.proxy("-tokens", tokens).URL
	tool := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), w.bin, append([]string{"store"}, args...)...)
		cmd.Env = append(append(os.Environ(), modtest.S3Env()...), "ATHENS_TOKEN="+secret)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	const plans = "corp.test/secret/plans@v1.0.0"
	bucket := w.s3.URL("modules")
	assert.Equal(t, "removed: "+plans+"\n", tool("rm", "-server", url, "-reason", "leaks a key", plans))
	other := w.proxy()
	resp, err := http.Get(other.URL + "/corp.test/secret/plans/@v/v1.0.0.info")
	require.NoError(t, err)
	said, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	assert.Equal(t, http.StatusGone, resp.StatusCode)
	assert.Contains(t, string(said), "leaks a key")
	assert.Equal(t, "git.test/simple@v1.0.0\n"+plans+"  removed: leaks a key\n", tool("ls", "-dir", bucket))
	assert.Regexp(t, `^ +\d+  git.test/simple\n +\d+  total\n$`, tool("du", "-dir", bucket))
	assert.Equal(t, "1 versions, 0 damaged\n", tool("verify", "-dir", bucket))
	assert.Equal(t, "restored: "+plans+"\n", tool("restore", "-dir", bucket, plans))
	again, _, _ := w.download(w.proxy(), plans)
	assert.Equal(t, sum, again)
}

// jobsOnly starts a proxy with -oidc: jobs of the issuers in a file are let in, and nobody else is.
func (w *world) jobsOnly() {
	t := w.t
	file := filepath.Join(t.TempDir(), "jobs")
	require.NoError(t, os.WriteFile(file, []byte("issuer https://gitlab.test gitlab\naudience x\nallow * read sub=*\n"), 0o600))
	guarded := w.proxy("-oidc", file)
	for token, says := range map[string]string{
		"": "log in", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL290aGVyLnRlc3QifQ.": "tokens of this issuer are not accepted here",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, guarded.URL+"/git.test/simple/@v/v1.0.0.info", nil)
		require.NoError(t, err)
		if token != "" {
			r.SetBasicAuth("job", token)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		assert.Contains(t, string(body), says)
	}
}
