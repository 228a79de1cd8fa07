package e2e_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/auth"
)

// TestRefreshAndRemove lets a CI job tell a registry of a tag that was just pushed, and an
// operator remove it: go commands get it at once, and are told the reason at once, also
// behind a proxy.
func TestRefreshAndRemove(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, `# A module that is worked on.
repo git.test/fresh
write go.mod "module git.test/fresh\n"
commit 2020-01-01T10:00:00Z First
tag v1.0.0
`)
	net := modtest.NewInternet(t, repo)
	tokens := filepath.Join(t.TempDir(), "tokens")
	ci, ciLine, err := auth.NewToken("ci", "git.test", auth.Read|auth.Refresh)
	require.NoError(t, err)
	operator, operatorLine, err := auth.NewToken("ann", "*", auth.Admin)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(tokens, []byte(ciLine+"\n"+operatorLine+"\nanonymous read *\n"), 0o600))
	registry := startServer(t, net, "registry", "registry", "-tokens", tokens)
	proxy := startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-miss", "fetch", "-private", "", "-list-ttl", "0s", "-missing-ttl", "0s")
	post := func(path, token, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, registry.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(said)
	}
	try := func(s *server, args ...string) (stdout, stderr string, err error) {
		t.Helper()
		g := modtest.NewGo(t, net)
		g.Set("GOPROXY="+s.URL, "GONOPROXY=none", "GONOSUMDB=*")
		return g.Run(args...)
	}
	_, _, err = try(registry, "mod", "download", "git.test/fresh@v1.1.0")
	require.Error(t, err)

	repo.Run("write a.go \"package fresh\\n\"\ncommit 2020-01-02T10:00:00Z Second\ntag v1.1.0\n")
	_, stderr, err := try(registry, "mod", "download", "git.test/fresh@v1.1.0")
	require.Error(t, err, "the registry remembers that there was none")
	assert.Contains(t, stderr, "404 Not Found")
	const order = `{"module":"git.test/fresh","version":"v1.1.0"}`
	status, body := post("/refresh", "", order)
	assert.Equal(t, http.StatusUnauthorized, status, body)
	status, body = post("/refresh", ci, order)
	require.Equal(t, http.StatusOK, status, body)
	assert.JSONEq(t, `{"Module":"git.test/fresh","Version":"v1.1.0","Time":"2020-01-02T10:00:00Z"}`, body)
	stdout, stderr, err := try(registry, "list", "-m", "-versions", "git.test/fresh@latest")
	require.NoError(t, err, stderr)
	assert.Equal(t, "git.test/fresh v1.0.0 v1.1.0\n", stdout)
	_, stderr, err = try(registry, "mod", "download", "git.test/fresh@v1.1.0")
	require.NoError(t, err, stderr)

	const removal = `{"module":"git.test/fresh","version":"v1.1.0","reason":"leaks a key, use v1.0.0"}`
	status, body = post("/remove", ci, removal)
	assert.Equal(t, http.StatusForbidden, status, body)
	status, body = post("/remove", operator, removal)
	require.Equal(t, http.StatusOK, status, body)
	for _, s := range []*server{registry, proxy} {
		_, stderr, err := try(s, "mod", "download", "git.test/fresh@v1.1.0")
		require.Error(t, err)
		assert.Contains(t, stderr, "410 Gone")
		assert.Contains(t, stderr, "removed: leaks a key, use v1.0.0")
		stdout, stderr, err := try(s, "list", "-m", "-versions", "git.test/fresh@latest")
		require.NoError(t, err, stderr)
		assert.Equal(t, "git.test/fresh v1.0.0\n", stdout)
	}
	status, body = post("/restore", operator, order)
	require.Equal(t, http.StatusOK, status, body)
	for _, s := range []*server{registry, proxy} {
		_, stderr, err := try(s, "mod", "download", "git.test/fresh@v1.1.0")
		require.NoError(t, err, stderr)
	}
}
