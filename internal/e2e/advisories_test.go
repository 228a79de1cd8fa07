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

// TestAdvisories gives a registry a copy of a vulnerability database: the go command is told
// which advisory stands against a version and what fixes it, and with warn the log is.
func TestAdvisories(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "graph-base")...)
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.txt")
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("vulndb/index/db.json", `{"modified":"2026-11-28T00:00:00Z"}`)
	write("vulndb/ID/GO-2026-0001.json", `{"id":"GO-2026-0001","aliases":["CVE-2026-1"],"summary":"Says too much","affected":[
{"package":{"name":"git.test/graph/base","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"1.1.0"},{"fixed":"1.2.0"}]}]}]}`)
	write("rules.txt", "advisories vulndb\n")
	s := startServer(t, net, "registry", "registry", "-rules", rules)
	g := modtest.NewGo(t, net)
	g.Set(s.Env...)
	g.Set("GOPROXY=" + s.URL + ",direct")
	const said = "known vulnerability GO-2026-0001 (CVE-2026-1): Says too much: fixed in v1.2.0"
	assert.Contains(t, g.Download("git.test/graph/base@v1.1.0")[0].Error, said)
	g.MustDownload("git.test/graph/base@v1.0.0")
	g.MustDownload("git.test/graph/base@v1.2.0")
	g.Write("go.mod", "module program\n\ngo 1.21\n")
	stdout, stderr, err := g.Run("list", "-m", "-versions", "git.test/graph/base")
	require.NoError(t, err, stderr)
	assert.Equal(t, "git.test/graph/base v1.0.0 v1.2.0\n", stdout)
	status, body := modtest.Get(t, s.URL+"/git.test/graph/base/@v/v1.1.0.zip")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, body, said+" (rules.txt:1)")

	write("rules.txt", "advisories vulndb warn\n# no blocks\n")
	s.Signal(syscall.SIGHUP)
	modtest.Eventually(t, "the rules are in force", func() bool { return strings.Contains(s.Log(), `msg="rules reloaded"`) })
	g.Clean()
	g.MustDownload("git.test/graph/base@v1.1.0")
	s.AwaitLog(`advisory="` + said + ` (rules.txt:1)"`)
}
