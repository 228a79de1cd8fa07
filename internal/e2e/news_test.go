package e2e_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/auth"
)

// fetched returns the status and the body of a URL.
func fetched(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// eventually asks again until the answer is as wanted, for two minutes.
func eventually(t *testing.T, url string, is func(status int, body string) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(2 * time.Minute); ; <-tick.C {
		status, body := fetched(t, url)
		if is(status, body) {
			return
		}
		require.True(t, time.Now().Before(limit), "%s: %d %s", url, status, body)
	}
}

// TestNewsReachesProxy pushes a tag, of which a CI job tells the registry: a proxy that remembers answers for an hour knows it at once. Then an operator
// removes a version with the tool beside the registry: the proxy, which holds it whole, no
// longer serves it, until it is restored; also if it was down meanwhile.
func TestNewsReachesProxy(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, `# A module that is worked on.
repo git.test/news
write go.mod "module git.test/news\n"
commit 2020-01-01T10:00:00Z First
tag v1.0.0
`)
	net := modtest.NewInternet(t, repo)
	dir, proxyDir, tokens := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "tokens")
	ci, line, err := auth.NewToken("ci", "git.test", auth.Refresh)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(tokens, []byte(line+"\nanonymous read *\n"), 0o600))
	registry := startServer(t, net, "registry", "registry", "-dir", dir, "-events", "-private", "", "-tokens", tokens)
	args := []string{"-dir", proxyDir, "-upstream", registry.URL, "-follow", "-miss", "fetch", "-private", "", "-list-ttl", "1h", "-missing-ttl", "1h"}
	proxy := startServer(t, net, "proxy", "proxy", args...)
	goCmd := func(args ...string) (stdout, stderr string, err error) {
		g := modtest.NewGo(t, net)
		g.Set("GOPROXY="+proxy.URL, "GONOPROXY=none", "GONOSUMDB=*")
		return g.Run(args...)
	}
	stdout, stderr, err := goCmd("list", "-m", "-versions", "git.test/news@latest")
	require.NoError(t, err, stderr)
	require.Equal(t, "git.test/news v1.0.0\n", stdout)
	status, _ := fetched(t, proxy.URL+"/git.test/news/@v/v1.1.0.info")
	require.Equal(t, http.StatusNotFound, status)

	repo.Run("write a.go \"package news\\n\"\ncommit 2020-01-02T10:00:00Z Second\ntag v1.1.0\n")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, registry.URL+"/refresh", strings.NewReader(`{"module":"git.test/news"}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+ci)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	eventually(t, proxy.URL+"/git.test/news/@v/list", func(_ int, body string) bool { return strings.Contains(body, "v1.1.0") })
	stdout, stderr, err = goCmd("list", "-m", "-versions", "git.test/news@latest")
	require.NoError(t, err, stderr)
	assert.Equal(t, "git.test/news v1.0.0 v1.1.0\n", stdout)
	_, stderr, err = goCmd("mod", "download", "git.test/news@v1.1.0")
	require.NoError(t, err, stderr)

	tool := func(args ...string) {
		out, err := exec.CommandContext(t.Context(), modtest.Build(t, "./examples/store"), args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	info := proxy.URL + "/git.test/news/@v/v1.1.0.info"
	tool("rm", "-dir", dir, "-reason", "leaks a key, use v1.0.0", "git.test/news@v1.1.0")
	eventually(t, info, func(status int, _ string) bool { return status == http.StatusGone })
	_, stderr, err = goCmd("mod", "download", "git.test/news@v1.1.0")
	require.Error(t, err)
	assert.Contains(t, stderr, "410 Gone")
	assert.Contains(t, stderr, "leaks a key, use v1.0.0")
	stdout, stderr, err = goCmd("list", "-m", "-versions", "git.test/news@latest")
	require.NoError(t, err, stderr)
	assert.Equal(t, "git.test/news v1.0.0\n", stdout)

	tool("restore", "-dir", dir, "git.test/news@v1.1.0")
	eventually(t, info, func(status int, _ string) bool { return status == http.StatusOK })
	_, stderr, err = goCmd("mod", "download", "git.test/news@v1.1.0")
	require.NoError(t, err, stderr)

	proxy.Stop()
	tool("rm", "-dir", dir, "-reason", "again", "git.test/news@v1.1.0")
	proxy = startServer(t, net, "proxy", "proxy", args...)
	eventually(t, proxy.URL+"/git.test/news/@v/v1.1.0.info", func(status int, _ string) bool { return status == http.StatusGone })
}
