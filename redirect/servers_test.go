package redirect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/redirect/rules"
)

// memory is a store of the simplest kind: nothing in it conflicts.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte // by version and extension
}

func (s *memory) set(m module.Version, f athens.File, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[m.String()+"."+f.String()] = data
}

func (s *memory) Open(_ context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.files[m.String()+"."+f.String()]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &athens.Object{Body: closer{bytes.NewReader(data)}, Size: int64(len(data))}, nil
}

type closer struct{ io.ReadSeeker }

func (closer) Close() error { return nil }

func (s *memory) Put(_ context.Context, m module.Version, info *athens.Info, mod []byte) error {
	data, err := json.Marshal(info)
	s.set(m, athens.InfoFile, data)
	s.set(m, athens.ModFile, mod)
	return err
}

func (s *memory) Stage(context.Context) (athens.Stage, error)        { return &stage{store: s}, nil }
func (s *memory) Versions(context.Context, string) ([]string, error) { return nil, nil }

// stage is a zip on its way.
type stage struct {
	store *memory
	mu    sync.Mutex
	data  []byte
}

func (s *stage) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, p...)
	return len(p), nil
}

func (s *stage) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.NewReader(s.data).ReadAt(p, off)
}

func (s *stage) Commit(_ context.Context, m module.Version, _ string) error {
	s.store.set(m, athens.ZipFile, s.data)
	return nil
}

func (s *stage) Close() error { return nil }

// athensServer starts a server of this project that asks an upstream for its
// clients: itself if upstreamURL is empty.
func athensServer(t *testing.T, upstreamURL string, r *rules.Rules) *httptest.Server {
	t.Helper()
	var h *athens.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	if upstreamURL == "" {
		upstreamURL = srv.URL
	}
	up, err := redirect.New(upstreamURL, nil)
	require.NoError(t, err)
	h, err = athens.NewHandler(&memory{files: make(map[string][]byte)}, &athens.Options{Upstream: up, MissFetch: true, Route: r.Route})
	require.NoError(t, err)
	t.Cleanup(func() {
		srv.Close()
		assert.NoError(t, h.Shutdown(context.WithoutCancel(t.Context())))
	})
	return srv
}

// get returns the status and the body of a GET.
func get(t *testing.T, url string) (int, string) {
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// What one server says is said again by the one in front of it, as what it is.
func TestServersInARow(t *testing.T) {
	p, v := goproxy(t)
	blocked, err := rules.Parse("rules.txt", strings.NewReader("block git.test/Upper =1.0.0 # CVE-1"))
	require.NoError(t, err)
	behind := athensServer(t, p.URL, blocked)
	front := athensServer(t, behind.URL, nil)
	const at = "/git.test/!upper/@v/"

	code, body := get(t, front.URL+at+"v1.1.0.zip")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, string(v.Zip), body)
	code, body = get(t, front.URL+at+"list")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "v1.1.0\nv1.2.0-RC.1\n", body)

	code, body = get(t, front.URL+at+"v1.0.0.zip")
	assert.Equal(t, http.StatusForbidden, code)
	assert.Equal(t, "git.test/Upper@v1.0.0: .zip: not held, asked upstream: blocked: CVE-1 (rules.txt:1)\n", body)
	code, body = get(t, front.URL+at+"v9.0.0.info")
	assert.Equal(t, http.StatusNotFound, code, body)
	assert.Equal(t, 1, strings.Count(body, "not found"), body)

	mend := p.Break("", modtest.Swap("/git.test/!upper/@v/v1.1.0.info"))
	code, body = get(t, front.URL+at+"v1.2.0-!r!c.1.info")
	assert.Equal(t, http.StatusBadGateway, code, body)
	mend()
	mend = p.Break("", modtest.Body(modtest.SignIn))
	code, body = get(t, front.URL+at+"v1.4.0.info")
	assert.Equal(t, http.StatusServiceUnavailable, code, body)
	assert.Contains(t, body, "an HTML page, perhaps a sign-in or maintenance page")
	mend()
	p.Break("", modtest.Status(503))
	code, body = get(t, front.URL+at+"v1.3.0.mod")
	assert.Equal(t, http.StatusServiceUnavailable, code, body)
}

// A server that is its own upstream finds out at once, and says so.
func TestServerOfItself(t *testing.T) {
	srv := athensServer(t, "", nil)
	for _, path := range []string{"v1.0.0.info", "v1.0.0.zip", "list", "main.info"} {
		code, body := get(t, srv.URL+"/git.test/!upper/@v/"+path)
		assert.Equal(t, http.StatusBadGateway, code, path)
		assert.Contains(t, body, "proxy loop: the servers ", path)
	}
}
