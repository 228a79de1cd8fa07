package bundle

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// put adds a version to a tree of files: one of a GOPROXY server, or of gomods/athens on disk.
func put(files fstest.MapFS, v storagetest.Sample, layout string) {
	info, _ := v.Info.Encode()
	dir, _ := escaped(v.Module.Path)
	names := [3]string{dir + v.Module.Version + ".info", dir + v.Module.Version + ".mod", dir + v.Module.Version + ".zip"}
	switch layout {
	case "bucket": // capitals as they are
		base := v.Module.Path + "/@v/" + v.Module.Version
		names = [3]string{base + ".info", base + ".mod", base + ".zip"}
	case "disk":
		base := v.Module.Path + "/" + v.Module.Version + "/"
		names = [3]string{base + v.Module.Version + ".info", base + "go.mod", base + "source.zip"}
	}
	for i, data := range [][]byte{info, v.Mod, v.Zip} {
		files[names[i]] = &fstest.MapFile{Data: data}
	}
}

// What goproxy/goproxy keeps beside versions is passed over: the answers to queries and lists, and
// what a write that died has left.
func TestImportFolderOfQueries(t *testing.T) {
	v, files := sample("b.test/m", "v1.0.0", "b"), fstest.MapFS{}
	put(files, v, "tree")
	dir := "b.test/m/@v/"
	for name, as := range map[string]string{
		dir + "v1.info": ".info", dir + "v1.mod": ".mod", dir + "v1.zip": ".zip", dir + "main.info": ".info", "b.test/m/@latest": ".info",
		dir + "list": ".mod", dir + ".v1.1.0.mod.tmp.123": ".mod", dir + ".v1.1.0.zip.tmp123": ".zip", "sumdb/sum.test/supported": ".mod", "sumdb/sum.test/latest": ".mod",
	} {
		files[name] = files[dir+"v1.0.0"+as]
	}
	to := storage.NewMemory()
	sum, err := ImportFolder(t.Context(), to, files, nil)
	require.NoError(t, err)
	assert.Empty(t, sum.LeftOut)
	assert.Equal(t, []int{1, 1, 1, 0, 0}, []int{sum.Versions, sum.Zips, sum.Stored, sum.SumDB, sum.OnlyMod})
	require.NoError(t, v.Whole(t.Context(), to))
}

// The layouts are made by hand, as those programs' sources name files.
func TestImportFolder(t *testing.T) {
	v, w := sample("example.com/Some/mod", "v1.2.3", "a"), sample("b.test/m", "v2.0.0+incompatible", "b")
	l := large(t)
	for _, layout := range []string{"tree", "bucket", "disk"} {
		t.Run(layout, func(t *testing.T) {
			files, to := fstest.MapFS{}, storage.NewMemory()
			for _, v := range []storagetest.Sample{v, w, l} {
				put(files, v, layout)
			}
			if layout == "tree" {
				files["c.test/m/@v/v1.0.0.mod"] = &fstest.MapFile{Data: []byte("module c.test/m\n")} // of a module graph
			}
			files["example.com/other/go.mod"] = &fstest.MapFile{Data: []byte("module other\n")} // of no version
			files["sumdb/sum.test/lookup/a.test/m@v1.0.0"] = &fstest.MapFile{Data: []byte("5\na.test/m v1.0.0 h1:x=\n\nnote\n")}
			sum, err := ImportFolder(t.Context(), to, files, &FolderOptions{VerifyOnly: true})
			require.NoError(t, err)
			assert.Equal(t, 3, sum.Versions)
			assert.Empty(t, tree(t, to))
			assert.Equal(t, map[string]int{"tree": 1}[layout], sum.OnlyMod)
			for _, stored := range []int{3, 0} {
				sum, err = ImportFolder(t.Context(), to, files, nil)
				require.NoError(t, err)
				assert.Empty(t, sum.LeftOut)
				assert.Equal(t, []int{3, 3, stored, 1}, []int{sum.Versions, sum.Zips, sum.Stored, sum.SumDB})
			}
			for _, v := range []storagetest.Sample{v, w, l} {
				require.NoError(t, v.Whole(t.Context(), to))
			}
		})
	}
}

// What is bad is named, and the rest is stored.
func TestImportFolderReports(t *testing.T) {
	good := sample("a.test/good", "v1.0.0", "a")
	for want, change := range map[string]func(files fstest.MapFS, to *storage.Store){
		"it has no .info": func(files fstest.MapFS, _ *storage.Store) { delete(files, "b.test/m/@v/v1.0.0.info") },
		"no module line": func(files fstest.MapFS, _ *storage.Store) {
			delete(files, "b.test/m/@v/v1.0.0.info")
			delete(files, "b.test/m/@v/v1.0.0.zip")
			files["b.test/m/@v/v1.0.0.mod"].Data = []byte("x")
		},
		`its .info: it is of the version`: func(files fstest.MapFS, _ *storage.Store) {
			files["b.test/m/@v/v1.0.0.info"].Data = []byte(`{"Version":"v1.0.1"}`)
		},
		"go.mod has no module line": func(files fstest.MapFS, _ *storage.Store) { files["b.test/m/@v/v1.0.0.mod"].Data = []byte("x") },
		"not a zip":                 func(files fstest.MapFS, _ *storage.Store) { files["b.test/m/@v/v1.0.0.zip"].Data = []byte("x") },
		"not a regular file":        func(files fstest.MapFS, _ *storage.Store) { files["b.test/m/@v/v1.0.0.mod"].Mode = fs.ModeNamedPipe },
		"its .ziphash says \"h1:x\"": func(files fstest.MapFS, _ *storage.Store) {
			files["b.test/m/@v/v1.0.0.ziphash"] = &fstest.MapFile{Data: []byte("h1:x")}
		},
		sample("b.test/m", "v1.0.0", "other").H1: func(files fstest.MapFS, to *storage.Store) {
			files["b.test/m/@v/v1.0.0.mod"].Data = sample("b.test/m", "v1.0.0", "other").Mod
			files["b.test/m/@v/v1.0.0.info"].Data, _ = sample("b.test/m", "v1.0.0", "other").Info.Encode()
			require.NoError(t, sample("b.test/m", "v1.0.0", "other").Store(t.Context(), to))
		},
		"not a canonical version": func(files fstest.MapFS, _ *storage.Store) {
			delete(files, "b.test/m/@v/v1.0.0.mod")
			files["b.test/m/@v/v1.mod"] = &fstest.MapFile{Data: []byte("module b.test/m\n")}
		},
	} {
		t.Run(want, func(t *testing.T) {
			files, to := fstest.MapFS{}, storage.NewMemory()
			put(files, sample("b.test/m", "v1.0.0", "b"), "tree")
			put(files, good, "tree")
			change(files, to)
			sum, err := ImportFolder(t.Context(), to, files, nil)
			require.NoError(t, err)
			require.Len(t, sum.LeftOut, 1)
			require.ErrorContains(t, sum.LeftOut[0], "b.test/m@v1")
			require.ErrorContains(t, sum.LeftOut[0], want)
			require.NoError(t, good.Whole(t.Context(), to))
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ImportFolder(ctx, storage.NewMemory(), fstest.MapFS{}, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = ImportFolder(t.Context(), storage.NewMemory(), fstest.MapFS{}, &FolderOptions{Workers: -1})
	assert.ErrorContains(t, err, "negative")
}
