package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestFullDisk lets a proxy run out of room on a real file system. What is held
// is served on, what is not is answered with 507 or 503 unless the upstream has
// it, and fills are made good when there is room again, without being asked.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, miss := range []string{"redirect", "fetch"} {
		t.Run(miss, func(t *testing.T) {
			t.Parallel()
			disk := modtest.SmallDisk(t, "8m")
			internet := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
			held, wanted := publicVersion(t, "v1.0.0"), publicVersion(t, "v1.1.0")
			n := newServer(t, internet, "proxy", "proxy", "-upstream", modtest.NewGoProxy(t, held, wanted).URL, "-miss", miss,
				"-fill", "whole", "-fill-after", "0", "-private", "git.test,corp.test")
			n.dir = filepath.Join(disk, "store")
			n.start("127.0.0.1:0")
			modtest.Eventually(t, "a version is held", func() bool { return n.serves(held) })
			status, body := modtest.Get(t, n.URL+"/git.test/simple/@v/v1.0.0.zip")
			require.Equal(t, http.StatusOK, status, body)
			n.settle()

			ballast := filepath.Join(disk, "ballast")
			modtest.TakeRoom(t, ballast)
			status, body = modtest.Get(t, n.ops+"/readyz")
			assert.Equal(t, http.StatusServiceUnavailable, status)
			assert.Contains(t, body, "no space left on device")
			status, _ = modtest.Get(t, n.ops+"/healthz")
			assert.Equal(t, http.StatusOK, status)
			private := []string{
				"/git.test/simple/@v/v1.1.0.info", "/git.test/simple/@v/v1.1.0.zip", // of a repository that was fetched
				"/corp.test/secret/plans/@v/v1.0.0.mod", // of one that was not
			}
			for range 2 {
				for _, path := range private {
					resp := modtest.GetResponse(t, n.URL+path)
					require.NoError(t, resp.Body.Close())
					assert.Contains(t, []int{http.StatusInsufficientStorage, http.StatusServiceUnavailable}, resp.StatusCode, path)
					assert.NotEmpty(t, resp.Header.Get("Retry-After"), path)
				}
				status, _ = modtest.Get(t, n.URL+"/up.test/m/@v/v1.1.0.zip")
				assert.Equal(t, map[string]int{"redirect": http.StatusFound, "fetch": http.StatusInsufficientStorage}[miss], status)
				status, body = modtest.Get(t, n.URL+"/up.test/m/@v/v1.1.0.mod")
				assert.Equal(t, map[string]int{"redirect": http.StatusFound, "fetch": http.StatusOK}[miss], status, body)
				assert.True(t, n.serves(held), "what is held")
			}
			modtest.Eventually(t, "a fill has failed", func() bool {
				pending := n.fills().Pending
				return len(pending) > 0 && pending[0].Reason != ""
			})

			require.NoError(t, os.Remove(ballast))
			status, body = modtest.Get(t, n.ops+"/readyz")
			assert.Equal(t, http.StatusOK, status, body)
			n.settle() // nobody asks again
			assert.FileExists(t, filepath.Join(n.dir, "up.test/m/@v/v1.1.0.zip"))
			assert.True(t, n.serves(wanted))
			for _, path := range private {
				status, body := modtest.Get(t, n.URL+path)
				assert.Equal(t, http.StatusOK, status, body)
			}
			n.settle()
			n.Stop()
			left, err := filepath.Glob(filepath.Join(n.dir, ".git-cache", "*", "incoming-*"))
			require.NoError(t, err)
			stages, err := filepath.Glob(filepath.Join(n.dir, ".athens", "stage", "*"))
			require.NoError(t, err)
			assert.Empty(t, append(left, stages...), "left over")
		})
	}
}

// serves reports whether the server itself answers with all of a version.
func (n *server) serves(v *modtest.Version) bool {
	n.t.Helper()
	for ext, want := range map[string][]byte{"info": v.Info, "mod": v.Mod, "zip": v.Zip} {
		status, body := modtest.Get(n.t, n.URL+"/"+v.Path+"/@v/"+v.Version.Version+"."+ext)
		if status != http.StatusOK || body != string(want) {
			return false
		}
	}
	return true
}
