package modtest_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

const tiny = `# Tiny.
repo git.test/tiny
files one
commit 2020-01-01T00:00:00Z Begin
tag v1.0.0

-- one/go.mod --
module git.test/tiny
`

func TestSameScriptSameHash(t *testing.T) {
	a, b := modtest.NewRepo(t, tiny), modtest.NewRepo(t, tiny)
	assert.Equal(t, a.Hash("v1.0.0"), b.Hash("main"))
	assert.Equal(t, "Tiny.", a.Purpose)
}

func TestRepoChanges(t *testing.T) {
	r := modtest.NewRepo(t, tiny)
	net := modtest.NewInternet(t, r)
	g := modtest.NewGo(t, net)
	first := g.MustDownload("git.test/tiny@v1.0.0")
	assert.Equal(t, r.Hash("v1.0.0"), first.Stored.Origin.Hash)
	assert.Equal(t, "refs/tags/v1.0.0", first.Stored.Origin.Ref)

	r.Run("files two\ncommit 2020-01-02T00:00:00Z On\ntag v1.0.0\ntag v1.1.0\n-- two/a.go --\npackage tiny\n")
	assert.Equal(t, "v1.1.0", g.MustDownload("git.test/tiny@latest").Version)
	g.Clean()
	moved := g.MustDownload("git.test/tiny@v1.0.0")
	assert.NotEqual(t, first.Sum, moved.Sum)
	assert.NotEqual(t, first.Stored.Origin.Hash, moved.Stored.Origin.Hash)

	r.Run("git tag -d v1.1.0")
	g.Clean()
	assert.Equal(t, "v1.0.0", g.MustDownload("git.test/tiny@latest").Version, "the tag is gone")

	g.Clean()
	r.Delete()
	gone := g.Download("git.test/tiny@v1.0.0")
	require.Len(t, gone, 1)
	assert.Contains(t, gone[0].Error, "404")
	r.Restore()
	assert.Equal(t, moved.Sum, g.MustDownload("git.test/tiny@v1.0.0").Sum)
}

func TestCommitsByHash(t *testing.T) {
	repos := modtest.Ready(t, "simple", "strict")
	net := modtest.NewInternet(t, repos...)
	g := modtest.NewGo(t, net)
	fetch := func(r *modtest.Repo) error {
		require.NoError(t, exec.Command("git", "init", "-q", "--bare", g.Dir+"/"+r.Path).Run())
		// Version 2 of git's protocol gives any commit away.
		cmd := exec.Command("git", "-c", "protocol.version=0", "fetch", net.URL(r.Path), r.Hash("main~1"))
		cmd.Dir, cmd.Env = g.Dir+"/"+r.Path, g.Env()
		return cmd.Run()
	}
	assert.NoError(t, fetch(repos[0]))
	assert.Error(t, fetch(repos[1]))
}

func TestEmptyRepository(t *testing.T) {
	g := modtest.NewGo(t, modtest.NewInternet(t, modtest.Ready(t, "empty")...))
	d := g.Download("git.test/empty@latest")
	require.Len(t, d, 1)
	assert.NotEmpty(t, d[0].Error)
}

func TestBuildsTheGraph(t *testing.T) {
	net := modtest.NewInternet(t, modtest.Ready(t, "graph-app", "graph-lib", "graph-old", "graph-base")...)
	g := modtest.NewGo(t, net)
	out, errors, err := g.Run("run", "git.test/graph/app@v1.0.0")
	require.NoError(t, err, errors)
	assert.Equal(t, "app: lib on base three, old on base three\n", out)
}

// Repositories of one script are made once, and what a test does with its own reaches no
// other.
func TestRepositoriesOfOneScriptAreApart(t *testing.T) {
	script := tiny + "-- one/run.sh --\nexit\n"
	a, b := modtest.NewRepo(t, script), modtest.NewRepo(t, script)
	first := a.Hash("v1.0.0")
	a.Run("write a.go \"package tiny\\n\"\ncommit 2020-01-02T00:00:00Z On\ntag v1.0.0\ntag v1.1.0\nimport corp.test/a\noffer corp.test/a@v1.1.0\ngit gc -q --prune=now\n")
	require.NotEqual(t, first, a.Hash("v1.0.0"))
	for _, r := range []*modtest.Repo{b, modtest.NewRepo(t, script)} {
		assert.Equal(t, first, r.Hash("v1.0.0"))
		assert.Equal(t, first, r.Hash("main"))
		assert.Empty(t, r.Offers)
		r.Run("chmod +x run.sh\nwrite a.go \"package tiny\\n\"\ncommit 2020-01-02T00:00:00Z On\n")
		out, err := exec.Command("git", "-C", r.Dir(), "log", "--format=%s", "--name-only", "main").CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, "On\n\na.go\nrun.sh\nBegin\n\ngo.mod\nrun.sh\n", string(out))
	}
	out, err := exec.Command("git", "-C", b.Dir(), "fsck", "--full", "--strict").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
