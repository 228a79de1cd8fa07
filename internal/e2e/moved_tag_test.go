package e2e_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/internal/modtest"
)

// TestMovedTagIsPutRight moves a tag, with go.mod unchanged, away from the commit that
// the checksum database knows, and back: nothing of the wrong commit stays, neither in
// the registry that checks nor in a proxy behind it.
func TestMovedTagIsPutRight(t *testing.T) {
	t.Parallel()
	const goMod = "module git.test/moving\n"
	right := modtest.NewVersion(t, "git.test/moving", "v1.0.0", map[string]string{"go.mod": goMod, "m.go": "package m // right\n"})
	repo := modtest.NewRepo(t, `# A tag moves while go.mod stays.
repo git.test/moving
write go.mod "module git.test/moving\n"
write m.go "package m // right\n"
commit 2020-01-01T10:00:00Z Right
branch right
write m.go "package m // wrong\n"
commit 2020-01-02T10:00:00Z Wrong
tag v1.0.0
`)
	net := modtest.NewInternet(t, repo)
	signer, key, err := note.GenerateKey(rand.Reader, "sum.test")
	require.NoError(t, err)
	database := httptest.NewServer(sumdb.NewServer(sumdb.NewTestServer(signer, func(string, string) ([]byte, error) {
		return fmt.Appendf(nil, "git.test/moving v1.0.0 %s\ngit.test/moving v1.0.0/go.mod %s\n", right.Sum, right.GoModSum), nil
	})))
	t.Cleanup(database.Close)
	sums := key + " " + database.URL
	short := []string{"-private", "", "-missing-ttl", "0s", "-down-ttl", "0s", "-list-ttl", "0s"}
	registry := startServer(t, net, "registry", "registry", append(short, "-sumdb", sums)...)
	proxy := startServer(t, net, "proxy", "proxy", append(short, "-upstream", registry.URL, "-miss", "fetch")...)
	get := func(url string) (status int, body string) {
		resp, err := http.Get(url + "/git.test/moving/@v/v1.0.0.info")
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}

	for _, url := range []string{proxy.URL, registry.URL} {
		status, body := get(url)
		assert.Equal(t, http.StatusBadGateway, status)
		assert.Contains(t, body, "the checksum database has "+right.Sum)
	}
	for _, n := range []*server{registry, proxy} {
		files, err := filepath.Glob(filepath.Join(n.dir, "git.test/moving/@v/*"))
		require.NoError(t, err)
		assert.Empty(t, files)
	}

	repo.Run("tag v1.0.0 right\n")
	modtest.Eventually(t, "the registry has seen that the tag moved", func() bool {
		fresh, err := http.NewRequestWithContext(t.Context(), http.MethodGet, registry.URL+"/git.test/moving/@v/list", nil)
		require.NoError(t, err)
		fresh.Header.Set("Cache-Control", "no-cache") // otherwise it is seen after a minute
		resp, err := http.DefaultClient.Do(fresh)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		status, _ := get(registry.URL)
		return status == http.StatusOK
	})
	for _, url := range []string{proxy.URL, registry.URL} {
		client := modtest.NewGo(t, net)
		client.Set("GOPROXY="+url, "GONOPROXY=none", "GOPRIVATE=", "GONOSUMDB=*")
		d := client.Download("git.test/moving@v1.0.0")[0]
		require.Empty(t, d.Error)
		assert.Equal(t, right.Sum, d.Sum)
		status, body := get(url)
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, repo.Hash("right"))
	}
}
