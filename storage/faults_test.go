package storage_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faulty is a file system on which the change number at fails.
type faulty struct {
	afero.Fs
	err      error
	at       int
	happened bool // it fails although it happened
	dies     bool // nothing works afterwards: the process is gone
	bare     bool // files are the system's own, and only the others fail

	mu  sync.Mutex
	now int
}

// change runs op, or fails.
func (f *faulty) change(op func() error) error {
	f.mu.Lock()
	f.now++
	now := f.now
	f.mu.Unlock()
	if now == f.at && f.happened {
		_ = op()
	}
	if now == f.at || f.dies && now > f.at {
		return f.err
	}
	return op()
}

func (f *faulty) OpenFile(name string, flag int, perm fs.FileMode) (file afero.File, err error) {
	if flag&os.O_CREATE == 0 {
		file, err = f.Fs.OpenFile(name, flag, perm)
	} else if ferr := f.change(func() error { file, err = f.Fs.OpenFile(name, flag, perm); return err }); ferr != nil {
		if err == nil && file != nil {
			file.Close()
		}
		return nil, ferr
	}
	return f.wrap(file, err)
}

func (f *faulty) Open(name string) (afero.File, error) { return f.wrap(f.Fs.Open(name)) }

func (f *faulty) wrap(file afero.File, err error) (afero.File, error) {
	if err != nil || f.bare {
		return file, err
	}
	return &faultyFile{file, f}, nil
}

func (f *faulty) Mkdir(name string, perm fs.FileMode) error {
	return f.change(func() error { return f.Fs.Mkdir(name, perm) })
}

func (f *faulty) Rename(from, to string) error {
	return f.change(func() error { return f.Fs.Rename(from, to) })
}

func (f *faulty) Remove(name string) error {
	return f.change(func() error { return f.Fs.Remove(name) })
}

type faultyFile struct {
	afero.File
	fs *faulty
}

// Write, when it fails although it happened, has written a part.
func (f *faultyFile) Write(p []byte) (n int, err error) {
	part := p
	if f.fs.happened {
		part = p[:len(p)/2]
	}
	ferr := f.fs.change(func() error { n, err = f.File.Write(part); return err })
	if ferr == nil && len(part) < len(p) {
		m, err := f.File.Write(p[len(part):])
		return n + m, err
	}
	return n, ferr
}

func (f *faultyFile) Sync() error { return f.fs.change(f.File.Sync) }

func (f *faultyFile) Close() error {
	err := f.fs.change(func() error { return nil })
	return errors.Join(err, f.File.Close())
}

// onEachFault runs test with a fault at the first change, the second, …, until
// there are no more, each of both kinds, on memory and on disk.
func onEachFault(t *testing.T, dies bool, test func(t *testing.T, f *faulty, dir string) (met bool)) {
	memory := func() (afero.Fs, string) { return afero.NewMemMapFs(), "/" }
	disk := func() (afero.Fs, string) { return afero.NewOsFs(), t.TempDir() }
	for _, medium := range []struct {
		name string
		make func() (afero.Fs, string)
		bare bool
		most int // changes that a Put and a Commit are at least
	}{{"memory", memory, false, 40}, {"disk", disk, false, 40}, {"shared disk", disk, true, 15}} {
		for _, happened := range []bool{false, true} {
			for at := 1; ; at++ {
				inner, dir := medium.make()
				f := &faulty{Fs: inner, err: syscall.ENOSPC, at: at, happened: happened, dies: dies, bare: medium.bare}
				met := false
				t.Run(fmt.Sprintf("%s/%v/%d", medium.name, happened, at), func(t *testing.T) { met = test(t, f, dir) })
				if !met {
					assert.Greater(t, at, medium.most)
					break
				}
			}
		}
	}
}

// TestFullMedium fails one change, and wants the error to say so, what is held
// to be right, and the next attempt to succeed.
func TestFullMedium(t *testing.T) {
	onEachFault(t, false, func(t *testing.T, f *faulty, dir string) bool {
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
		s, err := storage.New(f, dir, nil)
		require.NoError(t, err)
		if err := a.Store(t.Context(), s); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.NotErrorIs(t, err, fs.ErrNotExist)
		} else {
			require.NoError(t, a.Whole(t.Context(), s))
		}
		met := f.now >= f.at
		f.at = 0
		stateOf(t, s, a)
		other := storagetest.NewSample("example.com/other", "v1.0.0", "")
		require.NoError(t, other.Put(t.Context(), s), "after the fault")
		soundLists(t, s, dir, a.Module.Path, other.Module.Path)
		require.NoError(t, a.Store(t.Context(), s), "after the fault")
		require.NoError(t, a.Whole(t.Context(), s))
		list, err := afero.ReadFile(f.Fs, dir+"/example.com/mod/@v/list")
		require.NoError(t, err)
		require.Equal(t, "v1.0.0\n", string(list))
		return met
	})
}

