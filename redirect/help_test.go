package redirect_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/redirect"
)

// tree is a GOPROXY server of fixed answers that counts what it is asked.
type tree struct {
	files map[string]string

	mu    sync.Mutex
	asked []string
}

func (s *tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimPrefix(r.URL.Path, "/"))
	s.mu.Unlock()
	body, ok := s.files[strings.TrimPrefix(r.URL.Path, "/")]
	if !ok {
		http.Error(w, "not found: no such thing", http.StatusNotFound)
		return
	}
	io.WriteString(w, body)
}

// requests returns what was asked, and forgets it.
func (s *tree) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// info is a .info file.
func info(version string) string {
	return fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version)
}

// serve starts a server on loopback.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// once are options for what must not be tried twice.
func once() *redirect.Options { return &redirect.Options{Tries: 1} }

// upstream returns the Upstream at a URL.
func upstream(t *testing.T, url string, o *redirect.Options) *redirect.Upstream {
	u, err := redirect.New(url, o)
	require.NoError(t, err)
	return u
}

// wire connects clients with a server in memory, so that a test in a bubble of
// testing/synctest can wait for them.
type wire struct {
	conns chan net.Conn
	down  chan struct{} // closed when the server ends
	once  sync.Once
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.down:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.once.Do(func() { close(w.down) }); return nil }
func (w *wire) Addr() net.Addr { return &net.UnixAddr{Name: "wire"} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case w.conns <- theirs:
		return ours, nil
	case <-w.down:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connection refused")}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wired returns options whose Transport leads to h without a network.
func wired(t *testing.T, h http.Handler) (*redirect.Options, *wire) {
	w := &wire{conns: make(chan net.Conn), down: make(chan struct{})}
	srv := &http.Server{Handler: h}
	go srv.Serve(w)
	transport := &http.Transport{DialContext: w.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
	})
	return &redirect.Options{Transport: transport}, w
}
