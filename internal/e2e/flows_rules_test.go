package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestBlocked blocks a version that the build graph mentions, and then the one
// that it selects.
func TestBlocked(t *testing.T) {
	t.Parallel()
	const reason = "CVE-2022-0001: says too much"
	for _, c := range []struct {
		name, constraint string
		builds           bool
		list, latest     string
	}{
		{"mentioned", "<1.2.0", true, "git.test/graph/base v1.2.0", "git.test/graph/base v1.2.0"},
		{"selected", ">=1.2.0", false, "git.test/graph/base v1.0.0 v1.1.0", "git.test/graph/base v1.1.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, modtest.Ready(t, "graph-app", "graph-lib", "graph-old", "graph-base")...)
			rules := filepath.Join(t.TempDir(), "rules")
			require.NoError(t, os.WriteFile(rules, []byte("block git.test/graph/base "+c.constraint+" # "+reason+"\n"), 0o666))
			registry := startServer(t, net, "registry", "registry")
			warm := modtest.NewGo(t, net)
			warm.Set(registry.Env...)
			warm.MustDownload("git.test/graph/base@v1.1.0")
			warm.MustDownload("git.test/graph/base@v1.2.0")
			for name, n := range map[string]*server{
				"proxy that redirects": startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-rules", rules),
				"proxy that fetches":   startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-rules", rules, "-miss", "fetch"),
				"registry":             startServer(t, net, "registry", "strict", "-rules", rules),
			} {
				g := modtest.NewGo(t, net)
				g.Set("GOPROXY="+n.URL+",direct", "GONOPROXY=none")
				g.Write("go.mod", "module program\n\ngo 1.21\n\nrequire (\n\tgit.test/graph/lib v1.0.0\n\tgit.test/graph/old v0.2.0\n)\n")
				g.Write("main.go", "package main\n\nimport (\n\t\"git.test/graph/lib\"\n\t\"git.test/graph/old\"\n)\n\nfunc main() { println(lib.Text + old.Text) }\n")
				_, stderr, err := g.Run("build", "-mod=mod", "-o", "program", ".")
				if c.builds {
					assert.NoError(t, err, "%s: %s", name, stderr)
				} else {
					assert.Error(t, err, name)
					assert.Contains(t, stderr, reason, name)
				}

				g.Clean()
				g.Write("go.mod", "module program\n\ngo 1.21\n") // selects none
				stdout, stderr, err := g.Run("list", "-m", "-versions", "git.test/graph/base")
				assert.NoError(t, err, "%s: %s", name, stderr)
				assert.Equal(t, c.list, strings.TrimSpace(stdout), name)
				stdout, stderr, err = g.Run("list", "-m", "git.test/graph/base@latest")
				assert.NoError(t, err, "%s: %s", name, stderr)
				assert.Equal(t, c.latest, strings.TrimSpace(stdout), name)

				status, body := modtest.Get(t, n.URL+"/git.test/graph/base/@latest")
				assert.Equal(t, http.StatusOK, status, "%s: %s", name, body)
				assert.Contains(t, body, `"Version":"`+strings.Fields(c.latest)[1]+`"`, name)
			}
		})
	}
}

// TestBlockedModuleInGraph blocks a module that a build graph mentions: questions about
// the whole graph are answered, for the rest as ever, its zip is refused with the
// reason, and no go command asks elsewhere.
func TestBlockedModuleInGraph(t *testing.T) {
	t.Parallel()
	const reason = "CVE-2022-0002: says nothing"
	for name, rule := range map[string]string{"module": "", "each version": " >=0.0.0-0", "selected version": " =1.2.0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, modtest.Ready(t, "graph-app", "graph-lib", "graph-old", "graph-base")...)
			rules := filepath.Join(t.TempDir(), "rules")
			require.NoError(t, os.WriteFile(rules, []byte("block git.test/graph/base"+rule+" # "+reason+"\n"), 0o666))
			registry := startServer(t, net, "registry", "registry")
			for name, n := range map[string]*server{
				"proxy that redirects": startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-rules", rules),
				"proxy that fetches":   startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-rules", rules, "-miss", "fetch"),
				"registry":             startServer(t, net, "registry", "strict", "-rules", rules),
			} {
				for _, after := range []string{"", ",direct"} {
					g := modtest.NewGo(t, net)
					g.Set("GOPROXY="+n.URL+after, "GONOPROXY=none", "GOFLAGS=-mod=mod")
					g.Write("go.mod", "module program\n\ngo 1.16\n\nrequire (\n\tgit.test/graph/lib v1.0.0\n\tgit.test/graph/old v0.2.0\n\tgit.test/graph/base v1.2.0\n)\n")
					for _, args := range []string{"list -m all", "list -m -u all", "list -m -versions git.test/graph/lib git.test/graph/base"} {
						stdout, stderr, err := g.Run(strings.Fields(args)...)
						assert.NoError(t, err, "%s, %s: %s", name, args, stderr)
						assert.Contains(t, stdout, "git.test/graph/base", "%s, %s", name, args)
						assert.NotContains(t, stdout, "[", "%s, %s: an upgrade to what is blocked", name, args)
					}
					d := g.Download("git.test/graph/base@v1.2.0")
					assert.Contains(t, d[0].Error, reason, name)
				}
			}
			for _, r := range net.Requests("") {
				_, _, ok := proxyLogin(&http.Request{Header: r.Header})
				assert.True(t, ok, "a go command went around the server")
			}
		})
	}
}
