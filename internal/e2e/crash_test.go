package e2e_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/athens-go/athens/internal/modtest"
)

// crashVersions is how many versions are being stored when a server is killed.
const crashVersions = 40

// killingTime is how long a test goes on to kill a server; three times at least, however
// long they take.
const killingTime = 10 * time.Second

// TestCrash kills servers at random instants while they store, starts them
// again on the same folder, and looks what the crash has left: each version is
// whole, held without its zip, or absent, and each file is the right one.
// ATHENS_FULL=1 kills more often.
func TestCrash(t *testing.T) {
	t.Parallel()
	kills := 40
	if fullRun() {
		kills = 100
	}
	net := modtest.NewInternet(t)
	var versions []*modtest.Version
	for i := range crashVersions {
		body := strings.Repeat(fmt.Sprintf("// line of version %d\n", i), 2000)
		versions = append(versions, modtest.NewVersion(t, "up.test/m", fmt.Sprintf("v1.0.%d", i), map[string]string{
			"go.mod": "module up.test/m\n", "m.go": "package m\n" + body,
		}))
	}
	up := modtest.NewGoProxy(t, versions...)

	tagged := addTaggedRepo(t, net)

	t.Run("proxy", func(t *testing.T) {
		t.Parallel()
		crashServer(t, net, kills/2, versions, "proxy", "-upstream", up.URL, "-fill", "whole", "-fill-after", "0")
	})
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		crashServer(t, net, kills-kills/2, tagged, "registry")
	})
}

// crashRepo is the script of a repository with as many versions as go.
func crashRepo() string {
	script := &strings.Builder{}
	fmt.Fprintln(script, "# A module with many versions, to be killed over.\nrepo git.test/many")
	for i := range crashVersions {
		fmt.Fprintf(script, "write go.mod %q\nwrite m.go %q\ncommit 2024-01-01T00:%02d:00Z Version %d\ntag v1.0.%d\noffer git.test/many@v1.0.%d\n",
			"module git.test/many\n", fmt.Sprintf("package many\n\nconst Version = %d\n", i), i, i, i, i)
	}
	return script.String()
}

// taggedVersions remembers what [addTaggedRepo] returns: the repository is the same
// each time, and asking takes long.
var taggedVersions struct {
	sync.Mutex
	all []*modtest.Version
}

// addTaggedRepo adds the repository of [crashRepo] to an internet, and returns its
// versions as a go command downloads them. Only the first test asks.
func addTaggedRepo(t *testing.T, net *modtest.Internet) []*modtest.Version {
	t.Helper()
	repo := modtest.NewRepo(t, crashRepo())
	net.Add(repo)
	taggedVersions.Lock()
	defer taggedVersions.Unlock()
	if taggedVersions.all == nil {
		var all []*modtest.Version
		for _, d := range modtest.NewGo(t, net).Download(repo.Offers...) {
			require.Empty(t, d.Error)
			all = append(all, readVersion(t, d))
		}
		taggedVersions.all = all
	}
	return slices.Clone(taggedVersions.all)
}

// readVersion is what a go command has downloaded.
func readVersion(t *testing.T, d modtest.Download) *modtest.Version {
	t.Helper()
	v := &modtest.Version{Sum: d.Sum, GoModSum: d.GoModSum}
	v.Path, v.Version.Version = d.Path, d.Version
	for file, to := range map[string]*[]byte{d.Info: &v.Info, d.GoMod: &v.Mod, d.Zip: &v.Zip} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		*to = b
	}
	return v
}

// crashServer kills a server a number of times; each time it goes on with what the
// last crash has left, until all is held and a new folder is begun. In the end
// the server is left alone, and completes what there is.
func crashServer(t *testing.T, net *modtest.Internet, kills int, versions []*modtest.Version, kind string, args ...string) {
	random := modtest.Rand(t)
	until := time.Now().Add(killingTime) // bounds the test on a slow machine
	n := startServer(t, net, kind, kind, args...)
	killed, found := 0, map[string]int{}
	for ; killed < kills && (killed < 3 || time.Now().Before(until)); killed++ {
		const files = 4 // of a version
		killAmid(t, n, versions, random.IntN(files*len(versions)), time.Duration(random.Int64N(int64(2*time.Millisecond))))
		// Fills that go on would mend what is looked at: see TestFillsSurviveKills.
		require.NoError(t, os.RemoveAll(filepath.Join(n.dir, ".fills")))
		n.restart()
		left := inspect(t, n, versions)
		for state, count := range left {
			found[state] += count
		}
		if left["absent"] == 0 {
			n.Stop()
			n.dir = t.TempDir()
			n.restart()
		}
	}
	t.Logf("%d kills left %v", killed, found)
	stop := askAll(t, n, versions)
	modtest.Eventually(t, "all zips are stored", func() bool {
		zips, err := filepath.Glob(filepath.Join(n.dir, filepath.FromSlash(versions[0].Path), "@v", "*.zip"))
		return err == nil && len(zips) == len(versions)
	})
	stop()
	n.Stop()
	n.restart()
	require.Equal(t, map[string]int{"whole": len(versions)}, inspect(t, n, versions))
}

