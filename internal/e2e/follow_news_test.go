package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// tool runs examples/store with a folder.
func tool(t *testing.T, command, dir string, args ...string) {
	t.Helper()
	args = append([]string{command, "-dir", dir}, args...)
	out, err := exec.CommandContext(t.Context(), modtest.Build(t, "./examples/store"), args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestFollowNews has a registry, one that follows it, and a proxy that follows that one. What
// an operator takes back at the first, with the tool beside it, is taken back at all three at
// once, and comes back with the restoration; also if it happened while the second was down,
// or while the first had no feed. The second goes on so without the first.
func TestFollowNews(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	primary := newBooks(t, net, "-events", "-list-ttl", "1h")
	f := primary.follower("-events", "-list-ttl", "1h")
	proxy := startServer(t, net, "proxy", "proxy", "-upstream", f.URL, "-follow", "-miss", "fetch", "-private", "", "-list-ttl", "1h", "-down-ttl", "0s")
	const bad, old = "git.test/simple@v1.1.0", "git.test/simple@v1.0.0"
	at := func(ref string) string {
		path, version, _ := strings.Cut(ref, "@")
		return "/" + path + "/@v/" + version + ".mod"
	}
	all := []*server{primary.server, f.server, proxy}
	everywhere := func(ref string, want int, text string) {
		t.Helper()
		for _, s := range all {
			eventually(t, s.URL+at(ref), func(status int, body string) bool {
				return status == want && strings.Contains(body, text)
			})
		}
	}
	client := modtest.NewGo(t, net)
	client.Set("GOPROXY="+proxy.URL, "GONOPROXY=none", "GONOSUMDB=*")
	for _, ref := range []string{bad, old} {
		client.MustDownload(ref)
		f.gets(ref)
	}

	// Each lists those that follow it.
	eventually(t, primary.ops+"/followers", func(_ int, body string) bool { return strings.Contains(body, `[{"name":"registry-`) })
	eventually(t, f.ops+"/followers", func(_ int, body string) bool { return strings.Contains(body, `"name":"proxy-`) })

	tool(t, "rm", primary.dir, "-reason", "leaks a key", bad)
	everywhere(bad, http.StatusGone, "leaks a key")
	tool(t, "restore", primary.dir, bad)
	everywhere(bad, http.StatusOK, "")
	f.gets(bad) // with its zip, before anybody asked for that

	// What is hidden leaves the list, also of the follower and of the proxy on their own.
	tool(t, "hide", primary.dir, "-reason", "broken", bad)
	for _, s := range all {
		eventually(t, s.URL+"/git.test/simple/@v/list", func(status int, body string) bool {
			return status == http.StatusOK && strings.Contains(body, "v1.0.0") && !strings.Contains(body, "v1.1.0")
		})
	}
	modtest.Eventually(t, "the follower has the mark itself", func() bool {
		marks, _ := os.ReadFile(filepath.Join(f.dir, "git.test/simple/@v/taken")) // empty until then
		return strings.Contains(string(marks), "broken")
	})
	mend := f.way.Break("", modtest.Cut())
	f.Kill()
	f.restart()
	_, list := fetched(t, f.URL+"/git.test/simple/@v/list")
	assert.Contains(t, list, "v1.0.0")
	assert.NotContains(t, list, "v1.1.0")
	f.Stop()

	// While the follower is down, and then while no feed is told.
	tool(t, "rm", primary.dir, "-reason", "an outage", old)
	mend()
	f.restart()
	everywhere(old, http.StatusGone, "an outage")
	f.Stop()
	primary.Stop()
	require.NoError(t, os.RemoveAll(filepath.Join(primary.dir, ".events")))
	tool(t, "restore", primary.dir, old)
	tool(t, "rm", primary.dir, "-reason", "no feed", bad)
	primary.restart()
	f.restart()
	everywhere(bad, http.StatusGone, "no feed")
	everywhere(old, http.StatusOK, "")
	f.gets(old)
	for _, s := range all {
		assert.NotContains(t, s.Log(), "level=ERROR")
	}
}
