package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/athens-go/athens/storage"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a go command keeps of a database is found, and a catalogue skips it.
func TestSumDBTree(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	require.NoError(t, s.PutSumDB(t.Context(), "sum.test/lookup/example.com/!m@v1.0.0", []byte("record")))
	assert.Equal(t, []string{"sumdb/sum.test/lookup/example.com/!m@v1.0.0"}, tree(t, dir))
	write(t, dir+"/sumdb/sum.test/tile/8/0/000", "hashes")
	write(t, dir+"/sumdb/sum.test/tile/8/0/001", "")
	got, err := s.GetSumDB(t.Context(), "sum.test/tile/8/0/000")
	require.NoError(t, err)
	assert.Equal(t, "hashes", string(got))
	_, err = s.GetSumDB(t.Context(), "sum.test/tile/8/0/001")
	assert.ErrorIs(t, err, fs.ErrNotExist, "what a power cut left")
	for m, err := range s.All(t.Context()) {
		t.Errorf("All names %v, %v", m, err)
	}
}

func TestSumDBFaults(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	write(t, dir+"/sumdb/sum.test/large", string(make([]byte, 1<<20+1)))
	require.NoError(t, os.MkdirAll(dir+"/sumdb/sum.test/tile", 0o777))
	write(t, dir+"/sumdb/sum.test/file", "x")
	for name, want := range map[string]string{"large": "too large", "tile": "not a regular file"} {
		_, err := s.GetSumDB(t.Context(), "sum.test/"+name)
		assert.ErrorContains(t, err, want)
		assert.NotErrorIs(t, err, fs.ErrNotExist)
	}
	assert.Error(t, s.PutSumDB(t.Context(), "sum.test/tile", []byte("x")))
	assert.Error(t, s.PutSumDB(t.Context(), "sum.test/file/below", []byte("x")))
	require.NoError(t, os.RemoveAll(dir))
	_, err := s.GetSumDB(t.Context(), "sum.test/head")
	require.Error(t, err)
	assert.NotErrorIs(t, err, fs.ErrNotExist, "the whole store has vanished")
}

// However many answers there are, the store keeps no more than it may.
func TestSumDBBound(t *testing.T) {
	for name, open := range map[string]func(most int64) *storage.Store{
		"disk": func() func(int64) *storage.Store {
			dir := t.TempDir()
			return func(most int64) *storage.Store {
				s, err := storage.NewDisk(dir, &storage.Options{MaxSumDBBytes: most})
				require.NoError(t, err)
				return s
			}
		}(),
		"memory": func() func(int64) *storage.Store {
			fs := afero.NewMemMapFs()
			return func(most int64) *storage.Store {
				s, err := storage.New(fs, "/", &storage.Options{MaxSumDBBytes: most})
				require.NoError(t, err)
				return s
			}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(10 * 4096)
			put := func(i, size int) error {
				return s.PutSumDB(t.Context(), fmt.Sprintf("sum.test/lookup/example.com/m%d@v1.0.0", i), make([]byte, size))
			}
			for i := range 8 {
				require.NoError(t, put(i, 1))
			}
			require.ErrorContains(t, put(8, 3*4096), "exceed MaxSumDBBytes, 40960 bytes")
			require.NoError(t, put(8, 4097))
			require.Error(t, put(9, 1))
			require.NoError(t, put(8, 4096), "less than what was there")
			require.NoError(t, put(9, 1))
			require.NoError(t, put(9, 2), "in place of what was there")
			s = open(10 * 4096)
			require.Error(t, put(10, 1), "another process, which counts what it finds")
			require.NoError(t, put(7, 1))
			s = open(-1)
			require.Error(t, put(10, 1))
			_, err := s.GetSumDB(t.Context(), "sum.test/lookup/example.com/m7@v1.0.0")
			require.NoError(t, err, "what is kept is served")
		})
	}
}

// After an hour the store sees what others have put, and what was removed.
func TestSumDBCountsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := afero.NewMemMapFs()
		s, err := storage.New(fsys, "/", &storage.Options{MaxSumDBBytes: 4096})
		require.NoError(t, err)
		require.NoError(t, s.PutSumDB(t.Context(), "sum.test/a", []byte("x")))
		require.NoError(t, fsys.Remove(filepath.FromSlash("/sumdb/sum.test/a")))
		require.Error(t, s.PutSumDB(t.Context(), "sum.test/b", []byte("x")))
		time.Sleep(time.Hour + 1)
		require.NoError(t, s.PutSumDB(t.Context(), "sum.test/b", []byte("x")))
	})
}

// Whichever change of the file system fails, or fails although it happened,
// there is the old answer or the new one, and the next PutSumDB succeeds.
func TestSumDBOnFullMedium(t *testing.T) {
	const name = "sum.test/head"
	for _, happened := range []bool{false, true} {
		for at := 1; ; at++ {
			mem := afero.NewMemMapFs()
			s, err := storage.New(mem, "/store", nil)
			require.NoError(t, err)
			require.NoError(t, s.PutSumDB(t.Context(), name, []byte("old")))
			f := &faulty{Fs: mem, err: syscall.ENOSPC, at: at, happened: happened}
			s, err = storage.New(f, "/store", nil)
			if err != nil {
				continue
			}
			err = s.PutSumDB(t.Context(), name, []byte("new"))
			if f.now < at {
				require.NoError(t, err)
				require.Greater(t, at, 5)
				break
			}
			got, gerr := s.GetSumDB(context.WithoutCancel(t.Context()), name)
			require.NoError(t, gerr)
			if err == nil {
				require.Equal(t, "new", string(got))
			}
			require.Contains(t, []string{"old", "new"}, string(got))
			require.NoError(t, s.PutSumDB(t.Context(), name, []byte("newer")))
			got, err = s.GetSumDB(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, "newer", string(got))
		}
	}
}

// A power cut leaves the old answer or the new one; what PutSumDB has returned
// from stays.
func TestSumDBPowerCut(t *testing.T) {
	const name = "sum.test/tile/8/0/x001/234"
	j := newJournal()
	s, err := storage.New(j, "/store", nil)
	require.NoError(t, err)
	require.NoError(t, s.PutSumDB(t.Context(), name, []byte("old")))
	first := len(j.log)
	require.NoError(t, s.PutSumDB(t.Context(), name, []byte("newer")))
	seen := map[string]int{}
	for n := range len(j.log) + 1 {
		for cut, l := range lucks {
			s, err := storage.New(j.after(t, n, l), "/store", nil)
			require.NoError(t, err)
			got, err := s.GetSumDB(t.Context(), name)
			if n < first && errors.Is(err, fs.ErrNotExist) {
				seen["none"]++
				continue
			}
			require.NoError(t, err, "%d, cut leaves %s", n, cut)
			seen[string(got)]++
			if n == len(j.log) {
				require.Equal(t, "newer", string(got), cut)
			}
		}
	}
	for _, state := range []string{"none", "old", "newer"} {
		assert.NotZero(t, seen[state], state)
	}
	assert.Len(t, seen, 3, "%v", seen)
}