// askAll asks a server for everything at once. What it returns ends that.
func askAll(t *testing.T, n *server, versions []*modtest.Version) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, v := range versions {
		clients.Go(func() {
			for _, ext := range []string{"mod", "zip"} {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/"+v.Path+"/@v/"+v.Version.Version+"."+ext, nil)
				if err != nil {
					return
				}
				if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	return func() {
		cancel()
		clients.Wait()
	}
}

// killAmid asks a server for everything, and kills it a moment after it has
// stored some more files.
func killAmid(t *testing.T, n *server, versions []*modtest.Version, more int, moment time.Duration) {
	t.Helper()
	dir := filepath.Join(n.dir, filepath.FromSlash(versions[0].Path), "@v")
	stored := func() int {
		entries, _ := os.ReadDir(dir) // there is none at first
		return len(entries)
	}
	enough := min(stored()+more, 4*len(versions))
	stop := askAll(t, n, versions)
	defer stop()
	giveUp := time.NewTimer(5 * time.Second)
	defer giveUp.Stop()
	look := time.NewTicker(500 * time.Microsecond)
	defer look.Stop()
	for late := false; stored() < enough && !late; {
		select {
		case <-giveUp.C:
			late = true
		case <-look.C:
		}
	}
	<-time.After(moment)
	n.Kill()
}

// inspect reads the folder of a server that has started after a crash, by its
// names, and counts the versions in each state.
func inspect(t *testing.T, n *server, versions []*modtest.Version) map[string]int {
	t.Helper()
	left := map[string]int{}
	for _, v := range versions {
		base := filepath.Join(n.dir, filepath.FromSlash(v.Path), "@v", v.Version.Version)
		info, mod, zip := fileExists(t, base+".info"), fileExists(t, base+".mod"), fileExists(t, base+".zip")
		switch {
		case !mod && !zip: // an .info alone is not held
			left["absent"]++
			continue
		case mod && info && !zip:
			left["without zip"]++
		case mod && info && zip:
			left["whole"]++
		default:
			t.Fatalf("%s: .info %v, .mod %v, .zip %v", v.Version, info, mod, zip)
		}
		require.JSONEq(t, string(v.Info), n.file(v, "info"))
		require.Equal(t, string(v.Mod), n.file(v, "mod"))
		if zip {
			require.Equal(t, v.Sum, zipSum(t, n.file(v, "zip")), v.Version)
		}
	}
	checkNothingLeftOver(t, n.dir)
	return left
}

// file returns a file of a version, which the server must have.
func (n *server) file(v *modtest.Version, ext string) string {
	n.t.Helper()
	status, body := modtest.Get(n.t, n.URL+"/"+v.Path+"/@v/"+v.Version.Version+"."+ext)
	require.Equal(n.t, http.StatusOK, status, body)
	return body
}

// checkNothingLeftOver checks that a server's folder has files of versions only.
func checkNothingLeftOver(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && slices.Contains([]string{".git-cache", ".fills", ".web", "lock"}, entry.Name()) {
			return filepath.SkipDir // not of the tree
		}
		if err == nil && !entry.IsDir() && !isTree(entry.Name()) {
			err = fmt.Errorf("%s is left over", path)
		}
		return err
	}))
}

// isTree reports whether a file may stay in a folder that is not in use.
func isTree(name string) bool {
	switch filepath.Ext(name) {
	case ".info", ".mod", ".zip", ".ziphash", ".record":
		return strings.HasPrefix(name, "v1.")
	}
	return name == "list"
}

func fileExists(t testing.TB, file string) bool {
	t.Helper()
	_, err := os.Stat(file)
	if err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	return err == nil
}

// zipSum returns the h1 of a zip.
func zipSum(t *testing.T, body string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.zip")
	require.NoError(t, os.WriteFile(file, []byte(body), 0o666))
	sum, err := dirhash.HashZip(file, dirhash.Hash1)
	require.NoError(t, err)
	return sum
}
