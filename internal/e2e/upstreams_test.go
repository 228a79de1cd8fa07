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

// TestUpstreamLines gives a registry and a proxy two mirrors, one with a login, and version
// control as the last resort: each module comes from where the rules say, a change takes
// effect while the server runs, and nobody is shown the login.
func TestUpstreamLines(t *testing.T) {
	t.Parallel()
	version := func(path string) *modtest.Version {
		return modtest.NewVersion(t, path, "v1.0.0", map[string]string{"go.mod": "module " + path + "\n", "m.go": "package m\n"})
	}
	for _, kind := range []string{"registry", "proxy"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, modtest.Ready(t, "graph-base", "private")...)
			a, b := modtest.NewGoProxy(t, version("mirror.test/a")), modtest.NewGoProxy(t, version("mirror.test/b"), version("late.test/m"))
			a.Break("", modtest.BasicAuth("reader", "s3cret"))
			rules := filepath.Join(t.TempDir(), "rules.txt")
			write := func(text string) { require.NoError(t, os.WriteFile(rules, []byte(text), 0o600)) }
			withLogin := strings.Replace(a.URL, "http://", "http://reader:s3cret@", 1)
			write("private corp.test\nupstream * " + withLogin + "," + b.URL + ",vcs\nupstream late.test " + withLogin + "\nupstream none.test off\n")
			args := []string{"-rules", rules, "-missing-ttl", "0"}
			if kind == "proxy" {
				args = append(args, "-upstream", modtest.NewGoProxy(t).URL)
			}
			s := startServer(t, net, kind, kind, args...)
			g := modtest.NewGo(t, net)
			g.Set(s.Env...)
			g.Set("GONOSUMDB=*")
			for _, path := range []string{"mirror.test/a", "mirror.test/b", "git.test/graph/base", "corp.test/secret/plans"} {
				g.MustDownload(path + "@v1.0.0")
			}
			assert.Zero(t, a.Count("corp.test")+b.Count("corp.test"), "a private path has reached a mirror")
			assert.Zero(t, b.Count("mirror.test/a"), "the first mirror has it")
			assert.NotZero(t, a.Count("git.test/graph/base"), "version control comes last")
			said := g.Download("late.test/m@v1.0.0")[0].Error
			assert.Contains(t, said, "not found")
			assert.Contains(t, g.Download("none.test/m@v1.0.0")[0].Error, "the rules allow no source (rules.txt:4)")
			g.Write("go.mod", "module program\n\ngo 1.21\n")
			stdout, stderr, err := g.Run("list", "-m", "-versions", "mirror.test/b")
			require.NoError(t, err, stderr)
			assert.Equal(t, "mirror.test/b v1.0.0\n", stdout)

			// The first mirror goes down: a comma stops there, a | goes on.
			a.Break("", modtest.Status(http.StatusServiceUnavailable))
			write("upstream new.test " + withLogin + "," + b.URL + "\nupstream other.test " + withLogin + "|" + b.URL + "\nupstream late.test " + b.URL + "\n")
			b.Add(version("new.test/m"), version("other.test/m"))
			s.Signal(syscall.SIGHUP)
			modtest.Eventually(t, "the rules are in force", func() bool { return strings.Contains(s.Log(), "rules=3") })
			g.MustDownload("other.test/m@v1.0.0")
			said += g.Download("new.test/m@v1.0.0")[0].Error
			assert.Contains(t, said, "503")
			g.MustDownload("late.test/m@v1.0.0")
			for _, secret := range []string{"s3cret", "reader"} {
				assert.NotContains(t, said, secret)
				assert.NotContains(t, s.Log(), secret)
			}
		})
	}
}
