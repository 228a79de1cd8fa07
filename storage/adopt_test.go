package storage_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A power cut may have left an .info torn, since the go command does not sync.
func TestTornInfo(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	for name, torn := range map[string]string{
		"empty":           "",
		"zeros":           strings.Repeat("\x00", 99),
		"cut":             `{"Version":"v1.0.0","Time":"2021-02`,
		"more":            `{"Version":"v1.0.0","Time":"2021-02-03T04:05:00Z"}}`,
		"no object":       `"v1.0.0"`,
		"null":            `null`,
		"other version":   `{"Version":"v1.0.1","Time":"2021-02-03T04:05:00Z"}`,
		"no version":      `{"Time":"2021-02-03T04:05:00Z"}`,
		"time is no time": `{"Version":"v1.0.0","Time":"yesterday"}`,
		"too large":       `{"Version":"v1.0.0","Name":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			base := filepath.Join(dir, "example.com/mod/@v/v1.0.0")
			write(t, base+".info", torn)
			write(t, base+".mod", string(a.Mod))
			s := newDisk(t, dir)
			_, err := s.Open(t.Context(), a.Module, athens.InfoFile)
			require.ErrorIs(t, err, fs.ErrNotExist)
			obj, err := s.Open(t.Context(), a.Module, athens.ModFile)
			require.NoError(t, err)
			require.NoError(t, obj.Body.Close())
			// Not remembered as missing once it is there.
			require.NoError(t, a.Put(t.Context(), s))
			require.NoError(t, a.Held(t.Context(), s))
		})
	}
}

func TestTornModAndZip(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	dir := t.TempDir()
	base := filepath.Join(dir, "example.com/mod/@v/v1.0.0")
	write(t, base+".mod", "")
	write(t, base+".zip", "")
	s := newDisk(t, dir)
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		_, err := s.Open(t.Context(), a.Module, f)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.ErrorIs(t, a.Commit(t.Context(), s), fs.ErrNotExist)
	require.NoError(t, a.Put(t.Context(), s))
	_, err := s.Open(t.Context(), a.Module, athens.ZipFile)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, a.Commit(t.Context(), s))
	require.NoError(t, a.Whole(t.Context(), s))
}

// An old .info of an attempt that was cut off is not of the version now put.
func TestInfoWithoutMod(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	write(t, filepath.Join(dir, "example.com/mod/@v/v1.0.0.info"), `{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}`)
	write(t, filepath.Join(dir, "example.com/mod/@v/v1.0.0.ziphash"), strings.Replace(a.H1, "h1:", "h1:x", 1))
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		_, err := s.Open(t.Context(), a.Module, f)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, a.Whole(t.Context(), s))
}

// TestZipWithoutHash wants the zip to be hashed, once.
func TestZipWithoutHash(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	moved := storagetest.NewSample("example.com/mod", "v1.0.0", "b")
	for name, hash := range map[string]string{"none": "", "torn": "h1:abc", "zeros": "\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newDisk(t, dir)
			require.NoError(t, a.Store(t.Context(), s))
			base := filepath.Join(dir, "example.com/mod/@v/v1.0.0")
			require.NoError(t, os.Remove(base+".ziphash"))
			require.NoError(t, os.Remove(base+".record"))
			if hash != "" {
				write(t, base+".ziphash", hash)
			}
			var conflict *athens.ConflictError
			require.ErrorAs(t, moved.Commit(t.Context(), s), &conflict)
			assert.Equal(t, athens.ConflictError{Module: a.Module, File: athens.ZipFile, Held: a.H1, Got: moved.H1}, *conflict)
			assert.Equal(t, a.H1, content(t, base+".ziphash"))
			require.NoError(t, a.Commit(t.Context(), s))
			require.NoError(t, a.Whole(t.Context(), s))
		})
	}
}

func TestDamagedZip(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Put(t.Context(), s))
	write(t, filepath.Join(dir, "example.com/mod/@v/v1.0.0.zip"), "this is no zip")
	err := a.Commit(t.Context(), s)
	require.ErrorContains(t, err, "damaged")
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

func TestOtherFilesAreIgnored(t *testing.T) {
	dir := t.TempDir()
	v := filepath.Join(dir, "example.com/mod/@v")
	for _, name := range []string{
		"v1.0.0.lock", "v1.0.0.partial", "v1.1.0.info", "v1.2.0.zip", ".mod", "main.mod", "v1.mod", "v1.3.0-RC1.mod", "v1.3.0-!.mod",
		"v1.3.0-!!r.mod", "v2.0.0.mod", "v1.4.0+meta.mod", "v1.5.0.mod.tmp", "list", "v1.6.0.mod1234567.tmp", "..mod", "a b.mod", "sub/v1.0.0.mod",
	} {
		write(t, filepath.Join(v, name), "x")
	}
	write(t, filepath.Join(v, "v1.9.0.mod"), "module example.com/mod\n")
	write(t, filepath.Join(dir, "sumdb/sum.example.com/lookup/example.com/mod@v1.0.0"), "x")
	write(t, filepath.Join(dir, "cache.lock"), "")
	s := newDisk(t, dir)
	versions, err := s.Versions(t.Context(), "example.com/mod")
	require.NoError(t, err)
	assert.Equal(t, []string{"v1.9.0"}, versions)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	assert.Equal(t, "v1.0.0\nv1.9.0\n", content(t, filepath.Join(v, "list")))
}

func TestSymlinks(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	real := t.TempDir()
	require.NoError(t, a.Store(t.Context(), newDisk(t, real)))
	dir := t.TempDir()
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatalf("a system without symbolic links: %v", err)
		}
	}
	link(filepath.Join(real, "example.com"), "example.com")
	link("loop.example.com", "loop.example.com")
	link("nowhere", "dangling.example.com")
	s := newDisk(t, dir)
	require.NoError(t, a.Whole(t.Context(), s))
	b := storagetest.NewSample("example.com/mod", "v1.1.0", "")
	require.NoError(t, b.Store(t.Context(), s))
	require.NoError(t, b.Whole(t.Context(), s))
	loop := storagetest.NewSample("loop.example.com/mod", "v1.0.0", "")
	_, err := s.Open(t.Context(), loop.Module, athens.ModFile)
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, loop.Put(t.Context(), s))
	dangling := storagetest.NewSample("dangling.example.com/mod", "v1.0.0", "")
	_, err = s.Open(t.Context(), dangling.Module, athens.ModFile)
	require.ErrorIs(t, err, fs.ErrNotExist)
	err = dangling.Put(t.Context(), s)
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)
}
