package e2e_test

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestLedgerIsHealedAfterKill kills a registry with SIGKILL when it has stored a zip and
// is about to write the record: the next start records the version, without a source.
func TestLedgerIsHealedAfterKill(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "strace", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("skipped, no process is killed at a system call: strace does not work here: %v", err)
	}
	net := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	b := newBooks(t, net) // makes the ledger
	b.Kill()
	args := []string{
		"-f", "-qq", "-o", filepath.Join(t.TempDir(), "trace"), "-P", filepath.Join(b.dir, ".ledger", "records"),
		"-e", "trace=pwrite64", "-e", "inject=pwrite64:signal=SIGKILL:when=1", modtest.Build(t, "./examples/registry"),
		"-addr", "127.0.0.1:0", "-dir", b.dir,
	}
	killed := modtest.Start(t, "strace", append(args, b.args...), b.env)
	_, err := http.Get(killed.URL + "/git.test/simple/@v/v1.1.0.zip")
	require.Error(t, err, "nothing is answered before it is recorded")
	require.Contains(t, killed.AwaitEnd(), "killed")
	require.FileExists(t, filepath.Join(b.dir, "git.test/simple/@v/v1.1.0.zip"))

	calls := net.Count("")
	b.restart()
	b.AwaitLog(`msg="ledger: recorded what the store holds" looked_at=1 recorded=1 failed=0`)
	status, body := modtest.Get(t, b.URL+"/index")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, 1, strings.Count(body, `"git.test/simple","Version":"v1.1.0"`), body)
	b.client().MustDownload(ledgerRefs[0])
	assert.Equal(t, calls, net.Count(""), "nothing was fetched for it")
}
