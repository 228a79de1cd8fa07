package protocoltest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/storage"
)

// eachSource serves three versions of a module from each kind of source.
func eachSource(t *testing.T, test func(t *testing.T, source *athenstest.Source, store *storage.Store, h *athens.Handler)) {
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
			for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
				source.Add(module.Version{Path: "example.com/m", Version: v})
			}
			source.SetQuery("example.com/m", "latest", "v1.2.0")
			source.SetQuery("example.com/m", "v1", "v1.2.0")
			source.SetQuery("example.com/m", "v1.2", "v1.2.0")
			source.SetQuery("example.com/m", "main", "v1.2.0")
			store := storage.NewMemory()
			opts := options(source)
			opts.Private, opts.ListTTL = "none", -1
			h, err := athens.NewHandler(store, &opts)
			require.NoError(t, err)
			for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
				athenstest.Hold(t, store, source.Version(module.Version{Path: "example.com/m", Version: v}), true)
			}
			test(t, source, store, h)
			require.NoError(t, h.Shutdown(t.Context()))
		})
	}
}

// get returns the status and the body of an answer.
func get(t *testing.T, h *athens.Handler, path string) (int, string) {
	t.Helper()
	w, cut := athenstest.Ask(t.Context(), h, "/example.com/m/"+path)
	assert.False(t, cut)
	return w.Code, w.Body.String()
}

// A hidden version is neither listed nor chosen, and served to whom asks for it.
func TestHidden(t *testing.T) {
	eachSource(t, func(t *testing.T, source *athenstest.Source, store *storage.Store, h *athens.Handler) {
		m := module.Version{Path: "example.com/m", Version: "v1.2.0"}
		require.NoError(t, store.Hide(t.Context(), m, "does not compile"))
		for path, want := range map[string]string{
			"@v/list": "v1.0.0\nv1.1.0\n", "@latest": `"Version":"v1.1.0"`, "@v/v1.info": `"Version":"v1.1.0"`,
			"@v/main.info": `"Version":"v1.2.0"`, "@v/v1.2.0.info": `"Version":"v1.2.0"`, "@v/v1.2.0.mod": "module", "@v/v1.2.0.zip": "PK",
		} {
			status, body := get(t, h, path)
			assert.Equal(t, http.StatusOK, status, path)
			assert.Contains(t, body, want, path)
		}
		status, body := get(t, h, "@v/v1.2.info")
		assert.Equal(t, http.StatusNotFound, status)
		assert.Contains(t, body, "does not compile")
		require.NoError(t, store.Restore(t.Context(), m))
		_, body = get(t, h, "@v/list")
		assert.Equal(t, "v1.0.0\nv1.1.0\nv1.2.0\n", body)
		_, body = get(t, h, "@latest")
		assert.Contains(t, body, "v1.2.0")
	})
}

// A removed version is 410 with the reason for each of its files, wherever its source is,
// and its source is not asked for it. Restored, it comes back as it was.
func TestRemoved(t *testing.T) {
	eachSource(t, func(t *testing.T, source *athenstest.Source, store *storage.Store, h *athens.Handler) {
		m := module.Version{Path: "example.com/m", Version: "v1.2.0"}
		require.NoError(t, store.Remove(t.Context(), m, "has a backdoor"))
		source.Reset()
		for _, path := range []string{"@v/v1.2.0.info", "@v/v1.2.0.mod", "@v/v1.2.0.zip"} {
			status, body := get(t, h, path)
			assert.Equal(t, http.StatusGone, status, path)
			assert.Contains(t, body, "example.com/m@v1.2.0: ")
			assert.Contains(t, body, ": removed: has a backdoor\n")
		}
		assert.Empty(t, source.Heard())
		for _, f := range []athens.Fill{{Module: m}, {Module: m, Zip: true}} {
			err := h.Fill(t.Context(), f)
			assert.ErrorContains(t, err, "has a backdoor")
			assert.True(t, athens.Final(err))
		}
		assert.Empty(t, source.Heard(), "a fill asked for what is removed")
		for path, want := range map[string]string{"@v/list": "v1.0.0\nv1.1.0\n", "@latest": "v1.1.0", "@v/v1.info": "v1.1.0"} {
			status, body := get(t, h, path)
			assert.Equal(t, http.StatusOK, status, path)
			assert.Contains(t, body, want, path)
		}
		for _, path := range []string{"@v/v1.2.info", "@v/main.info"} {
			status, body := get(t, h, path)
			assert.Equal(t, http.StatusGone, status, path)
			assert.Contains(t, body, "has a backdoor", path)
		}
		for _, v := range []string{"v1.0.0", "v1.1.0"} {
			require.NoError(t, store.Remove(t.Context(), module.Version{Path: m.Path, Version: v}, "all of it"))
		}
		status, body := get(t, h, "@latest")
		assert.Equal(t, http.StatusGone, status)
		assert.Contains(t, body, "has a backdoor")
		status, body = get(t, h, "@v/list")
		assert.Equal(t, http.StatusOK, status)
		assert.Empty(t, body)

		require.NoError(t, store.Restore(t.Context(), m))
		require.NoError(t, h.Fill(t.Context(), athens.Fill{Module: m, Zip: true}))
		status, body = get(t, h, "@v/v1.2.0.zip")
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, string(source.Version(m).Zip), body)
	})
}

// What an upstream has removed is passed on as 410 with its reason, and what is held of
// it goes. Once the upstream restores it, it comes back.
func TestRemovedUpstream(t *testing.T) {
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	source := athenstest.NewSource(t, "source")
	v := source.Add(m)
	store := storage.NewMemory()
	h, err := athens.NewHandler(store, &athens.Options{Upstream: athenstest.NewUpstream(source, "http://up.test"), MissFetch: true, Private: "none"})
	require.NoError(t, err)
	athenstest.Hold(t, store, v, false) // without its zip, which has to be fetched
	source.Fail("zip", "removed")
	status, body := get(t, h, "@v/v1.0.0.zip")
	assert.Equal(t, http.StatusGone, status)
	assert.Contains(t, body, "removed: by the upstream")
	assert.Empty(t, athenstest.Held(t, store, m))
	marks, err := store.Marks(t.Context(), m.Path)
	require.NoError(t, err)
	assert.Empty(t, marks)
	source.Fail("zip", "")
	status, body = get(t, h, "@v/v1.0.0.zip")
	assert.Equal(t, http.StatusOK, status)
	assert.True(t, strings.HasPrefix(body, "PK"))
	require.NoError(t, h.Shutdown(t.Context()))
}
