package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modtest"
)

// books is a registry with a ledger, and what its clients want of it.
type books struct {
	*server
	t   *testing.T
	net *modtest.Internet
}

// ledgerRefs are a public and a private module.
var ledgerRefs = []string{"git.test/simple@v1.1.0", "corp.test/secret/plans@v1.1.0"}

func newBooks(t *testing.T, net *modtest.Internet, args ...string) *books {
	args = append([]string{"-private", "corp.test", "-ledger", "sum.corp.example", "-missing-ttl", "0s", "-down-ttl", "0s"}, args...)
	return &books{startServer(t, net, "registry", "registry", args...), t, net}
}

// client is a machine that has pasted the registry's line, whatever it had before.
func (b *books) client() *modtest.Go {
	g := modtest.NewGo(b.t, b.net)
	g.Set("GOPRIVATE=corp.test")
	g.Set(b.Env...)
	return g
}

// refused wants a download to fail with these words of the go command.
func (b *books) refused(g *modtest.Go, ref string, words ...string) {
	b.t.Helper()
	stdout, stderr, err := g.Run("mod", "download", "-json", ref)
	require.Error(b.t, err)
	for _, w := range words {
		assert.Contains(b.t, stdout+stderr, w)
	}
}

// beside returns the name of a file beside the store.
func (b *books) beside(end string) string { return b.dir + end }

