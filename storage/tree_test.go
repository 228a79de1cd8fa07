package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// newDisk opens a store in dir.
func newDisk(t testing.TB, dir string) *storage.Store {
	t.Helper()
	s, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	return s
}

// tree lists the files below dir, with slashes, but for the lock files.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if rel = filepath.ToSlash(rel); err == nil && !d.IsDir() && !strings.Contains(rel, ".athens/lock/") {
			files = append(files, rel)
		}
		return err
	}))
	return files
}

func write(t testing.TB, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o666))
}

// staged returns a stage with the sample's zip.
func staged(t testing.TB, s *storage.Store, a storagetest.Sample) athens.Stage {
	t.Helper()
	stage, err := s.Stage(t.Context())
	require.NoError(t, err)
	_, err = stage.Write(a.Zip)
	require.NoError(t, err)
	return stage
}

func content(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(data)
}

func TestTreeIsAGoproxyTree(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, filepath.Join(dir, "new", "store"))
	a := storagetest.NewSample("example.com/Some/mod", "v1.0.0-RC1", "a")
	b := storagetest.NewSample("example.com/Some/mod", "v0.0.0-20200101000000-abcdefabcdef", "b")
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, b.Put(t.Context(), s))
	const v = "new/store/example.com/!some/mod/@v/"
	assert.Equal(t, []string{
		v + "list",
		v + "v0.0.0-20200101000000-abcdefabcdef.info",
		v + "v0.0.0-20200101000000-abcdefabcdef.mod",
		v + "v0.0.0-20200101000000-abcdefabcdef.record",
		v + "v1.0.0-!r!c1.info",
		v + "v1.0.0-!r!c1.mod",
		v + "v1.0.0-!r!c1.record",
		v + "v1.0.0-!r!c1.zip",
		v + "v1.0.0-!r!c1.ziphash",
	}, tree(t, dir))
	assert.Equal(t, "v0.0.0-20200101000000-abcdefabcdef\nv1.0.0-RC1\n", content(t, filepath.Join(dir, v, "list")))
	assert.Equal(t, a.H1, content(t, filepath.Join(dir, v, "v1.0.0-!r!c1.ziphash")))
	assert.JSONEq(t, `{"Version":"v1.0.0-RC1","Time":"2021-02-03T04:05:01Z","Origin":{"VCS":"git","URL":"https://example.com/Some/mod",
		"Hash":"`+a.Info.Origin.Hash+`"}}`, content(t, filepath.Join(dir, v, "v1.0.0-!r!c1.info")))
}

// A crash before the list was written leaves it short, or not there.
func TestListIsMended(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	list := filepath.Join(dir, "example.com/mod/@v/list")
	require.NoError(t, a.Put(t.Context(), s))
	for _, torn := range []string{"", "v1.0.", "\x00\x00\x00\x00\x00\x00\x00", "v1.0.0\nv9.0.0\n"} {
		write(t, list, torn)
		require.NoError(t, a.Put(t.Context(), s))
		assert.Equal(t, "v1.0.0\n", content(t, list))
	}
}

func TestBodyIsTheFile(t *testing.T) {
	dir := t.TempDir()
	disk := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Store(t.Context(), disk))
	nested := afero.NewBasePathFs(afero.NewBasePathFs(afero.NewOsFs(), filepath.Dir(dir)), filepath.Base(dir))
	for name, fsys := range map[string]afero.Fs{
		"base path": afero.NewBasePathFs(afero.NewOsFs(), dir),
		"nested":    nested,
		"read only": afero.NewReadOnlyFs(nested),
	} {
		s, err := storage.New(fsys, "/", nil)
		require.NoError(t, err)
		for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
			obj, err := s.Open(t.Context(), a.Module, f)
			require.NoError(t, err, name)
			assert.IsType(t, (*os.File)(nil), obj.Body, name)
			assert.NoError(t, obj.Body.Close())
		}
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Store(t.Context(), newDisk(t, dir)))
	s, err := storage.New(afero.NewReadOnlyFs(afero.NewOsFs()), dir, nil)
	require.NoError(t, err)
	require.NoError(t, a.Whole(t.Context(), s))
	require.NoError(t, newDisk(t, dir).Writable(t.Context()))
	_, err = s.Stage(t.Context())
	for _, err := range []error{err, a.Put(t.Context(), s), s.Writable(t.Context())} {
		require.ErrorIs(t, err, syscall.EPERM)
	}
}

