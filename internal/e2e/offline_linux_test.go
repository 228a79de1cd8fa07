package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestOfflineCallsNobody looks at the system calls of a server that is offline: it makes no
// connection and sends no datagram, to a name server neither, whatever it is asked.
func TestOfflineCallsNobody(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "strace", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("skipped, system calls are not checked: strace does not work here: %v", err)
	}
	net := modtest.NewInternet(t, modtest.Ready(t, "graph-base")...)
	n := startServer(t, net, "registry", "registry")
	g := modtest.NewGo(t, net)
	g.Set(n.Env...)
	g.MustDownload("git.test/graph/base@v1.0.0")
	n.Stop()

	bin, trace := modtest.Build(t, "./examples/proxy"), filepath.Join(t.TempDir(), "trace")
	n.Process = modtest.Start(t, "strace", []string{
		"-D", "-f", "-qq", "-o", trace, "-e", "trace=bind,connect,sendto,sendmsg,sendmmsg", bin,
		"-addr", "127.0.0.1:0", "-dir", n.dir, "-offline", "-upstream", "http://up.test", "-private", "corp.test",
	}, n.env)
	for path, want := range map[string]int{
		"/git.test/graph/base/@v/list":               http.StatusOK,
		"/git.test/graph/base/@latest":               http.StatusOK,
		"/git.test/graph/base/@v/v1.info":            http.StatusOK,
		"/git.test/graph/base/@v/v1.0.0.zip":         http.StatusOK,
		"/git.test/graph/base/@v/v1.2.0.zip":         http.StatusNotFound,
		"/other.test/m/@v/list":                      http.StatusNotFound,
		"/other.test/m/@v/main.info":                 http.StatusNotFound,
		"/corp.test/secret/@latest":                  http.StatusNotFound,
		"/corp.test/secret/@v/v1.0.0.zip":            http.StatusNotFound,
		"/sumdb/sum.test/supported":                  http.StatusNotFound,
		"/sumdb/sum.test/lookup/other.test/m@v1.0.0": http.StatusNotFound,
		"/": http.StatusOK,
	} {
		status, body := modtest.Get(t, n.URL+path)
		assert.Equal(t, want, status, "%s: %s", path, body)
	}
	n.Stop()
	calls, err := os.ReadFile(trace)
	require.NoError(t, err)
	require.Regexp(t, `bind\(.*127\.0\.0\.1`, string(calls), "the calls of the server are seen")
	assert.Empty(t, regexp.MustCompile(`(?m)^.*(connect\(|(?:sendto|sendmsg|sendmmsg)\(.*sa_family=AF_(?:UNIX|INET)).*$`).FindAllString(string(calls), -1))
}
