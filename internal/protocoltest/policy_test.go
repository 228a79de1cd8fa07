package protocoltest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// A zip that Admit refuses is neither stored nor sent, not even in part, and clients are
// sent elsewhere for none. Its .mod is served.
func TestAdmit(t *testing.T) {
	for name, options := range map[string]func(*athenstest.Source) athens.Options{
		"version control": func(s *athenstest.Source) athens.Options { return athens.Options{Fetcher: s} },
		"fetching": func(s *athenstest.Source) athens.Options {
			return athens.Options{Upstream: athenstest.NewUpstream(s, "http://up.test"), MissFetch: true}
		},
		"redirecting": func(s *athenstest.Source) athens.Options {
			return athens.Options{Upstream: athenstest.NewUpstream(s, "http://up.test")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := athenstest.NewSource(t, "source")
			v := source.Add(athenstest.Example)
			store := athenstest.NewStore(t)
			opts := options(source)
			opts.Private, opts.MissingTTL = "none", -1
			var verdict error
			opts.Admit = func(_ context.Context, m module.Version, zip io.ReaderAt, size int64) error {
				assert.Equal(t, athenstest.Example, m)
				got, err := io.ReadAll(io.NewSectionReader(zip, 0, size+1))
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(v.Zip, got))
				return verdict
			}
			h, err := athens.NewHandler(store, &opts)
			require.NoError(t, err)
			for _, c := range []struct {
				verdict error
				status  int
				body    string
			}{
				{&athens.BlockedError{Path: athenstest.Example.Path, Reason: "it has a virus"}, http.StatusForbidden, "it has a virus"},
				{errors.New("no route to scanner"), http.StatusServiceUnavailable, "the check of new zips is unavailable"},
				{nil, http.StatusOK, string(v.Zip)},
			} {
				verdict = c.verdict
				w, cut := athenstest.Ask(t.Context(), h, athenstest.ZipPath)
				assert.False(t, cut)
				assert.Equal(t, c.status, w.Code)
				assert.Contains(t, w.Body.String(), c.body)
				assert.Equal(t, c.verdict == nil, len(athenstest.Held(t, store, athenstest.Example)) == 3)
			}
			require.NoError(t, h.Shutdown(t.Context()))
		})
	}
}

// A version that Admit has refused is not fetched for each request.
func TestAdmitIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, asked := athenstest.NewSource(t, "source"), 0
		source.Add(athenstest.Example)
		h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{
			Private: "none", Upstream: athenstest.NewUpstream(source, ""), MissFetch: true, Prefetch: -1,
			Admit: func(_ context.Context, m module.Version, _ io.ReaderAt, _ int64) error {
				if asked++; asked > 1 {
					return nil
				}
				return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: "it has a virus"}
			},
		})
		require.NoError(t, err)
		for range 3 {
			w, _ := athenstest.Ask(t.Context(), h, athenstest.ZipPath)
			assert.Equal(t, http.StatusForbidden, w.Code)
			assert.Contains(t, w.Body.String(), "it has a virus")
		}
		assert.Equal(t, 1, asked)
		time.Sleep(2 * time.Minute)
		w, _ := athenstest.Ask(t.Context(), h, athenstest.ZipPath)
		assert.Equal(t, http.StatusOK, w.Code)
		require.NoError(t, h.Shutdown(context.Background()))
	})
}

// Named learns of each version that a source names, before Route is asked about it.
func TestNamed(t *testing.T) {
	source := athenstest.NewSource(t, "source")
	source.Add(athenstest.Example)
	source.SetQuery(athenstest.Example.Path, "main", "v1.0.0")
	var seen []string
	h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{
		Fetcher: source, Private: "none", Prefetch: -1, ListTTL: time.Minute,
		Named: func(_ context.Context, path string, versions []athens.Info) {
			for _, v := range versions {
				seen = append(seen, path+"@"+v.Version)
			}
		},
		Route: func(_ context.Context, m module.Version) (athens.Route, error) {
			if m.Version == "v1.0.0" {
				assert.NotEmpty(t, seen)
			}
			return athens.Route{}, nil
		},
	})
	require.NoError(t, err)
	for _, path := range []string{athenstest.ListPath, athenstest.QueryPath} {
		for range 2 { // the second answer is from memory
			w, _ := athenstest.Ask(t.Context(), h, path)
			assert.Equal(t, http.StatusOK, w.Code)
		}
		assert.Equal(t, []string{"example.com/m@v1.0.0"}, seen, path)
		seen = nil
	}
	require.NoError(t, h.Shutdown(t.Context()))
}
