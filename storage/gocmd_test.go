package storage_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// goOn returns a go command that gets modules from a folder.
func goOn(t *testing.T, dir string) *modtest.Go {
	t.Helper()
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY=file://"+filepath.ToSlash(dir), "GONOSUMDB=*")
	g.Write("go.mod", "module example.com/main\n\ngo 1.21\n")
	return g
}

func runGo(t *testing.T, g *modtest.Go, args ...string) string {
	t.Helper()
	stdout, stderr, err := g.Run(args...)
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), stderr)
	return strings.TrimSpace(stdout)
}

// TestFileProxy serves a store's folder to the go command without a server.
func TestFileProxy(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	const path = "example.com/Some/mod"
	var samples []storagetest.Sample
	for _, v := range []string{"v1.1.0", "v1.0.0", "v1.2.0-RC.1", "v1.1.1-0.20200101000000-abcdefabcdef"} {
		a := storagetest.NewSample(path, v, v)
		require.NoError(t, a.Store(t.Context(), s))
		samples = append(samples, a)
	}
	untagged := storagetest.NewSample("example.com/untagged", "v0.0.0-20200101000000-abcdefabcdef", "")
	older := storagetest.NewSample("example.com/untagged", "v0.0.0-20190101000000-abcdefabcdef", "older")
	require.NoError(t, untagged.Store(t.Context(), s))
	require.NoError(t, older.Put(t.Context(), s))

	g := goOn(t, dir)
	assert.Equal(t, path+" v1.0.0 v1.1.0 v1.2.0-RC.1", runGo(t, g, "list", "-m", "-versions", path))
	assert.Equal(t, path+" v1.1.0", runGo(t, g, "list", "-m", path+"@latest"))
	assert.Equal(t, path+" v1.0.0", runGo(t, g, "list", "-m", path+"@<v1.1.0"))
	assert.Equal(t, untagged.Module.Path+" "+untagged.Module.Version, runGo(t, g, "list", "-m", untagged.Module.Path+"@latest"))
	for _, a := range append(samples, untagged) {
		d := g.MustDownload(a.Module.String())
		assert.Equal(t, a.H1, d.Sum)
		assert.Equal(t, a.Module.Version, d.Version)
		assert.True(t, a.Info.Time.Equal(d.Stored.Time))
		assert.Equal(t, a.Info.Origin.Hash, d.Stored.Origin.Hash)
	}
	failed := g.Download(older.Module.String(), path+"@v1.0.7")
	for _, d := range failed {
		assert.NotEmpty(t, d.Error, "what is not held can't be downloaded")
	}
}

// TestAdoptModuleCache serves a go command's own cache, which lacks the .info
// of versions that it needed for the module graph only.
func TestAdoptModuleCache(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	requires := func(path, version, needs string) storagetest.Sample {
		if needs != "" {
			needs = "\nrequire " + needs // ends the comment that the salt is
		}
		a := storagetest.NewSample(path, version, needs)
		require.NoError(t, a.Store(t.Context(), s))
		return a
	}
	top := requires("example.com/Top", "v1.0.0", "example.com/dep v1.0.0")
	graph := requires("example.com/dep", "v1.0.0", "")
	dep := requires("example.com/dep", "v1.1.0", "")
	g := goOn(t, dir)
	g.Write("go.mod", "module example.com/main\n\ngo 1.16\n\nrequire (\n\texample.com/Top v1.0.0\n\texample.com/dep v1.1.0\n)\n")
	runGo(t, g, "mod", "download")

	cache := filepath.Join(g.ModCache, "cache", "download")
	adopted := newDisk(t, cache)
	ctx := t.Context()
	require.NoError(t, top.Whole(ctx, adopted))
	require.NoError(t, dep.Whole(ctx, adopted))
	obj, err := adopted.Open(ctx, graph.Module, athens.ModFile)
	require.NoError(t, err)
	require.NoError(t, obj.Body.Close())
	for _, f := range []athens.File{athens.InfoFile, athens.ZipFile} {
		_, err := adopted.Open(ctx, graph.Module, f)
		require.ErrorIs(t, err, fs.ErrNotExist, "a go command that keeps more of the module graph makes this test pointless")
	}
	versions, err := adopted.Versions(ctx, "example.com/dep")
	require.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0", "v1.1.0"}, versions)

	// What is there can't be changed, what lacks can be added.
	var conflict *athens.ConflictError
	moved := storagetest.NewSample("example.com/dep", "v1.0.0", "moved")
	require.ErrorAs(t, moved.Put(ctx, adopted), &conflict)
	require.NoError(t, top.Store(ctx, adopted))
	moved.Module = dep.Module
	require.ErrorAs(t, moved.Commit(ctx, adopted), &conflict)
	require.NoError(t, graph.Store(ctx, adopted))
	require.NoError(t, graph.Whole(ctx, adopted))

	// And it serves the next go command.
	next := goOn(t, cache)
	for _, a := range []storagetest.Sample{top, graph, dep} {
		assert.Equal(t, a.H1, next.MustDownload(a.Module.String()).Sum)
	}
	assert.Equal(t, "example.com/dep v1.0.0 v1.1.0", runGo(t, next, "list", "-m", "-versions", "example.com/dep"))
	// The first one goes on in its cache beside the store.
	assert.Equal(t, module.Version{Path: top.Module.Path, Version: g.MustDownload(top.Module.String()).Version}, top.Module)
}