// soundLists wants nothing damaged or outdated in a store, and each module's list to
// name what is held.
func soundLists(t *testing.T, s *storage.Store, dir string, paths ...string) {
	t.Helper()
	for c, err := range s.Verify(t.Context(), nil) {
		require.NoError(t, err)
		require.Empty(t, c.Problems, c.Module)
	}
	for _, path := range paths {
		versions, err := s.Versions(t.Context(), path)
		require.NoError(t, err)
		list, err := os.ReadFile(dir + "/" + path + "/@v/list")
		if dir == "/" { // in memory, where Verify has compared it
			continue
		}
		if len(versions) > 0 || !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
			require.Equal(t, versions, strings.Fields(string(list)), path)
		}
	}
}

// A full disk that lets the store write nothing more leaves notes, which cost the
// failing writes little and which a probe follows once there is room.
func TestNotesOfFullDisk(t *testing.T) {
	f := &faulty{Fs: afero.NewOsFs(), err: syscall.ENOSPC}
	dir := t.TempDir()
	s, err := storage.New(f, dir, nil)
	require.NoError(t, err)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	changes := f.now
	lists := 0
	for at := 1; at <= changes; at++ {
		b := storagetest.NewSample(fmt.Sprintf("example.com/mod%03d", at), "v1.0.0", "")
		f.at, f.dies = f.now+at, true
		if b.Put(t.Context(), s) != nil {
			if _, err := os.Stat(dir + "/" + b.Module.Path + "/@v/list"); err != nil && b.Held(t.Context(), s) == nil {
				lists++
			}
		}
	}
	require.Positive(t, lists, "no Put was cut off between its .mod and its list")
	f.at, f.dies = 0, false
	require.NoError(t, s.Writable(t.Context()))
	soundLists(t, s, dir)
	for _, name := range tree(t, dir+"/.athens/stage") {
		require.NotContains(t, name, "-list-", "a note is left")
	}
}

// TestDeath stops at each change, and wants the next process to find the
// version absent, held without zip, or whole, and to tidy up.
func TestDeath(t *testing.T) {
	onEachFault(t, true, func(t *testing.T, f *faulty, dir string) bool {
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
		moved := storagetest.NewSample("example.com/mod", "v1.0.0", "b")
		if s, err := storage.New(f, dir, nil); err == nil {
			err := a.Store(t.Context(), s)
			require.Equal(t, f.now >= f.at, err != nil, err)
		}
		s, err := storage.New(f.Fs, dir, nil)
		require.NoError(t, err)
		if infos, err := afero.ReadDir(f.Fs, dir+"/.athens/stage"); err == nil {
			require.Empty(t, infos, "not swept")
		}
		soundLists(t, s, dir, a.Module.Path)
		// The tag has moved meanwhile.
		switch state := stateOf(t, s, a); state {
		case "absent":
			require.NoError(t, moved.Store(t.Context(), s))
			require.NoError(t, moved.Whole(t.Context(), s))
		default:
			var conflict *athens.ConflictError
			require.ErrorAs(t, moved.Put(t.Context(), s), &conflict)
			require.NoError(t, a.Store(t.Context(), s))
			require.NoError(t, a.Whole(t.Context(), s))
		}
		return f.now >= f.at
	})
}

// stateOf wants a to be absent, held without zip, or whole, and says which.
func stateOf(t *testing.T, s *storage.Store, a storagetest.Sample) string {
	t.Helper()
	versions, err := s.Versions(t.Context(), a.Module.Path)
	require.NoError(t, err)
	var missing strings.Builder
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		obj, err := s.Open(t.Context(), a.Module, f)
		if err == nil {
			require.NoError(t, obj.Body.Close())
			continue
		}
		require.ErrorIs(t, err, fs.ErrNotExist)
		missing.WriteString(" " + f.String())
	}
	switch missing.String() {
	case "":
		require.NoError(t, a.Whole(t.Context(), s))
		require.Equal(t, []string{a.Module.Version}, versions)
		return "whole"
	case " zip":
		require.NoError(t, a.Held(t.Context(), s))
		require.Equal(t, []string{a.Module.Version}, versions)
		return "held"
	case " info mod zip":
		require.Empty(t, versions)
		return "absent"
	}
	require.Fail(t, "partly there", "without%s", missing.String())
	return ""
}

// What a failed fsync left unwritten may never be written: the system has
// forgotten about it, and a second fsync would succeed.
func TestNoSecondSync(t *testing.T) {
	f := &faulty{Fs: afero.NewMemMapFs(), err: syscall.EIO}
	s, err := storage.New(f, "/", nil)
	require.NoError(t, err)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Put(t.Context(), s))
	stage := staged(t, s, a)
	f.at = f.now + 1
	for range 2 {
		require.ErrorIs(t, stage.Commit(t.Context(), a.Module, a.H1), syscall.EIO)
	}
	require.NoError(t, stage.Close())
	require.NoError(t, a.Commit(t.Context(), s))
}
