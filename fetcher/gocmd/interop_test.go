package gocmd_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// newFetcher makes a Fetcher whose commands live in an internet.
func newFetcher(t testing.TB, net *modtest.Internet, change func(*gocmd.Options)) *gocmd.Fetcher {
	t.Helper()
	opts := &gocmd.Options{Dir: t.TempDir(), Env: modtest.NewGo(t, net).Env()}
	if change != nil {
		change(opts)
	}
	f, err := gocmd.New(opts)
	require.NoError(t, err)
	closeAtEnd(t, f, opts.Dir)
	return f
}

// closeAtEnd closes a Fetcher at the end of the test, when nothing may be left
// of its folders.
func closeAtEnd(t testing.TB, f *gocmd.Fetcher, dir string) {
	t.Cleanup(func() {
		assert.NoError(t, f.Close())
		left, err := os.ReadDir(dir)
		assert.NoError(t, err)
		assert.Empty(t, left, "what is left of the temporary folders")
	})
}

// TestInterop asks, for repositories of several shapes, a Fetcher and a go
// command of the test's own, whose answers are recorded: both give the same, or both
// refuse.
func TestInterop(t *testing.T) {
	for _, name := range []string{"subdir", "incompatible", "names", "retracted", "vanity"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := modtest.Ready(t, name)[0]
			net := modtest.NewInternet(t, repo)
			f := newFetcher(t, net, nil)
			direct := func() *modtest.Go { return modtest.NewGo(t, net) }
			rec := modtest.NewRecorded(t, "modtest-"+name, repo.State())
			answer := recorded(rec, func(ref string) modtest.Answer { return alone(direct, ref) })
			for _, ref := range repo.Offers {
				compare(t, answer, f, ref)
			}
			path, _, _ := strings.Cut(repo.Offers[0], "@")
			compareLists(t, recorded(rec, func(path string) modtest.Answer { return listed(t, direct(), path) }), f, path)
		})
	}
}

// recorded returns ask with the answers that rec holds.
func recorded(rec *modtest.Recorded, ask func(ref string) modtest.Answer) func(ref string) modtest.Answer {
	return func(ref string) modtest.Answer {
		return rec.Get([]string{ref}, func([]string) []modtest.Answer { return []modtest.Answer{ask(ref)} })[0]
	}
}

// listed is what "go list" says of a module.
func listed(t *testing.T, direct *modtest.Go, path string) modtest.Answer {
	t.Helper()
	stdout, stderr, err := direct.Run("list", "-m", "-versions", "-retracted", "-json", path)
	require.NoError(t, err, stderr)
	var list struct{ Versions []string }
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	return modtest.Answer{Ref: path, Versions: list.Versions}
}

// compareLists compares Versions with what "go list" says, and returns them.
func compareLists(t *testing.T, direct func(path string) modtest.Answer, f athens.Fetcher, path string) []string {
	t.Helper()
	want := direct(path)
	got, err := f.Versions(t.Context(), path)
	require.NoError(t, err)
	assert.Equal(t, want.Versions, got, "versions of %s", path)
	return got
}

// alone asks a go command on a machine that knows nothing.
func alone(direct func() *modtest.Go, ref string) modtest.Answer {
	return direct().Download(ref)[0].Answer(ref)
}

// compare compares what path@query resolves to and its three files with what
// "go mod download" makes of it, each time on a machine that knows nothing.
func compare(t *testing.T, direct func(ref string) modtest.Answer, f athens.Fetcher, ref string) {
	t.Helper()
	path, query, _ := strings.Cut(ref, "@")
	want := direct(ref)
	version := query
	if query != module.CanonicalVersion(query) || module.Check(path, query) != nil {
		info, err := f.Resolve(t.Context(), path, query)
		if want.Refused {
			assert.Error(t, err, "%s: the go command refuses it", ref)
			return
		}
		require.NoError(t, err, ref)
		assert.Equal(t, modtest.JSON(t, modtest.Info{Version: want.Version, Time: want.Time, Origin: want.Origin}), modtest.JSON(t, info), ref)
		version = want.Version
		want = direct(path + "@" + version)
	}
	got, err := modtest.FetchAll(t, f, path, version)
	if want.Refused {
		assert.Error(t, err, "%s: the go command refuses it", ref)
		return
	}
	require.NoError(t, err, ref)
	assert.Equal(t, modtest.JSON(t, modtest.Info{Version: want.Version, Time: want.Time, Origin: want.Origin}), modtest.JSON(t, got.Info), ref)
	assert.Equal(t, want.GoModSum, got.ModSum, ref)
	assert.Equal(t, want.Sum, got.Sum, ref)
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(data)
}
