package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/examples/internal/storetool"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage/storagetest"
)

// A store is carried to another folder, then what is new, and a key says that nobody changed it.
func TestExportImport(t *testing.T) {
	dir, from := held(t)
	to, key, first, manifest := filepath.Join(t.TempDir(), "new"), filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "m")
	out, err := tool(t, "export", "-dir", dir, "-key", key, "-key-name", "bundles.test", "-manifest", manifest, first)
	require.NoError(t, err)
	assert.Regexp(t, `^exported: 3 versions, \d of them with a zip, 0 answers of checksum databases, 0 removed, 0 hidden, \d.*; signed by bundles\.test\+[0-9a-f]{8}\n$`, out)
	_, err = tool(t, "export", "-dir", dir, "-key", key, first)
	require.NoError(t, err)
	out, err = tool(t, "import", "-dir", to, "-verify-only", first)
	require.NoError(t, err)
	assert.NotContains(t, out, "stored")
	out, err = tool(t, "import", "-dir", to, first)
	require.NoError(t, err)
	assert.Contains(t, out, "stored: 3 versions, 0 answers of checksum databases, 0 marks\n")
	want, err := tool(t, "ls", "-dir", dir)
	require.NoError(t, err)
	got, err := tool(t, "ls", "-dir", to)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	require.NoError(t, storagetest.NewSample("example.com/new", "v1.0.0", "").Store(t.Context(), from))
	for name, since := range map[string]string{"bundle": first, "manifest": manifest, "time": time.Now().Add(time.Hour).Format(time.RFC3339)} {
		second := filepath.Join(t.TempDir(), "b")
		out, err = tool(t, "export", "-dir", dir, "-since", since, second)
		require.NoError(t, err)
		if name == "time" {
			assert.Contains(t, out, "exported: 0 versions, ")
			continue
		}
		assert.Contains(t, out, "exported: 1 versions, 1 of them with a zip, ")
		assert.Contains(t, out, "; 3 more in earlier bundles\n")
		_, err = tool(t, "import", "-dir", to, second)
		require.NoError(t, err)
		_, err = tool(t, "import", "-dir", to, "-key", "bundles.test+00000000+AAAA", second)
		assert.ErrorContains(t, err, "-key: ")
	}
}

func TestExportUsage(t *testing.T) {
	dir, _ := held(t)
	file := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(file, []byte("no bundle"), 0o600))
	for want, args := range map[string][]string{
		"export: want the name of one": {"export", "-dir", dir},
		"-dir is missing":              {"export", file},
		"-since: open":                 {"export", "-dir", dir, "-since", "yesterday", file},
		"-since: bundle: the file is":  {"export", "-dir", dir, "-since", file, file + "y"},
		"-key: malformed":              {"export", "-dir", dir, "-key", file, file + "y"},
		"import: -dir is missing":      {"import", file},
		"want one bundle (":            {"import", "-dir", dir},
		"is no bundle":                 {"import", "-dir", dir, file},
		"is not a file":                {"import", "-dir", dir, os.DevNull},
		"neither a public key":         {"import", "-dir", dir, "-key", "x", file},
		"no such file or directory":    {"import", "-dir", dir, file + "z"},
	} {
		_, err := tool(t, args...)
		assert.ErrorContains(t, err, want)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{file}, left, "an export that failed leaves no file")
}

// A module cache, as the go command makes it, is moved in, and so is what a list names from a server.
func TestImportOthers(t *testing.T) {
	v := modtest.NewVersion(t, "a.test/Mod", "v1.0.0", map[string]string{"go.mod": "module a.test/Mod\n"})
	old := modtest.NewVersion(t, "a.test/old", "v1.0.0", map[string]string{"go.mod": "module a.test/old\n"})
	user := modtest.NewVersion(t, "b.test/user", "v1.0.0", map[string]string{"go.mod": "module b.test/user\n\nrequire a.test/old v1.0.0\n"})
	up := modtest.NewGoProxy(t, v, old, user)
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY=" + up.URL)
	g.MustDownload("a.test/Mod@v1.0.0")
	g.Write("go.mod", "module p.test\n\nrequire b.test/user v1.0.0\n")
	_, stderr, err := g.Run("mod", "graph")
	require.NoError(t, err, stderr)
	cache, dir := filepath.Join(g.ModCache, "cache", "download"), filepath.Join(t.TempDir(), "new")
	for _, want := range []string{"stored: 1 versions, 0 answers", "stored: 0 versions, 0 answers"} {
		out, err := tool(t, "import", "-dir", dir, cache)
		require.NoError(t, err)
		assert.Contains(t, out, "in the folder: 1 good versions, 1 of them with a zip, ")
		assert.Contains(t, out, "; 2 with only a go.mod, which are not imported; 0 bad\n")
		assert.Contains(t, out, want)
	}
	name := filepath.Join(cache, "a.test", "!mod", "@v", "v1.0.0.zip")
	require.NoError(t, os.WriteFile(name, []byte("damaged"), 0o600))
	out, err := tool(t, "import", "-dir", filepath.Join(t.TempDir(), "other"), "-verify-only", cache)
	require.ErrorIs(t, err, storetool.ErrDamaged)
	assert.Regexp(t, `^bad: a\.test/Mod@v1\.0\.0: .*not a zip.*\n.*; 1 bad\n$`, out)
	_, err = tool(t, "import", "-dir", dir, "-key", "x", cache)
	require.ErrorContains(t, err, "has no signature")

	list := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte("a.test/Mod v1.0.0\n"), 0o600))
	t.Setenv("GOPRIVATE", "")
	out, err = tool(t, "import", "-dir", filepath.Join(t.TempDir(), "third"), up.URL, list)
	require.NoError(t, err)
	assert.Contains(t, out, "filled: 1 versions, 1 of them with the zip")
	_, err = tool(t, "import", "-dir", dir, up.URL)
	assert.ErrorContains(t, err, "behind the URL")
}
