package storage_test

import (
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// openings counts the files that are opened.
type openings struct {
	afero.Fs
	n atomic.Int32
}

func (o *openings) Open(name string) (afero.File, error) {
	o.n.Add(1)
	return o.Fs.Open(name)
}

// read returns what the store holds, and how many files that opened.
func (o *openings) read(t *testing.T, s *storage.Store, a storagetest.Sample, f athens.File) (string, int) {
	t.Helper()
	before := o.n.Load()
	obj, err := s.Open(t.Context(), a.Module, f)
	require.NoError(t, err)
	defer obj.Body.Close()
	b, err := io.ReadAll(obj.Body)
	require.NoError(t, err)
	assert.EqualValues(t, len(b), obj.Size)
	return string(b), int(o.n.Load() - before)
}

// moment is how long a file that is gone may still be served from memory.
const moment = 100*time.Millisecond + 1

// A file that is served from memory is looked at now and then, not each time.
func TestSmallFilesAreLookedAtNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		disk := &stats{Fs: afero.NewOsFs()}
		s, err := storage.New(disk, dir, nil)
		require.NoError(t, err)
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
		require.NoError(t, a.Store(t.Context(), s))
		old := time.Now().Add(-time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(dir, "example.com", "mod", "@v", "v1.0.0.mod"), old, old))
		open := func() int {
			before := disk.n.Load()
			obj, err := s.Open(t.Context(), a.Module, athens.ModFile)
			require.NoError(t, err)
			require.NoError(t, obj.Body.Close())
			return int(disk.n.Load() - before)
		}
		open()
		looked := 0
		for range 1000 {
			looked += open()
		}
		assert.LessOrEqual(t, looked, 1)
		time.Sleep(moment)
		assert.Equal(t, 1, open())
		assert.Zero(t, open())
	})
}

// stats counts how often a file is looked at by its name.
type stats struct {
	afero.Fs
	n atomic.Int32
}

func (s *stats) Stat(name string) (os.FileInfo, error) {
	s.n.Add(1)
	return s.Fs.Stat(name)
}

func TestSmallFilesStayInMemory(t *testing.T) { synctest.Test(t, smallFilesStayInMemory) }

func smallFilesStayInMemory(t *testing.T) {
	dir := t.TempDir()
	disk := &openings{Fs: afero.NewOsFs()}
	s, err := storage.New(disk, dir, nil)
	require.NoError(t, err)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Store(t.Context(), s))
	name := filepath.Join(dir, "example.com", "mod", "@v", "v1.0.0.mod")

	fresh, opened := disk.read(t, s, a, athens.ModFile)
	assert.Equal(t, 1, opened)
	_, opened = disk.read(t, s, a, athens.ModFile)
	assert.Equal(t, 1, opened, "it may change again within a tick of the clock")

	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(name, old, old))
	_, opened = disk.read(t, s, a, athens.ModFile)
	assert.Equal(t, 1, opened)
	for range 3 {
		kept, opened := disk.read(t, s, a, athens.ModFile)
		assert.Equal(t, fresh, kept)
		assert.Zero(t, opened)
	}

	// Another file in its place is seen a moment later, although it looks alike.
	other := filepath.Join(dir, "other")
	changed := []byte(fresh)
	changed[len(changed)-2] ^= 1
	require.NoError(t, os.WriteFile(other, changed, 0o666))
	require.NoError(t, os.Chtimes(other, old, old))
	require.NoError(t, os.Rename(other, name))
	time.Sleep(moment)
	got, _ := disk.read(t, s, a, athens.ModFile)
	assert.Equal(t, string(changed), got)

	require.NoError(t, os.Remove(name))
	time.Sleep(moment)
	_, err = s.Open(t.Context(), a.Module, athens.ModFile)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestKeepFiles(t *testing.T) {
	for name, c := range map[string]struct {
		keep int64
		kept bool
	}{
		"default": {0, true},
		"none":    {-1, false},
		"few":     {2000, false}, // two of four do not fit
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk := &openings{Fs: afero.NewOsFs()}
			s, err := storage.New(disk, dir, &storage.Options{FileCacheBytes: c.keep})
			require.NoError(t, err)
			var all []storagetest.Sample
			old := time.Now().Add(-time.Hour)
			for _, v := range []string{"v1.0.0", "v1.0.1", "v1.0.2", "v1.0.3", "v1.0.4", "v1.0.5"} {
				a := storagetest.NewSample("example.com/mod", v, "")
				require.NoError(t, a.Store(t.Context(), s))
				require.NoError(t, os.Chtimes(filepath.Join(dir, "example.com", "mod", "@v", v+".mod"), old, old))
				all = append(all, a)
			}
			opened := 0
			for range 2 {
				opened = 0
				for _, a := range all {
					_, n := disk.read(t, s, a, athens.ModFile)
					opened += n
				}
			}
			if c.kept {
				assert.Zero(t, opened)
			} else {
				assert.Equal(t, len(all), opened)
			}
		})
	}
}
