package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// prey is a server as the mains start it, of one version that is held.
type prey struct {
	*http.Server
	addr, dir string
	gone      chan struct{} // gets one for each connection that is closed
}

const zipSize = 24 << 20 // more than the buffers of two sockets

// newPrey starts a server. Its limits may be changed before.
func newPrey(t testing.TB, opts athens.Options, change ...func(*http.Server)) *prey {
	p := &prey{dir: t.TempDir(), gone: make(chan struct{}, 20_000)}
	m := modtest.NewVersion(t, "held.test/m", "v1.0.0", map[string]string{"go.mod": "module held.test/m\n"})
	for name, body := range map[string][]byte{".info": m.Info, ".mod": m.Mod, ".zip": make([]byte, zipSize)} {
		folder := filepath.Join(p.dir, "held.test/m/@v")
		require.NoError(t, os.MkdirAll(folder, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "v1.0.0"+name), body, 0o666))
	}
	store, err := storage.NewDisk(p.dir, nil)
	require.NoError(t, err)
	h, err := athens.NewHandler(store, &opts)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.addr, p.Server = l.Addr().String(), NewServer(h, slog.New(slog.DiscardHandler))
	for _, c := range change {
		c(p.Server)
	}
	p.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			p.gone <- struct{}{}
		}
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
		require.NoError(t, h.Shutdown(context.Background()))
	})
	return p
}

// dial connects, for at most a minute.
func (p *prey) dial(t testing.TB) net.Conn {
	conn, err := net.Dial("tcp", p.addr)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// answers returns the statuses of all that comes back until the connection ends.
func answers(conn net.Conn) (list []int) {
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return list
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if list = append(list, resp.StatusCode); err != nil {
			return list
		}
	}
}

// Each request, byte for byte as no library would send it, gets just the answers that
// it should: none is understood in two ways, and none is left waiting.
func TestHostileRequests(t *testing.T) {
	p := newPrey(t, athens.Options{})
	const get, host = "GET /held.test/m/@v/v1.0.0.mod HTTP/1.1\r\n", "Host: x\r\n"
	const end = host + "Connection: close\r\n\r\n"
	ranged := func(ranges string) string { return get + "Range: bytes=" + ranges + "\r\n" + end }
	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"plain":             {get + end, []int{200}},
		"pipelined":         {strings.Repeat(get+host+"\r\n", 20) + "DELETE /x HTTP/1.1\r\n" + end, append(repeat(200, 20), 405)},
		"two lengths":       {get + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab" + get + end, []int{400}},
		"list of lengths":   {get + host + "Content-Length: 1, 1\r\n\r\na" + get + end, []int{400}},
		"length and chunks": {get + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get + end, []int{200}},
		"odd coding":        {get + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + get + end, []int{501}},
		"coding twice":      {get + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + get + end, []int{501}},
		"negative length":   {get + host + "Content-Length: -1\r\n\r\n" + get + end, []int{400}},
		"a body":            {get + host + "Content-Length: 3\r\n\r\nabc" + get + end, []int{200}},
		"a body in chunks":  {get + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get + end, []int{200}},
		"a request as body": {get + host + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(get+end)) + get + end + "DELETE / HTTP/1.1\r\n" + end, []int{200}},
		"bad chunks":        {get + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n" + get + end, []int{200}},
		"folded header":     {get + "X: a\r\n b\r\n" + end, []int{200}},
		"blank in a name":   {get + "Host : x\r\n" + end, []int{400}},
		"bare newlines":     {strings.ReplaceAll(get+end, "\r\n", "\n"), []int{200}},
		"no host":           {get + "Connection: close\r\n\r\n", []int{400}},
		"two hosts":         {get + host + end, []int{400}},
		"bad host":          {get + "Host: a/b\r\nConnection: close\r\n\r\n", []int{400}},
		"bad header":        {get + "X\x00: y\r\n" + end, []int{400}},
		"version 9":         {"GET / HTTP/9.9\r\n" + end, []int{505}},
		"version 0":         {"GET /held.test/m/@v/v1.0.0.mod\r\n\r\n", []int{400}},
		"preface of h2":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{405}},
		"hello of TLS":      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}},
		"all of it":         {"OPTIONS * HTTP/1.1\r\n" + end, []int{200}},
		"connect":           {"CONNECT held.test:443 HTTP/1.1\r\n" + end, []int{405}},
		"trace":             {"TRACE /held.test/m/@v/v1.0.0.mod HTTP/1.1\r\n" + end, []int{405}},
		"absolute":          {"GET http://other.test/held.test/m/@v/v1.0.0.mod HTTP/1.1\r\n" + end, []int{200}},
		"upgrade":           {get + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + end, []int{200}},
		"expectation":       {get + "Expect: 200-maybe\r\n" + end, []int{417}},
		"large header":      {get + "X: " + strings.Repeat("x", 200<<10) + "\r\n" + end, []int{431}},
		"many headers":      {get + strings.Repeat("X: y\r\n", 40_000) + end, []int{431}},
		"long path":         {"GET /held.test/" + strings.Repeat("a", 100<<10) + "/@v/list HTTP/1.1\r\n" + end, []int{414}},
		"longer path":       {"GET /" + strings.Repeat("a", 300<<10) + " HTTP/1.1\r\n" + end, []int{431}},
		"range":             {ranged("0-3"), []int{206}},
		"last bytes":        {ranged("-5"), []int{206}},
		"more than all":     {ranged("-99999999999"), []int{206}},
		"behind the end":    {ranged("9999-"), []int{416}},
		"huge numbers":      {ranged("0-9223372036854775807"), []int{206}},
		"too huge numbers":  {ranged("99999999999999999999-"), []int{416}},
		"overlapping":       {ranged(strings.TrimSuffix(strings.Repeat("0-,", 1000), ",")), []int{200}},
		"no range":          {ranged("x"), []int{416}},
		"unknown unit":      {get + "Range: lines=1-2\r\n" + end, []int{200}},
		"many of a zip":     {strings.Replace(ranged(strings.TrimSuffix(strings.Repeat("0-,", 5000), ",")), ".mod", ".zip", 1), []int{200}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := p.dial(t)
			go func() { _, _ = io.WriteString(conn, c.request) }() // the server may hang up meanwhile
			assert.Equal(t, c.want, answers(conn))
		})
	}
}

