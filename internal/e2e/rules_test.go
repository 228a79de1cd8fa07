package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestRulesChange changes the rules of a registry that runs: a cooldown holds back what
// comes after it, a security fix is let through, and an allow-list refuses the rest.
func TestRulesChange(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "graph-base")...)
	rules := filepath.Join(t.TempDir(), "rules")
	write := func(text string) { require.NoError(t, os.WriteFile(rules, []byte(text), 0o666)) }
	write("# none yet\n")
	registry := startServer(t, net, "registry", "registry", "-rules", rules)
	g := modtest.NewGo(t, net)
	g.Set(registry.Env...)
	g.Set("GOPROXY=" + registry.URL + ",direct")
	g.MustDownload("git.test/graph/base@v1.0.0")
	list := func() (int, string) { return modtest.Get(t, registry.URL+"/git.test/graph/base/@v/list") }
	reload := func(text string, inForce func() bool) {
		write(text)
		registry.Signal(syscall.SIGHUP)
		modtest.Eventually(t, "the rules are in force", inForce)
		g.Clean()
	}
	lists := func(want string) func() bool {
		return func() bool { _, versions := list(); return versions == want }
	}

	list() // names versions that no cooldown covers yet
	reload("cooldown 7d\n", lists("v1.0.0\n"))
	g.MustDownload("git.test/graph/base@v1.0.0") // it was held
	d := g.Download("git.test/graph/base@v1.2.0")
	assert.Contains(t, d[0].Error, "younger than 7d: available on ")
	g.Write("go.mod", "module program\n\ngo 1.21\n")
	stdout, stderr, err := g.Run("list", "-m", "-versions", "git.test/graph/base")
	require.NoError(t, err, stderr)
	assert.Equal(t, "git.test/graph/base v1.0.0", strings.TrimSpace(stdout))
	_, stderr, err = g.Run("get", "git.test/graph/base@latest")
	require.NoError(t, err, stderr)
	assert.Contains(t, stderr, "v1.0.0")

	reload("cooldown 7d\nblock a[\n", func() bool { return strings.Contains(registry.Log(), "rules:2:7: bad pattern") })
	assert.NotEmpty(t, g.Download("git.test/graph/base@v1.2.0")[0].Error)

	reload("cooldown 7d\nallow git.test/graph/base@v1.2.0 # a fix\n", lists("v1.0.0\nv1.2.0\n"))
	g.MustDownload("git.test/graph/base@v1.2.0")
	assert.NotEmpty(t, g.Download("git.test/graph/base@v1.1.0")[0].Error)

	_, page := modtest.Get(t, registry.URL+"/")
	assert.NotContains(t, page, "corp.test")
	reload("only example.com\nprivate corp.test\n", func() bool { status, _ := list(); return status == http.StatusForbidden })
	assert.Contains(t, g.Download("git.test/graph/base@v1.0.0")[0].Error, "not in the list of allowed modules")
	_, page = modtest.Get(t, registry.URL+"/")
	assert.Contains(t, page, "GONOSUMDB=corp.test", "the line to paste is that of the rules in force")
	for _, r := range net.Requests("") {
		_, _, ok := proxyLogin(&http.Request{Header: r.Header})
		assert.True(t, ok, "the go command went around the server")
	}
}