// TestLedgerVerifiesBuilds lets the real go command verify public and private modules
// against the registry's own ledger, from the first one on.
func TestLedgerVerifiesBuilds(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	direct := modtest.NewGo(t, net)
	b := newBooks(t, net)
	require.Regexp(t, `^GOSUMDB=sum\.corp\.example\+[0-9a-f]{8}\+`, b.Env[1])
	require.Equal(t, []string{"GOPROXY=" + b.URL, b.Env[1], "GOPRIVATE=none"}, b.Env)
	info, err := os.Stat(b.beside(".ledger.key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	b.AwaitLog("file=" + b.beside(".ledger.key"))

	g := b.client()
	g.Write("go.mod", "module program\n\ngo 1.21\n")
	_, stderr, err := g.Run(append([]string{"get"}, ledgerRefs...)...)
	require.NoError(t, err, stderr)
	sums, err := os.ReadFile(filepath.Join(g.Dir, "go.sum"))
	require.NoError(t, err)
	for _, ref := range ledgerRefs {
		d := direct.MustDownload(ref)
		assert.Contains(t, string(sums), fmt.Sprintf("%s %s %s\n", d.Path, d.Version, d.Sum))
		assert.Contains(t, string(sums), fmt.Sprintf("%s %s/go.mod %s\n", d.Path, d.Version, d.GoModSum))
		b.AwaitLog("module=" + d.Path + " version=" + d.Version + " file=sumdb")
	}

	// What does not exist is missing, and recorded nowhere.
	status, _ := modtest.Get(t, b.URL+"/sumdb/sum.corp.example/lookup/git.test/simple@v1.9.9")
	assert.Equal(t, http.StatusNotFound, status)
	status, body := modtest.Get(t, b.URL+"/index")
	require.Equal(t, http.StatusOK, status)
	got := map[string]bool{}
	var last time.Time
	for line := range strings.Lines(body) {
		var e struct {
			Path, Version string
			Timestamp     time.Time
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		got[e.Path+"@"+e.Version] = true
		require.True(t, e.Timestamp.After(last))
		last = e.Timestamp
	}
	for _, ref := range ledgerRefs {
		assert.True(t, got[ref], "%s in %s", ref, body)
	}
	assert.NotContains(t, body, "v1.9.9")

	// A restart goes on with the same key and log.
	env := b.Env[1]
	b.Kill()
	b.restart()
	assert.Equal(t, env, b.Env[1])
	g.Clean()
	b.client().MustDownload(ledgerRefs[1])
	_, stderr, err = g.Run("mod", "download")
	require.NoError(t, err, stderr)
}

// replaceZip puts another content in the place of a held version, as somebody does who
// can write the store.
func (n *server) replaceZip(m module.Version, v *modtest.Version) {
	n.t.Helper()
	base := filepath.Join(n.dir, filepath.FromSlash(m.Path), "@v", m.Version)
	for ext, data := range map[string][]byte{".zip": v.Zip, ".ziphash": []byte(v.Sum)} {
		require.NoError(n.t, os.WriteFile(base+ext, data, 0o666))
	}
	if err := os.Remove(base + ".record"); !os.IsNotExist(err) {
		require.NoError(n.t, err)
	}
}

// replaceZip is that of a flow's script.
func (f *flow) replaceZip(word []string) []string {
	f.t.Helper()
	m := module.Version{Path: word[2], Version: word[3]}
	f.servers[word[1]].replaceZip(m, modtest.NewVersion(f.t, m.Path, m.Version, map[string]string{"go.mod": "module " + m.Path + "\n", "evil.go": "package evil\n"}))
	return nil
}

// refused wants a go command to refuse a module.
func (f *flow) refused(word []string) []string {
	f.t.Helper()
	c := f.client(word[1], word[3])
	stdout, stderr, err := c.Run("mod", "download", "-json", word[2])
	require.Error(f.t, err)
	require.Contains(f.t, stdout+stderr, word[4])
	f.drain()
	return []string{word[1] + " has no " + word[2]}
}

// TestLedgerNoticesOtherContent changes what the registry holds behind its back: the go
// command of a client that has never seen the module says no.
func TestLedgerNoticesOtherContent(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, `# A tag moves.
repo corp.test/moving
write go.mod "module corp.test/moving\n"
write m.go "package m // right\n"
commit 2020-01-01T10:00:00Z Right
tag v1.0.0
`)
	net := modtest.NewInternet(t, repo)
	b := newBooks(t, net)
	const ref = "corp.test/moving@v1.0.0"
	m := module.Version{Path: "corp.test/moving", Version: "v1.0.0"}
	b.client().MustDownload(ref)
	right := modtest.NewVersion(t, m.Path, m.Version, map[string]string{"go.mod": "module corp.test/moving\n", "m.go": "package m // right\n"})
	evil := modtest.NewVersion(t, m.Path, m.Version, map[string]string{"go.mod": "module corp.test/moving\n", "m.go": "package m // wrong\n"})

	// Other content in the store, as one would put it there who can write it.
	b.Stop()
	b.replaceZip(m, evil)
	b.restart()
	b.refused(b.client(), ref, "checksum mismatch", "SECURITY ERROR")

	// One byte of the zip.
	b.Stop()
	flipped := *right
	flipped.Zip = append([]byte(nil), right.Zip...)
	flipped.Zip[bytes.Index(flipped.Zip, []byte("m.go"))+len("m.go")+3] ^= 1 // of the content
	b.replaceZip(m, &flipped)
	b.restart()
	require.NotEmpty(t, b.client().Download(ref)[0].Error)

	// The store is lost and the tag moves: what was recorded still binds.
	b.Stop()
	require.NoError(t, os.RemoveAll(filepath.Join(b.dir, "corp.test")))
	repo.Run("write m.go \"package m // moved\\n\"\ncommit 2020-01-02T10:00:00Z Moved\ntag v1.0.0\n")
	require.NoError(t, os.RemoveAll(filepath.Join(b.dir, ".git-cache")))
	b.restart()
	b.refused(b.client(), ref, "502 Bad Gateway")
	status, body := modtest.Get(t, b.URL+"/corp.test/moving/@v/v1.0.0.zip")
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Contains(t, body, "conflict: the .zip held is "+right.Sum)
	b.AwaitLog("level=ERROR msg=conflict")
	files, err := filepath.Glob(filepath.Join(b.dir, "corp.test/moving/@v/*.zip"))
	require.NoError(t, err)
	assert.Empty(t, files, "nothing of it is kept")
}

// TestLedgerNoticesHistory gives clients another history than the one they know.
func TestLedgerNoticesHistory(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	b := newBooks(t, net)
	knows := b.client()
	knows.MustDownload(ledgerRefs[0])
	b.Stop()
	old := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.CopyFS(old, os.DirFS(b.dir)))
	b.restart()
	knows.MustDownload(ledgerRefs[1])
	b.Stop()

	// An older copy of the store is refused, and says what to do.
	kept := filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.Rename(b.dir, kept))
	require.NoError(t, os.CopyFS(b.dir, os.DirFS(old)))
	start := exec.CommandContext(t.Context(), modtest.Build(t, "./examples/registry"), append([]string{"-addr", "127.0.0.1:0", "-dir", b.dir}, b.args...)...)
	start.Env = b.env
	refused, err := start.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(refused), "it was rolled back")
	assert.Contains(t, string(refused), "restore the folder")

	// Without the copy of its head it goes on, as a fork. Whoever knows more notices.
	require.NoError(t, os.Remove(b.beside(".ledger.head")))
	b.restart()
	b.client().MustDownload("git.test/simple@v1.0.0") // where plans had been
	b.client().MustDownload("git.test/simple@v1.2.0") // and more
	b.refused(knows, "git.test/simple@v1.0.0", "SECURITY ERROR")
	b.client().MustDownload("git.test/simple@v1.0.0")

	// So does who knows the other history of a second holder of the key.
	b.Stop()
	other := newBooks(t, net, "-ledger-key", b.beside(".ledger.key"))
	require.Equal(t, b.Env[1], other.Env[1])
	for _, ref := range []string{"git.test/simple@v1.2.0", "git.test/simple@v1.1.0", "git.test/simple@v1.0.0", ledgerRefs[1]} {
		other.client().MustDownload(ref)
	}
	b.restart()
	moves := b.client()
	moves.MustDownload(ledgerRefs[0])
	moves.Set(other.Env...)
	other.refused(moves, "git.test/simple@v1.2.0", "SECURITY ERROR")
}

// TestLedgerIsHealed starts a ledger over a store that is older, and over one whose
// process died between the store and the log.
func TestLedgerIsHealed(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	plain := startServer(t, net, "registry", "registry", "-private", "corp.test")
	g := modtest.NewGo(t, net)
	g.Set(plain.Env...)
	for _, ref := range ledgerRefs {
		g.MustDownload(ref)
	}
	plain.Stop()
	plain.args = append(plain.args, "-ledger", "sum.corp.example")
	plain.restart()
	b := &books{plain, t, net}
	b.AwaitLog(`msg="ledger: recorded what the store holds"`)
	status, body := modtest.Get(t, b.URL+"/index?limit=1")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, 1, strings.Count(body, "\n"))
	calls := net.Count("")
	for _, ref := range ledgerRefs {
		status, body := modtest.Get(t, b.URL+"/sumdb/sum.corp.example/lookup/"+ref)
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, strings.Replace(ref, "@", " ", 1)+" h1:")
	}
	assert.Equal(t, calls, net.Count(""), "nothing was fetched for it")
}
