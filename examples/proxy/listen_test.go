//go:build unix

package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestPrefix has the real go command use a proxy that is mounted below a path, by the line
// that it prints.
func TestPrefix(t *testing.T) {
	t.Parallel()
	up := modtest.NewGoProxy(t, sample(t))
	p := start(t, nil, nil, "-upstream", up.URL, "-miss", "fetch", "-prefix", "/build/go/")
	require.True(t, strings.HasSuffix(p.URL, "/build/go"), p.URL)
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY="+p.URL, "GONOSUMDB=*")
	g.MustDownload("up.test/m@v1.0.0")
	_, page := request(t, p.URL+"/")
	assert.Contains(t, page, "GOPROXY="+p.URL)
	resp, _ := request(t, strings.TrimSuffix(p.URL, "/build/go")+"/readyz")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

// TestSocketFile has the real go command reach a proxy at a socket file, by way of a
// reverse proxy whose word on its clients counts.
func TestSocketFile(t *testing.T) {
	t.Parallel()
	up := modtest.NewGoProxy(t, sample(t))
	dir, err := os.MkdirTemp("/tmp", "sock") // a path of t.TempDir may be too long
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, stdout := io.Pipe()
	var log strings.Builder // read when the server has ended
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-addr", "unix:" + socket, "-socket-mode", "600", "-trusted-proxy", "unix", "-dir", t.TempDir(),
			"-upstream", up.URL, "-miss", "fetch", "-private", ""}, stdout, &log)
		_ = stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "# listening on unix:"+socket+": have a reverse proxy pass requests on to it, and point GOPROXY at that\n", line)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	target := &url.URL{Scheme: "http", Host: "proxy.test"}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host; r.SetXForwarded() },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
	})
	defer front.Close()
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY="+front.URL, "GONOSUMDB=*")
	g.MustDownload("up.test/m@v1.0.0")
	_, page := request(t, front.URL+"/")
	assert.Contains(t, page, "GOPROXY="+front.URL)
	cancel()
	require.NoError(t, <-ended)
	assert.Contains(t, log.String(), "client=127.0.0.1")
}
