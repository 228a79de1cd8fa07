//go:build unix

package serve_test

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/serve"
)

// shortDir returns a folder whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "sock")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// onSocket runs a server on unix:path. The function that it returns stops it.
func onSocket(t *testing.T, path string, opts serve.Options) (stop func() error) {
	h, err := athens.NewHandler(athenstest.NewStore(t), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	opts.Addr, opts.Listening = "unix:"+path, func(addr net.Addr) { listening <- addr }
	go func() { ended <- serve.Run(ctx, h, &opts) }()
	select {
	case addr := <-listening:
		assert.Equal(t, "unix", addr.Network())
	case err := <-ended:
		cancel()
		require.NoError(t, err)
	}
	return func() error { cancel(); return <-ended }
}

// get asks the server at a socket file.
func get(t *testing.T, socket, path string) (int, string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://socket.test" + path)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(body)
}

func TestSocketFile(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	for range 2 { // the second on what the first has left
		stop := onSocket(t, socket, serve.Options{SocketMode: 0o640})
		info, err := os.Stat(socket)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
		code, _ := get(t, socket, "/healthz")
		assert.Equal(t, http.StatusOK, code)

		h, err := athens.NewHandler(athenstest.NewStore(t), nil)
		require.NoError(t, err)
		err = serve.Run(t.Context(), h, &serve.Options{Addr: "unix:" + socket})
		require.ErrorContains(t, err, "another process listens on "+socket)
		code, _ = get(t, socket, "/healthz")
		assert.Equal(t, http.StatusOK, code, "the first one still serves")

		require.NoError(t, stop())
		_, err = os.Lstat(socket)
		require.ErrorIs(t, err, fs.ErrNotExist, "a server that stops in order leaves nothing")
		// What a killed one leaves: a file on which nobody listens.
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
		require.NoError(t, err)
		l.SetUnlinkOnClose(false)
		require.NoError(t, l.Close())
	}
	stop := onSocket(t, socket, serve.Options{})
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o660), info.Mode().Perm())
	require.NoError(t, stop())
}

func TestBadSockets(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	h, err := athens.NewHandler(athenstest.NewStore(t), nil)
	require.NoError(t, err)
	for addr, want := range map[string]string{
		"unix:":                             "has no path",
		"unix:@abstract":                    "abstract socket",
		"unix:/" + strings.Repeat("x", 200): "choose a shorter one",
		"unix:" + file:                      "is not a socket",
		"unix:" + dir:                       "is not a socket",
		"unix:" + filepath.Join(file, "s"):  "not a directory",
		"unix:" + filepath.Join(dir, "n/s"): "no such file or directory",
	} {
		err := serve.Run(t.Context(), h, &serve.Options{Addr: addr})
		assert.ErrorContains(t, err, want, addr)
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(text))
	err = serve.Run(t.Context(), h, &serve.Options{SocketMode: fs.ModeDir | 0o700})
	assert.ErrorContains(t, err, "SocketMode")
}

// Below a prefix all is as at the root; the probes answer at both places.
func TestPrefix(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	stop := onSocket(t, socket, serve.Options{Prefix: "/build/go/"})
	for path, want := range map[string]int{
		"/build/go/": 200, "/build/go": 200, "/build/go/healthz": 200, "/healthz": 200, "/readyz": 200,
		"/": 404, "/build/goo": 404, "/build": 404, "/example.com/m/@v/list": 404, "/build/go/build/go/": 404,
	} {
		code, body := get(t, socket, path)
		assert.Equal(t, want, code, "%s: %s", path, body)
	}
	_, page := get(t, socket, "/build/go/")
	assert.Contains(t, page, "GOPROXY=http://socket.test/build/go ")
	_, body := get(t, socket, "/build/go/example.com/m/@v/list")
	assert.Contains(t, body, "example.com/m: list: ")
	_, body = get(t, socket, "/example.com/m/@v/list")
	assert.Equal(t, "not found: this server serves modules below /build/go/\n", body)
	require.NoError(t, stop())

	h, err := athens.NewHandler(athenstest.NewStore(t), nil)
	require.NoError(t, err)
	for _, prefix := range []string{"go", "/a//b", "/a/../b", "/a b", "/%61", "//"} {
		assert.ErrorContains(t, serve.Run(t.Context(), h, &serve.Options{Prefix: prefix}), "prefix", prefix)
	}
}
