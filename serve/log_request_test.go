package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// heldHandler returns a handler over a store in memory that holds a .mod.
func heldHandler(t testing.TB, log *slog.Logger) *athens.Handler {
	t.Helper()
	store := storage.NewMemory()
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	require.NoError(t, store.Put(t.Context(), m, &athens.Info{Version: m.Version}, []byte("module example.com/m\n")))
	h, err := athens.NewHandler(store, &athens.Options{Logger: log})
	require.NoError(t, err)
	return h
}

func request(path string) *http.Request {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = "[2001:db8::7]:4711"
	return r
}

// The lines of a request are the same in a handler that writes them without an allocation
// and in one of the standard library.
func TestRequestLine(t *testing.T) {
	for _, path := range []string{"/example.com/m/@v/v1.0.0.mod", "/example.com/m/@v/v1.9.0.zip", "/example.com/m/@latest", "/x", "/example.com/m/@v/v1.0.0.exe"} {
		var got, want bytes.Buffer
		log, flush := NewLogger(&got, &LogOptions{JSON: true})
		heldHandler(t, log).ServeHTTP(httptest.NewRecorder(), request(path))
		flush()
		heldHandler(t, slog.New(slog.NewJSONHandler(&want, nil))).ServeHTTP(httptest.NewRecorder(), request(path))
		var one, other map[string]any
		require.NoError(t, json.Unmarshal(got.Bytes(), &one), got.String())
		require.NoError(t, json.Unmarshal(want.Bytes(), &other))
		for _, key := range []string{"time", "ms"} {
			assert.Contains(t, one, key)
			delete(one, key)
			delete(other, key)
		}
		assert.Equal(t, other, one)
		assert.Equal(t, "2001:db8::7", one["client"])
		assert.Equal(t, "INFO", one["level"], "a client's mistake is no warning")
	}
}

func TestClientThatLeftIsNoWarning(t *testing.T) {
	var said bytes.Buffer
	log, flush := NewLogger(&said, nil)
	ctx, leave := context.WithCancel(t.Context())
	h, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Logger: log, Fetcher: leaver{leave: leave}})
	require.NoError(t, err)
	h.ServeHTTP(httptest.NewRecorder(), request("/example.com/m/@latest").WithContext(ctx))
	require.NoError(t, h.Shutdown(t.Context()))
	flush()
	assert.Contains(t, said.String(), "level=INFO msg=request module=example.com/m ")
	assert.Contains(t, said.String(), " outcome=canceled ")
	assert.Equal(t, 1, strings.Count(said.String(), "\n"), said.String())
}

// leaver is a source whose client leaves.
type leaver struct {
	athens.Fetcher
	leave func()
}

func (f leaver) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	f.leave()
	return nil, &athens.UnavailableError{Source: "it", Err: io.ErrUnexpectedEOF}
}

func TestLoggedRequestAllocatesNothingMore(t *testing.T) {
	if modtest.RaceEnabled {
		t.Skip("under the race detector pools forget at random")
	}
	log, flush := NewLogger(io.Discard, nil)
	defer flush()
	off, on := heldHandler(t, nil), heldHandler(t, log)
	cost := func(h *athens.Handler) float64 {
		w, r := httptest.NewRecorder(), request("/example.com/m/@v/v1.0.0.mod")
		return testing.AllocsPerRun(500, func() {
			w.Body.Reset()
			h.ServeHTTP(w, r)
		})
	}
	assert.InDelta(t, cost(off), cost(on), 0.9)
}
