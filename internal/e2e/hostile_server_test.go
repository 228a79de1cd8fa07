package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
)

// hostileServer is a server that answers some files as no server should, byte for byte,
// and the others well. It counts what it gets rid of.
type hostileServer struct {
	URL  string
	good map[string][]byte               // by the end of a path
	evil map[string]func(conn io.Writer) // by the end of a path
	sent atomic.Int64
}

// newHostileServer starts a hostile server that ends with the test.
func newHostileServer(t *testing.T, good map[string][]byte) *hostileServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	v := &hostileServer{URL: "http://" + l.Addr().String(), good: good, evil: map[string]func(io.Writer){}}
	var (
		mu      sync.Mutex
		conns   []net.Conn
		serving sync.WaitGroup
	)
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			serving.Go(func() { v.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return v
}

// serve answers one request.
func (v *hostileServer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	for end, answer := range v.evil {
		if strings.HasSuffix(r.URL.Path, end) {
			answer(&countedConn{conn, &v.sent})
			return
		}
	}
	for end, body := range v.good {
		if strings.HasSuffix(r.URL.Path, end) {
			_, _ = io.WriteString(conn, statusOKLine+"Connection: close\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+string(body))
			return
		}
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

const statusOKLine = "HTTP/1.1 200 OK\r\n"

// countedConn counts what is sent to it.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (v *countedConn) Write(p []byte) (int, error) {
	n, err := v.Conn.Write(p)
	v.sent.Add(int64(n))
	return n, err
}

// answerText answers with that text.
func answerText(text string) func(io.Writer) {
	return func(conn io.Writer) { _, _ = io.WriteString(conn, text) }
}

// answerEndlessly answers with a beginning, and then with the same again and again.
func answerEndlessly(begin, again string) func(io.Writer) {
	for len(again) < 16<<10 {
		again += again
	}
	return func(conn io.Writer) {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			_, err = io.WriteString(conn, again)
		}
	}
}

// answerAndHang answers with a beginning, and then with nothing until the client goes.
func answerAndHang(begin string) func(io.Writer) {
	return func(conn io.Writer) {
		_, _ = io.WriteString(conn, begin)
		_, _ = io.Copy(io.Discard, conn.(io.Reader))
	}
}

// targetServer is a server under test on a store of its own.
type targetServer struct {
	URL     string
	dir     string
	handler *athens.Handler
	end     func()
}

// newTargetServer starts a server.
func newTargetServer(t *testing.T, opts *athens.Options) *targetServer {
	dir := t.TempDir()
	store, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	h, err := athens.NewHandler(store, opts)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	return &targetServer{server.URL, dir, h, func() {
		server.Close()
		require.NoError(t, h.Shutdown(context.Background()))
	}}
}

// get asks for a path. whole reports whether the answer is one that a client takes
// for good. The status is 0 if the server cut the answer off before its first byte left.
func (x *targetServer) get(t *testing.T, path string) (whole bool, status int, body string) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, x.URL+path, nil))
	if errors.Is(err, io.EOF) {
		return false, 0, ""
	}
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode < 400, resp.StatusCode, string(b)
}

// files are those of the store, its temporary ones included, but for locks.
func (x *targetServer) files(t *testing.T) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(x.dir, func(name string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(x.dir, name); err == nil && !d.IsDir() && !strings.HasPrefix(filepath.ToSlash(rel), ".athens/lock") {
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	}))
	return names
}

// checkAllocated checks that f allocates no more than most bytes, all in all.
func checkAllocated(t *testing.T, most uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		assert.Failf(t, "memory", "%d MiB were allocated, more than %d", got>>20, most>>20)
	} else if os.Getenv("ATHENS_VERBOSE") != "" {
		t.Logf("%d KiB allocated", got>>10)
	}
}
