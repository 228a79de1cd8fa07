package fetcher_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
)

// TestMovedRepositories compares what becomes of a repository whose server sends
// elsewhere, or answers with what is none.
func TestMovedRepositories(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, libRepo)
	moved := func(r *http.Request) string { return "http://git.test/lib" + strings.TrimPrefix(r.URL.Path, "/old") }
	for name, handler := range map[string]http.HandlerFunc{
		"host and path": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, moved(r)+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		},
		"307": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, moved(r)+"?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		},
		"drops the query": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, moved(r), http.StatusMovedPermanently)
		},
		"to a page": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://git.test/lib", http.StatusMovedPermanently)
		},
		"only the list": func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/info/refs") {
				http.NotFound(w, r)
				return
			}
			http.Redirect(w, r, moved(r)+"?"+r.URL.RawQuery, http.StatusFound)
		},
		"a page with 200": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("<html>log in</html>")) },
		"204":             func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
		"a loop": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://old.test"+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, repo)
			net.Handle("corp.test", pageCase{pages: map[string]string{"/lib": tag("corp.test/lib git http://old.test/old")}})
			net.Handle("old.test", handler)
			f := newFetcher(t, net, nil)
			d := modtest.NewGo(t, net).Download("corp.test/lib@v1.0.0")[0]
			got, err := modtest.FetchAll(t, f, "corp.test/lib", "v1.0.0")
			if d.Error != "" {
				assert.ErrorAs(t, err, new(*athens.UnavailableError), d.Error)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, modtest.JSON(t, d.Origin), modtest.JSON(t, got.Info.Origin))
			assert.Equal(t, d.Sum, got.Sum)
		})
	}
}
