package fetcher_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// A repository's server that redirects from https to http is not followed: the
// login would be read by everybody on the way.
func TestLoginIsNotTakenFromHTTPSToHTTP(t *testing.T) {
	net := modtest.NewInternet(t, modtest.NewRepo(t, libRepo))
	net.Secure("git.test", "corp.test")
	net.Handle("corp.test", pageCase{pages: map[string]string{"/lib": tag("corp.test/lib git https://git.test/lib")}})
	net.Break("git.test", modtest.Only(func(r *http.Request) bool { return r.TLS != nil }, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://git.test"+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
		})
	}))
	name := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(name, []byte("machine git.test login ada password s3cret"), 0o600))
	f := newFetcher(t, net, func(o *fetcher.Options) { o.Insecure, o.Netrc = "none", name })
	_, err := modtest.FetchAll(t, f, "corp.test/lib", "v1.0.0")
	requireOutage(t, err, "redirected from https to http")
	require.NotZero(t, net.Count("git.test"))
	for _, r := range net.Requests("git.test") {
		assert.True(t, r.TLS || r.Method == http.MethodConnect, "%s", r)
	}
}
