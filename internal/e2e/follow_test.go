package e2e_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	return b.followerIn(b.t.TempDir(), args...)
}

// followerIn is follower with a folder for its store.
func (b *books) followerIn(dir string, args ...string) *followed {
	b.t.Helper()
	way := newRecordingProxy(b.t, b.URL)
	key := strings.TrimPrefix(b.Env[1], "GOSUMDB=")
	args = append([]string{"-follow", way.URL, "-follow-key", key, "-private", "corp.test", "-missing-ttl", "0s", "-down-ttl", "0s"}, args...)
	n := newServer(b.t, b.net, "registry", "follower", args...)
	n.dir = dir
	n.start("127.0.0.1:0")
	return &followed{&books{n, b.t, b.net}, way}
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

	lags := regexp.MustCompile(`\nathens_follow_lag_seconds [0-9.]*[1-9]`) // nobody knows what the primary has meanwhile
	modtest.Eventually(t, "the lag is shown", func() bool { return lags.MatchString(get(t, f.ops+"/metrics")) })
	assert.Contains(t, get(t, f.ops+"/metrics"), "\nathens_follow_lag_records 0\n")
	assert.Contains(t, get(t, f.URL+"/-/ledger"), "not asked for")

	// What the primary learned meanwhile comes when it is back.
	primary.client().MustDownload("git.test/simple@v1.2.0")
	mend()
	f.gets("git.test/simple@v1.2.0")
	f.client().MustDownload("git.test/simple@v1.2.0")
	assert.False(t, strings.Contains(f.Log(), "level=ERROR"), f.Log())
	_, err = os.Stat(filepath.Join(f.dir, ".git-cache"))
	assert.ErrorIs(t, err, os.ErrNotExist, "a follower asks the primary alone")
}

// TestFailOver has a follower take the place of its primary, which comes back: clients and
// another follower go on with the new one, and notice the old one's other history.
func TestFailOver(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	old := newBooks(t, net)
	old.client().MustDownload(ledgerRefs[0])
	next, third := old.follower(), old.follower()
	knows := next.client()
	for _, f := range []*followed{next, third} {
		f.gets(ledgerRefs[0])
	}
	knows.MustDownload(ledgerRefs[0])
	old.Kill()

	// In four lines of docs/ledger.md.
	next.Stop()
	following := next.args
	next.args = append(slices.Clone(old.args), "-ledger-key", old.beside(".ledger.key"))
	next.restart()
	require.Equal(t, old.Env[1], next.Env[1], "clients keep their GOSUMDB")
	knows.MustDownload(ledgerRefs[1])
	third.follows(next.books)
	third.gets(ledgerRefs[1])
	third.client().MustDownload(ledgerRefs[1])
	status, head := modtest.Get(t, third.URL+"/sumdb/sum.corp.example/latest")
	require.Equal(t, http.StatusOK, status)

	// The old primary is back, and records something else: its log is another one.
	old.restart()
	old.client().MustDownload("git.test/simple@v1.0.0")
	old.client().MustDownload("git.test/simple@v1.2.0")
	third.follows(old)
	third.AwaitLog("follow: fork")
	for _, h := range []string{head, get(t, old.URL+"/sumdb/sum.corp.example/latest")} {
		hash := strings.Split(h, "\n")[2]
		third.AwaitLog(hash) // both heads are in the log
	}
	_, now := modtest.Get(t, third.URL+"/sumdb/sum.corp.example/latest")
	assert.Equal(t, head, now, "it serves what it verified")
	third.client().MustDownload(ledgerRefs[1])
	knows.Set(old.Env...)
	old.refused(knows, "git.test/simple@v1.2.0", "SECURITY ERROR")

	// On its own folder the old one can't follow the new one; on an empty one it can.
	old.Stop()
	old.args = following
	(&followed{old, next.way}).follows(next.books)
	old.AwaitLog("follow: fork")
	old.Stop()
	require.NoError(t, errors.Join(os.RemoveAll(old.dir), os.Remove(old.beside(".ledger.head"))))
	old.restart()
	old.gets(ledgerRefs[1])
	old.client().MustDownload(ledgerRefs[1])
}

// follows makes a follower follow b, after a restart.
func (f *followed) follows(b *books) {
	f.t.Helper()
	f.Stop()
	f.args = slices.Clone(f.args)
	f.args[slices.Index(f.args, "-follow")+1] = b.URL
	f.restart()
}

// get returns the body of an answer of status 200.
func get(t *testing.T, url string) string {
	t.Helper()
	status, body := modtest.Get(t, url)
	require.Equal(t, http.StatusOK, status, body)
	return body
}
