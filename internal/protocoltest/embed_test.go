package protocoltest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// plainWriter is a ResponseWriter of a middleware that can do nothing else.
type plainWriter struct{ w *httptest.ResponseRecorder }

func (p plainWriter) Header() http.Header         { return p.w.Header() }
func (p plainWriter) WriteHeader(status int)      { p.w.WriteHeader(status) }
func (p plainWriter) Write(b []byte) (int, error) { return p.w.Write(b) }

// A middleware that can't flush makes a client wait, no more.
func TestZipThroughPlainWriter(t *testing.T) {
	withFixture(t, true, func(b *fixture) {
		v := b.upstream.Add(athenstest.Example)
		open := b.store.Gate("commit") // so that the client follows
		done := make(chan *httptest.ResponseRecorder)
		go func() {
			w := httptest.NewRecorder()
			b.ServeHTTP(plainWriter{w}, httptest.NewRequestWithContext(b.Context(), http.MethodGet, athenstest.ZipPath, nil))
			done <- w
		}()
		synctest.Wait()
		open()
		w := <-done
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, v.Zip, w.Body.Bytes())
	})
}

// The hooks and the store are the embedder's: where they panic on what was read
// ahead, nobody's request and no process ends.
func TestReadAheadSurvivesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "")
		next := module.Version{Path: "example.com/next", Version: "v1.0.0"}
		up.Add(next)
		up.Add(athenstest.Example, "go.mod", "module example.com/m\n\nrequire (\n\texample.com/next v1.0.0\n\texample.com/bad v1.0.0\n)\n")
		asked := 0
		h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{Upstream: up, MissFetch: true, Route: func(_ context.Context, m module.Version) (athens.Route, error) {
			if m.Path == "example.com/bad" {
				asked++
				panic("no such team")
			}
			return athens.Route{}, nil
		}})
		require.NoError(t, err)
		for _, path := range []string{athenstest.ModPath, "/example.com/next/@v/v1.0.0.mod"} { // a client that follows requirements
			w, _ := athenstest.Ask(t.Context(), h, path)
			assert.Equal(t, http.StatusOK, w.Code)
			synctest.Wait()
		}
		assert.Equal(t, 1, asked)
		require.NoError(t, h.Shutdown(t.Context()))
	})
}

// The handler can be mounted anywhere, also behind a mux that cleans paths.
func TestMounted(t *testing.T) {
	store := athenstest.NewStore(t)
	v := athenstest.NewVersion(t, athenstest.Example)
	athenstest.HoldAs(t, store, v, "whole")
	h, err := athens.NewHandler(store, nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/go/", http.StripPrefix("/go", h))
	for path, want := range map[string]int{
		"/go" + athenstest.ZipPath:                    http.StatusOK,
		"/go" + athenstest.ListPath:                   http.StatusOK,
		"/go/example.com%2fm/@v/list":                 http.StatusBadRequest,
		"/go/example.com/!upper/@v/v1.0.0-!r!c.mod":   http.StatusNotFound,
		"/go/example.com/%21upper/@v/v1.0.0-!r!c.mod": http.StatusNotFound,
		"/go/":              http.StatusNotFound,
		athenstest.ZipPath:  http.StatusNotFound,
		"/go/../etc/passwd": http.StatusTemporaryRedirect, // by the mux
	} {
		w, _ := athenstest.Ask(t.Context(), mux, path)
		if want == http.StatusTemporaryRedirect {
			assert.Contains(t, []int{http.StatusMovedPermanently, want}, w.Code, path)
			continue
		}
		assert.Equal(t, want, w.Code, path)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	store := athenstest.NewStore(t)
	up := athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "")
	for want, opts := range map[string]*athens.Options{
		"MissFetch needs an Upstream": {MissFetch: true},
		"MaxModBytes is -1":           {MaxModBytes: -1},
		"MaxModBytes is 1073741825":   {MaxModBytes: 1<<30 + 1},
		"MaxZipBytes is -5":           {MaxZipBytes: -5},
		"MaxZipBytes is 524288001":    {Upstream: up, MaxZipBytes: 500<<20 + 1},
		"AnswerCacheBytes is -1":      {AnswerCacheBytes: -1},
		"FetchTimeout is negative":    {FetchTimeout: -1},
		"MaxDetached is negative":     {MaxDetached: -1},
		"MaxScheduling is negative":   {MaxScheduling: -1},
		// An interface that holds a nil pointer is not nil.
		"Upstream is a nil *athenstest.Upstream": {Upstream: (*athenstest.Upstream)(nil)},
		"Fetcher is a nil *athenstest.Source":    {Fetcher: (*athenstest.Source)(nil)},
		"Fills is a nil *athenstest.Fills":       {Fills: (*athenstest.Fills)(nil)},
	} {
		_, err := athens.NewHandler(store, opts)
		assert.ErrorContains(t, err, want)
	}
	_, err := athens.NewHandler(nil, nil)
	assert.ErrorContains(t, err, "needs a Storage")
	_, err = athens.NewHandler((*athenstest.Store)(nil), nil)
	assert.ErrorContains(t, err, "Storage is a nil *athenstest.Store")
	_, err = athens.NewHandler(store, &athens.Options{MaxModBytes: 1, MaxZipBytes: 500 << 20, ListTTL: -1, MissingTTL: -1, DownTTL: -1, FillAfter: -1, Prefetch: -1})
	assert.NoError(t, err)
}
