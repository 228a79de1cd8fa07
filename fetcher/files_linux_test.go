package fetcher_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/packtest"
)

// TestNoFileStaysOpen makes the zips of a module with many files, and counts those
// that are open then: what waits for the garbage collector counts too. The second
// version comes as a thin pack, whose objects are kept in a file each.
func TestNoFileStaysOpen(t *testing.T) {
	script := &strings.Builder{}
	fmt.Fprintln(script, "# A module with many files.\nrepo git.test/files\nwrite go.mod \"module git.test/files\\n\"")
	for v := range 2 {
		for i := range 200 {
			fmt.Fprintf(script, "write f%d.go \"package files // %d of v1.%d.0\\n\"\n", i, i, v)
		}
		fmt.Fprintf(script, "commit 2024-01-0%dT00:00:00Z Many\ntag v1.%d.0\noffer git.test/files@v1.%d.0\n", v+1, v, v)
	}
	internet := modtest.NewInternet(t)
	internet.Add(modtest.NewRepo(t, script.String()))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f := newFetcher(t, internet, nil)
	before := openFiles(t)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		content, err := f.Fetch(t.Context(), module.Version{Path: "git.test/files", Version: v})
		require.NoError(t, err)
		require.NoError(t, content.Zip(t.Context(), io.Discard))
	}
	assert.Less(t, openFiles(t), before+20, "a connection or two, and a pack")
	require.NoError(t, f.Close())
}

// Readers that wait for the next question keep files open, but not without bounds:
// there are many repositories.
func TestFilesOfManyRepositories(t *testing.T) {
	host := packtest.NewHost(t.TempDir())
	server := httptest.NewServer(host)
	t.Cleanup(server.Close)
	const many = 150
	for i := range many {
		require.NoError(t, host.Add(fmt.Sprintf("h%d.test", i), new(packtest.Maker).Sound()))
	}
	proxy, err := url.Parse(server.URL)
	require.NoError(t, err)
	f, err := fetcher.New(t.TempDir(), &fetcher.Options{
		Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Insecure: "*.test", Netrc: "none", GitConfig: "none", SSHDir: "none",
	})
	require.NoError(t, err)
	before := openFiles(t)
	for range 2 {
		for i := range many {
			_, err := f.Fetch(t.Context(), module.Version{Path: fmt.Sprintf("h%d.test/m", i), Version: "v1.0.0"})
			require.NoError(t, err)
		}
	}
	assert.LessOrEqual(t, openFiles(t), before+128+20)
	require.NoError(t, f.Close())
	assert.LessOrEqual(t, openFiles(t), before)
}

// openFiles counts the files of this process that are no pipes and sockets.
func openFiles(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && filepath.IsAbs(to) {
			n++
		}
	}
	return n
}
