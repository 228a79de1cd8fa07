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

// followed is a registry that follows another, and the way from it to that one.
type followed struct {
	*books
	way *recordingProxy
}

// follower starts a registry that follows b.
func (b *books) follower(args ...string) *followed {
	b.t.Helper()
	way := newRecordingProxy(b.t, b.URL)
	key := strings.TrimPrefix(b.Env[1], "GOSUMDB=")
	args = append([]string{"-follow", way.URL, "-follow-key", key, "-private", "corp.test", "-missing-ttl", "0s", "-down-ttl", "0s"}, args...)
	return &followed{&books{startServer(b.t, b.net, "registry", "follower", args...), b.t, b.net}, way}
}

// gets waits until the store has the zip of a version, path@version.
func (n *server) gets(ref string) {
	n.t.Helper()
	path, version, _ := strings.Cut(ref, "@")
	file := filepath.Join(n.dir, filepath.FromSlash(path), "@v", version+".zip")
	modtest.Eventually(n.t, n.kind+" has "+ref, func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
}

// look looks a version up in the ledger.
func (b *books) look(ref string) (status int, body string) {
	b.t.Helper()
	return modtest.Get(b.t, b.URL+"/sumdb/sum.corp.example/lookup/"+ref)
}

// TestFollow has a registry that follows another: it gets what that has, and what
// clients ask for, and goes on without it.
func TestFollow(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	primary := newBooks(t, net)
	for _, ref := range ledgerRefs {
		primary.client().MustDownload(ref)
	}
	f := primary.follower()
	require.Equal(t, []string{"GOPROXY=" + f.URL, primary.Env[1], "GOPRIVATE=none"}, f.Env)
	for _, ref := range ledgerRefs {
		f.gets(ref) // before anybody asked
	}
	zips := f.way.Count("*.zip")
	for _, ref := range ledgerRefs {
		f.client().MustDownload(ref)
	}
	assert.Equal(t, zips, f.way.Count("*.zip"), "nothing of it is fetched again")

	// A miss, public or private, is fetched and recorded by the primary at once.
	for _, ref := range []string{"git.test/simple@v1.0.0", "corp.test/secret/plans@v1.0.0"} {
		f.client().MustDownload(ref)
		status, _ := primary.look(ref)
		assert.Equal(t, http.StatusOK, status)
	}
	status, _ := f.look("git.test/simple@v1.9.9")
	assert.Equal(t, http.StatusNotFound, status)

	// Without the primary: what is held is served, and looked up; what is not, is no 404.
	mend := f.way.Break("", modtest.Cut())
	f.Kill()
	f.restart()
	g := f.client()
	for _, ref := range ledgerRefs {
		g.MustDownload(ref)
	}
	stdout, stderr, err := g.Run("list", "-m", "-versions", "git.test/simple")
	require.NoError(t, err, stderr)
	assert.Contains(t, stdout, "v1.0.0 v1.1.0")
	status, _ = f.look("git.test/simple@v1.2.0")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	status, _ = modtest.Get(t, f.URL+"/git.test/simple/@v/v1.2.0.zip")
	assert.Equal(t, http.StatusServiceUnavailable, status)

	// What the primary learned meanwhile comes when it is back.
	primary.client().MustDownload("git.test/simple@v1.2.0")
	mend()
	f.gets("git.test/simple@v1.2.0")
	f.client().MustDownload("git.test/simple@v1.2.0")
	assert.False(t, strings.Contains(f.Log(), "level=ERROR"), f.Log())
	_, err = os.Stat(filepath.Join(f.dir, ".git-cache"))
	assert.ErrorIs(t, err, os.ErrNotExist, "a follower asks the primary alone")
}