// bad is what a folder may hold under the names of a version's files.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	v := filepath.Join(dir, "example.com/mod/@v")
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, os.MkdirAll(filepath.Join(v, "v1.0.0.mod"), 0o777))
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		_, err := s.Open(t.Context(), a.Module, f)
		require.ErrorContains(t, err, "not a regular file")
	}
	require.ErrorContains(t, a.Put(t.Context(), s), "not a regular file")
	versions, err := s.Versions(t.Context(), a.Module.Path)
	require.NoError(t, err)
	assert.Empty(t, versions)

	require.NoError(t, os.Remove(filepath.Join(v, "v1.0.0.mod")))
	require.NoError(t, os.Mkdir(filepath.Join(v, "v1.0.0.info"), 0o777))
	require.Error(t, a.Put(t.Context(), s))
	_, err = s.Open(t.Context(), a.Module, athens.ModFile)
	require.ErrorIs(t, err, fs.ErrNotExist, "the .mod comes after the .info")
	write(t, filepath.Join(v, "v1.0.0.mod"), string(a.Mod))
	_, err = s.Open(t.Context(), a.Module, athens.InfoFile)
	require.ErrorContains(t, err, "not a regular file")
	require.Error(t, a.Put(t.Context(), s))

	require.NoError(t, os.Mkdir(filepath.Join(v, "v1.0.0.zip"), 0o777))
	require.Error(t, a.Commit(t.Context(), s))
	_, err = s.Open(t.Context(), a.Module, athens.ZipFile)
	require.ErrorContains(t, err, "not a regular file")
}

func TestFileInTheWay(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	write(t, filepath.Join(dir, "example.com"), "a file")
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	_, err := s.Open(t.Context(), a.Module, athens.ModFile)
	require.ErrorIs(t, err, fs.ErrNotExist)
	versions, err := s.Versions(t.Context(), a.Module.Path)
	require.NoError(t, err)
	assert.Empty(t, versions)
	err = a.Put(t.Context(), s)
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	_, err = storage.NewDisk(filepath.Join(dir, "example.com"), nil)
	require.ErrorContains(t, err, "not a directory")
	_, err = storage.NewDisk(filepath.Join(dir, "example.com", "below"), nil)
	require.Error(t, err)
}

func TestLongPath(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "example.com"), 0o777)) // else that is missing first
	a := storagetest.NewSample("example.com/"+strings.Repeat("long", 100), "v1.0.0", "")
	_, err := s.Open(t.Context(), a.Module, athens.ModFile)
	_, verr := s.Versions(t.Context(), a.Module.Path)
	for _, err := range []error{err, verr, a.Put(t.Context(), s)} {
		require.ErrorIs(t, err, syscall.ENAMETOOLONG)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
}

// A vanished folder must not look like a store that holds nothing.
func TestVanished(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	b := storagetest.NewSample("example.com/mod", "v1.1.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	stage := staged(t, s, a)
	require.NoError(t, os.RemoveAll(dir))
	_, open := s.Open(t.Context(), b.Module, athens.InfoFile)
	_, known := s.Open(t.Context(), a.Module, athens.ModFile)
	_, versions := s.Versions(t.Context(), a.Module.Path)
	for _, err := range []error{open, known, versions, stage.Commit(t.Context(), a.Module, a.H1)} {
		require.Error(t, err)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoError(t, stage.Close())
}

// Somebody tidied up under a store that goes on.
func TestModuleFolderRemoved(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "example.com")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".athens")))
	_, err := s.Open(t.Context(), a.Module, athens.ZipFile)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, a.Whole(t.Context(), s))
}

