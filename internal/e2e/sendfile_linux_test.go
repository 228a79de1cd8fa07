package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/storage"
)

// countingListener counts the bytes that its connections are given as a file,
// which Go copies by sendfile(2), and by write(2).
type countingListener struct {
	net.Listener
	sent, written atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{conn.(*net.TCPConn), l}, nil
}

type countingConn struct {
	*net.TCPConn
	l *countingListener
}

func (c *countingConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.l.written.Add(int64(n))
	return n, err
}

// ReadFrom looks through one io.LimitedReader, as package net does, before it
// asks whether there is a file.
func (c *countingConn) ReadFrom(r io.Reader) (int64, error) {
	src := r
	if part, ok := r.(*io.LimitedReader); ok {
		src = part.R
	}
	n, err := c.TCPConn.ReadFrom(r)
	if _, ok := src.(*os.File); ok {
		c.l.sent.Add(n)
	} else {
		c.l.written.Add(n)
	}
	return n, err
}

// logging is a middleware's ResponseWriter that lets the file through.
type logging struct{ http.ResponseWriter }

func (l logging) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l logging) ReadFrom(r io.Reader) (int64, error) {
	return l.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
}

// writing is one that does not.
type writing struct{ http.ResponseWriter }

// A held zip goes from the disk to the client without a detour through this
// process, but for what net/http looks at to find out what it is.
func TestHeldZipIsSentByTheKernel(t *testing.T) {
	const sniffed = 512
	noise := make([]byte, 1<<20) // does not pack
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = 'a' + byte(x>>24)%26
	}
	v := athenstest.NewVersion(t, athenstest.Example, "big.txt", string(noise))
	disk, err := storage.NewDisk(t.TempDir(), nil)
	require.NoError(t, err)
	below, err := storage.New(afero.NewBasePathFs(afero.NewOsFs(), t.TempDir()), "/", nil)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		store *storage.Store
		wrap  func(http.ResponseWriter) http.ResponseWriter
		part  string
		sent  bool
	}{
		"disk":                              {disk, nil, "", true},
		"a part":                            {disk, nil, "bytes=1000-500000", true},
		"below a path":                      {below, nil, "", true},
		"middleware with ReadFrom":          {disk, func(w http.ResponseWriter) http.ResponseWriter { return logging{w} }, "", true},
		"middleware without: slower, right": {disk, func(w http.ResponseWriter) http.ResponseWriter { return writing{w} }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if len(athenstest.Held(t, c.store, athenstest.Example)) == 0 {
				athenstest.Hold(t, c.store, v, true)
			}
			h, err := athens.NewHandler(c.store, nil)
			require.NoError(t, err)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.wrap != nil {
					w = c.wrap(w)
				}
				h.ServeHTTP(w, r)
			}))
			l := &countingListener{Listener: server.Listener}
			server.Listener = l
			server.Start()
			defer server.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+athenstest.ZipPath, nil)
			require.NoError(t, err)
			want := v.Zip
			if c.part != "" {
				req.Header.Set("Range", c.part)
				want = v.Zip[1000:500001]
			}
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, string(want), string(body))
			server.Close() // the client is done before the server has counted
			if !c.sent {
				assert.Zero(t, l.sent.Load())
				return
			}
			assert.GreaterOrEqual(t, l.sent.Load(), int64(len(want)-sniffed))
			assert.Less(t, l.written.Load(), int64(sniffed+4096), "headers, and what was looked at")
			assert.False(t, strings.Contains(resp.Header.Get("Transfer-Encoding"), "chunked"))
		})
	}
}
