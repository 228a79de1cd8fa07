package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestOffline serves what a store holds and asks nobody for the rest: not version
// control, not the upstream that is given, and no name is looked up.
func TestOffline(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "graph-base")...)
	server := startServer(t, net, "registry", "registry")
	g := modtest.NewGo(t, net)
	g.Set(server.Env...)
	want := g.MustDownload("git.test/graph/base@v1.0.0")
	server.Stop()
	asked := len(net.Requests(""))

	server.kind, server.args = "proxy", []string{"-offline", "-upstream", "http://up.test"}
	server.start("127.0.0.1:0")
	g = modtest.NewGo(t, net)
	g.Set(server.Env...)
	assert.Equal(t, want.Sum, g.MustDownload("git.test/graph/base@v1.0.0").Sum)
	g.Write("go.mod", "module program\n\ngo 1.21\n")
	for _, args := range [][]string{{"list", "-m", "-versions", "git.test/graph/base"}, {"list", "-m", "git.test/graph/base@latest"}, {"list", "-m", "git.test/graph/base@v1"}} {
		stdout, stderr, err := g.Run(args...)
		require.NoError(t, err, stderr)
		assert.Equal(t, "git.test/graph/base v1.0.0\n", stdout)
	}
	for _, path := range []string{"/git.test/graph/base/@v/v1.2.0.info", "/git.test/graph/base/@v/v1.2.0.zip", "/other.test/m/@v/list", "/other.test/m/@latest", "/other.test/m/@v/main.info"} {
		status, body := modtest.Get(t, server.URL+path)
		assert.Equal(t, http.StatusNotFound, status, path)
		assert.Contains(t, body, "not in the store, and this server is offline", path)
	}
	assert.Len(t, net.Requests(""), asked, "nothing has left")
}