func TestBadArguments(t *testing.T) {
	s := storage.NewMemory()
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	for _, m := range []module.Version{
		{}, {Path: "example.com/mod"}, {Path: "../up", Version: "v1.0.0"}, {Path: "example.com/../up", Version: "v1.0.0"},
		{Path: "example.com/.athens", Version: "v1.0.0"}, {Path: "example.com/mod", Version: "main"}, {Path: "example.com/mod", Version: "v1"},
		{Path: "example.com/mod", Version: "v1.0.0/../../x"}, {Path: "example.com/mod", Version: "v2.0.0"},
		{Path: "example.com/mod\x00", Version: "v1.0.0"}, {Path: "example.com/mod", Version: "v1.0.0-\n"},
	} {
		_, err := s.Open(t.Context(), m, athens.ModFile)
		require.Error(t, err, m)
		require.NotErrorIs(t, err, fs.ErrNotExist)
		require.Error(t, s.Put(t.Context(), m, a.Info, a.Mod), m)
	}
	_, err := s.Versions(t.Context(), "not a path")
	require.Error(t, err)
	_, err = s.Open(t.Context(), a.Module, 0)
	require.ErrorContains(t, err, "unknown kind of file")
	require.Error(t, s.Put(t.Context(), a.Module, nil, a.Mod))
	require.Error(t, s.Put(t.Context(), a.Module, a.Info, nil))
	other := storagetest.NewSample("example.com/mod", "v1.0.1", "")
	var invalid *athens.InvalidError
	require.ErrorAs(t, s.Put(t.Context(), a.Module, other.Info, a.Mod), &invalid)
	huge := *a.Info
	huge.Origin = &athens.Origin{URL: strings.Repeat("x", 1<<20)}
	require.ErrorAs(t, s.Put(t.Context(), a.Module, &huge, a.Mod), &invalid)
	_, err = s.Open(t.Context(), a.Module, athens.InfoFile)
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, a.Put(t.Context(), s))
	stage, err := s.Stage(t.Context())
	require.NoError(t, err)
	defer stage.Close()
	require.ErrorContains(t, stage.Commit(t.Context(), a.Module, a.H1), "nothing was written")
	_, err = stage.Write(a.Zip)
	require.NoError(t, err)
	for _, h1 := range []string{"", "h1:", "h1:abc", a.H1 + "\n", strings.TrimPrefix(a.H1, "h1:")} {
		require.ErrorContains(t, stage.Commit(t.Context(), a.Module, h1), "hash")
	}
	require.NoError(t, stage.Commit(t.Context(), a.Module, a.H1))
	_, err = stage.Write(a.Zip)
	require.Error(t, err)
	require.Error(t, stage.Commit(t.Context(), a.Module, a.H1))
}

func TestBadOptions(t *testing.T) {
	for _, open := range []func() (*storage.Store, error){
		func() (*storage.Store, error) { return storage.New(nil, "x", nil) },
		func() (*storage.Store, error) { return storage.New(afero.NewMemMapFs(), "", nil) },
		func() (*storage.Store, error) { return storage.NewDisk("", nil) },
	} {
		_, err := open()
		assert.Error(t, err)
	}
}

// A store that remembers next to nothing forgets no version.
func TestRememberLittle(t *testing.T) {
	for _, bytes := range []int64{-1, 1, 1000} {
		rememberLittle(t, bytes)
	}
}

func rememberLittle(t *testing.T, bytes int64) {
	s, err := storage.NewDisk(t.TempDir(), &storage.Options{VersionCacheBytes: bytes})
	require.NoError(t, err)
	samples := make([]storagetest.Sample, 5)
	for i := range samples {
		samples[i] = storagetest.NewSample("example.com/mod", "v1.0."+string(rune('0'+i)), "")
		require.NoError(t, samples[i].Store(t.Context(), s))
	}
	for range 2 {
		for _, a := range slices.Backward(samples) {
			require.NoError(t, a.Whole(t.Context(), s))
			require.NoError(t, a.Store(t.Context(), s))
		}
	}
}

func TestMemoryKeepsTag(t *testing.T) {
	s := storage.NewMemory()
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	stage := staged(t, s, a)
	require.NoError(t, stage.Commit(t.Context(), a.Module, a.H1))
	before, err := s.Open(t.Context(), a.Module, athens.ZipFile)
	require.NoError(t, err)
	require.NoError(t, stage.Close())
	after, err := s.Open(t.Context(), a.Module, athens.ZipFile)
	require.NoError(t, err)
	assert.Equal(t, before.ETag, after.ETag)
	assert.NotEmpty(t, after.ETag)
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	for _, s := range []*storage.Store{newDisk(t, dir), storage.NewMemory()} {
		require.NoError(t, s.Writable(t.Context()))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		require.ErrorIs(t, s.Writable(ctx), context.Canceled)
	}
	assert.Empty(t, tree(t, dir))
}