func repeat(n, times int) (list []int) {
	for range times {
		list = append(list, n)
	}
	return list
}

// A client that announces a body and does not send it is answered, and let go.
func TestBodyThatNeverComes(t *testing.T) {
	p := newPrey(t, athens.Options{})
	var conns []net.Conn
	for _, method := range []string{"GET", "POST"} {
		conn := p.dial(t)
		_, err := io.WriteString(conn, method+" /held.test/m/@v/v1.0.0.mod HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		assert.Len(t, answers(conn), 1)
	}
}

// A client that reads nothing of a large zip does not hold it for ever.
func TestReaderWhoDoesNotRead(t *testing.T) {
	p := newPrey(t, athens.Options{WriteTimeout: 100 * time.Millisecond})
	const n = 20
	for range n {
		conn := p.dial(t)
		_, err := io.WriteString(conn, "GET /held.test/m/@v/v1.0.0.zip HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
	}
	for range n {
		<-p.gone
	}
	// Who reads gets all, and the next answer on the same connection has its time.
	p = newPrey(t, athens.Options{})
	conn := p.dial(t)
	in := bufio.NewReader(conn)
	for range 3 {
		_, err := io.WriteString(conn, "GET /held.test/m/@v/v1.0.0.zip HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		got, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		assert.EqualValues(t, zipSize, got)
	}
}

// The same of a large zip that is still arriving.
func TestFollowerWhoDoesNotRead(t *testing.T) {
	end := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".zip") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(make([]byte, zipSize))
		<-end // and it could go on
	}))
	defer upstream.Close()
	defer close(end)
	source, err := redirect.New(upstream.URL, nil)
	require.NoError(t, err)
	p := newPrey(t, athens.Options{Upstream: source, MissFetch: true, Prefetch: -1, WriteTimeout: 100 * time.Millisecond})
	for range 5 {
		_, err := io.WriteString(p.dial(t), "GET /cold.test/m/@v/v1.0.0.zip HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
	}
	for range 5 {
		<-p.gone
	}
}

// Who sends a header byte by byte, or nothing more, is let go; no server is without a
// limit.
func TestSlowHeaders(t *testing.T) {
	limits := NewServer(nil, slog.New(slog.DiscardHandler))
	for name, limit := range map[string]time.Duration{"header": limits.ReadHeaderTimeout, "write": limits.WriteTimeout, "idle": limits.IdleTimeout} {
		assert.Positive(t, limit, name)
	}
	assert.Positive(t, limits.MaxHeaderBytes)
	p := newPrey(t, athens.Options{}, func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond })
	const request = "GET /held.test/m/@v/v1.0.0.mod HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, begin := range []string{"", "G", "GET / HTTP/1.1\r\nX: ", request, request + "G"} {
		conn := p.dial(t)
		_, err := io.WriteString(conn, begin)
		require.NoError(t, err)
		if strings.HasSuffix(begin, ": ") {
			go func() {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for range tick.C {
					if _, err := conn.Write([]byte("x")); err != nil {
						return
					}
				}
			}()
		}
	}
	for range 5 {
		<-p.gone
	}
}

// A flood of requests for what does not exist leaves no file, and asks the upstream
// for no more at once than it may.
func TestFloodOfNames(t *testing.T) {
	const most = 8
	var now, peak atomic.Int64
	up := modtest.NewTap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for n := now.Add(1); ; {
			if old := peak.Load(); n <= old || peak.CompareAndSwap(old, n) {
				break
			}
		}
		defer now.Add(-1)
		http.NotFound(w, r)
	}))
	upstream := &http.Server{Handler: up}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go upstream.Serve(l)
	defer upstream.Close()
	source, err := redirect.New("http://"+l.Addr().String(), &redirect.Options{MaxConns: most, QueueTimeout: time.Minute, Tries: 1})
	require.NoError(t, err)
	p := newPrey(t, athens.Options{Upstream: source, MissFetch: true, AnswerCacheBytes: 64 << 10})
	before := count(t, p.dir)
	errs := make(chan error)
	const clients, each = 40, 40
	for i := range clients {
		go func() {
			errs <- func() error {
				conn, err := net.Dial("tcp", p.addr)
				if err != nil {
					return err
				}
				defer conn.Close()
				in := bufio.NewReader(conn)
				for j := range each {
					file := []string{"@v/list", "@latest", "@v/v1.0.0.zip", "@v/v1.0.0.info", "@v/main.info"}[j%5]
					if _, err := fmt.Fprintf(conn, "GET /flood.test/m%d-%d/%s HTTP/1.1\r\nHost: x\r\n\r\n", i, j, file); err != nil {
						return err
					}
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						return err
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusNotFound {
						return errors.Join(err, fmt.Errorf("status %d", resp.StatusCode))
					}
				}
				return nil
			}()
		}()
	}
	for range clients {
		assert.NoError(t, <-errs)
	}
	assert.LessOrEqual(t, peak.Load(), int64(most))
	assert.Equal(t, before, count(t, p.dir), "files")
}

// count counts files.
func count(t *testing.T, dir string) (n int) {
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	}))
	return n
}
