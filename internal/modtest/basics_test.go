package modtest_test

import (
	"bytes"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestCountsWhatTheGoCommandAsks(t *testing.T) {
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "vanity")...)
	g := modtest.NewGo(t, net)
	d := g.MustDownload("corp.test/go/lib@v0.3.0")
	assert.Equal(t, "http://git.test/team/backend-lib.git", d.Origin.URL)
	assert.Equal(t, 1, net.Count("corp.test"), "one page, beside the refused CONNECT")
	assert.Equal(t, 2, net.Count("corp.test*"))
	assert.NotZero(t, net.Packs("git.test/team/backend-lib.git"))
	assert.Zero(t, net.Count("git.test/simple"))
	net.Reset()
	g.MustDownload("corp.test/go/lib@v0.3.0")
	assert.Zero(t, net.Count(""), "the module cache has it")
	g.Clean()
	g.MustDownload("corp.test/go/lib@v0.3.0")
	assert.NotZero(t, net.Count(""))
}

func TestRequestSaysWhatWasAsked(t *testing.T) {
	net, client := greeting(t)
	net.Secure("shop.test")
	for _, url := range []string{"http://shop.test/a?b=c", "https://shop.test/a", net.Direct("shop.test/a")} {
		req, err := http.NewRequest("POST", url, bytes.NewReader([]byte("x")))
		require.NoError(t, err)
		req.Header.Set("Via", "1.1 athens")
		resp, err := client.Do(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	all := net.Requests("shop.test/a")
	require.Len(t, all, 3)
	assert.Equal(t, "POST shop.test/a?b=c 200", all[0].String())
	assert.Equal(t, "1.1 athens", all[0].Header.Get("Via"))
	assert.Equal(t, int64(11), all[0].Sent)
	assert.Equal(t, []bool{true, true, false}, []bool{all[0].Proxied, all[1].Proxied, all[2].Proxied})
	assert.Equal(t, []bool{false, true, false}, []bool{all[0].TLS, all[1].TLS, all[2].TLS})
	assert.Len(t, net.Requests("*.test:443"), 1, "the CONNECT")
	status, _, err := get(client, "http://nowhere.test/")
	require.NoError(t, err)
	assert.Equal(t, 404, status)
	_, _, err = get(client, "https://nowhere.test/")
	assert.Error(t, err)
}

func TestOnePackAClone(t *testing.T) {
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	g := modtest.NewGo(t, net)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = g.Dir, g.Env()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	git("ls-remote", net.URL("git.test/simple"))
	assert.Zero(t, net.Packs(""))
	git("clone", net.URL("git.test/simple"), "a")
	assert.Equal(t, 1, net.Packs("git.test/simple"))
	git("clone", net.Direct("git.test/simple"), "b")
	assert.Equal(t, 2, net.Packs("git.test/simple"))
	git("-c", "protocol.version=0", "clone", net.URL("git.test/simple"), "c")
	assert.Equal(t, 3, net.Packs("git.test/simple"))
}

func TestCredentialsFromNetrc(t *testing.T) {
	net := modtest.NewInternet(t, modtest.Ready(t, "vanity")...)
	net.Secure("corp.test", "git.test")
	net.Break("corp.test/*", modtest.BasicAuth("ada", "page"))
	net.Break("git.test/*", modtest.BasicAuth("ada", "repo"))
	g := modtest.NewGo(t, net)
	d := g.Download("corp.test/go/lib@v0.3.0")
	require.Len(t, d, 1)
	assert.Contains(t, d[0].Error, "401")
	assert.NotZero(t, net.Count("corp.test"))

	g.Netrc("corp.test", "ada", "page")
	d = g.Download("corp.test/go/lib@v0.3.0")
	require.Len(t, d, 1)
	assert.Contains(t, d[0].Error, "terminal prompts disabled", "git has nobody to ask")

	g.Netrc("git.test", "ada", "repo")
	assert.Equal(t, "https://git.test/team/backend-lib.git", g.MustDownload("corp.test/go/lib@v0.3.0").Origin.URL)
}

func TestGoOutsideOfAnyInternet(t *testing.T) {
	d := modtest.NewGo(t, nil).Download("git.test/simple@v1.0.0")
	require.Len(t, d, 1)
	assert.Contains(t, d[0].Error, "connection refused")
}

func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("inner", func(t *testing.T) {
		net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
		net.Secure("git.test")
		modtest.NewGo(t, net).MustDownload("git.test/simple@v1.0.0")
		p := modtest.NewGoProxy(t)
		client := &http.Client{Transport: net.Transport()}
		_, _, err := get(client, p.URL)
		require.NoError(t, err)
		_, _, err = get(client, "https://git.test/simple?go-get=1")
		require.NoError(t, err)
	})
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, time.Minute, time.Millisecond)
}
