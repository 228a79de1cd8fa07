package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A change is one way to take v1.0.0 back, which stands beside v1.1.0.
type change struct {
	name string
	do   func(context.Context, *storage.Store, storagetest.Sample) error
	// done is what stateOfTaken says when it has happened.
	before, done string
}

var changes = []change{
	{"remove", remove, "whole", "removed"},
	{"hide", func(ctx context.Context, s *storage.Store, a storagetest.Sample) error {
		return s.Hide(ctx, a.Module, "broken")
	}, "whole", "hidden"},
	{"evict", func(ctx context.Context, s *storage.Store, a storagetest.Sample) error {
		return s.Evict(ctx, a.Module)
	}, "whole", "absent"},
	{"restore", func(ctx context.Context, s *storage.Store, a storagetest.Sample) error {
		return s.Restore(ctx, a.Module)
	}, "removed", "absent"},
}

func remove(ctx context.Context, s *storage.Store, a storagetest.Sample) error {
	return s.Remove(ctx, a.Module, "broken")
}

// prepare stores both versions, and removes the first if the change begins so.
func (c change) prepare(t *testing.T, s *storage.Store, path string) (a, other storagetest.Sample) {
	t.Helper()
	a, other = storagetest.NewSample(path, "v1.0.0", "a"), storagetest.NewSample(path, "v1.1.0", "")
	require.NoError(t, errors.Join(a.Store(t.Context(), s), other.Store(t.Context(), s)))
	if c.before == "removed" {
		require.NoError(t, remove(t.Context(), s, a))
	}
	return a, other
}

// stateOfTaken wants a to be in one state as a whole, and says which.
func stateOfTaken(t *testing.T, s *storage.Store, a storagetest.Sample) string {
	t.Helper()
	marks, err := s.Marks(t.Context(), a.Module.Path)
	require.NoError(t, err)
	mark, marked := marks[a.Module.Version]
	if a.Whole(t.Context(), s) == nil {
		require.False(t, mark.Removed)
		if marked {
			return "hidden"
		}
		return "whole"
	}
	state := "absent"
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		_, err := s.Open(t.Context(), a.Module, f)
		if gone, ok := errors.AsType[*athens.BlockedError](err); ok && gone.Removed {
			require.Equal(t, "broken", gone.Reason)
			state = "removed"
			continue
		}
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.Equal(t, state == "removed", marked)
	return state
}

// sound wants the store to be sound after a change that a fault has met, and the change
// to come to its end when it is tried again.
func (c change) sound(t *testing.T, s *storage.Store, a, other storagetest.Sample) {
	t.Helper()
	state := stateOfTaken(t, s, a)
	require.Contains(t, []string{c.before, c.done}, state)
	require.NoError(t, other.Whole(t.Context(), s))
	require.NoError(t, c.do(t.Context(), s, a))
	require.Equal(t, c.done, stateOfTaken(t, s, a))
	for checked, err := range s.Verify(t.Context(), nil) {
		require.NoError(t, err)
		require.Empty(t, checked.Problems, checked.Module)
	}
}

// files are those of a version beside its record.
func files(t *testing.T, m medium, a storagetest.Sample) (there []string) {
	t.Helper()
	for _, ext := range []string{".info", ".mod", ".zip", ".ziphash"} {
		if ok, err := afero.Exists(m.Fs, m.of(a, ext)); err == nil && ok {
			there = append(there, ext)
		}
	}
	return there
}

// TestTakenBackFaults fails each change of the medium while a version is taken back, or
// lets the process die there.
func TestTakenBackFaults(t *testing.T) {
	for _, c := range changes {
		for _, kind := range []struct{ happened, dies bool }{{}, {happened: true}, {dies: true}, {true, true}} {
			for at := 1; ; at++ {
				m := medium{afero.NewMemMapFs(), "/store"}
				a, other := c.prepare(t, m.open(t), "example.com/mod")
				f := &faulty{Fs: m.Fs, err: syscall.ENOSPC, happened: kind.happened, dies: kind.dies}
				s, err := storage.New(f, m.dir, nil)
				require.NoError(t, err)
				require.Contains(t, []string{c.before}, stateOfTaken(t, s, a)) // and remembers it
				f.at = f.now + at
				err = c.do(t.Context(), s, a)
				met := f.now >= f.at
				where := fmt.Sprintf("%s, change %d of %+v: %v", c.name, at, kind, err)
				if !met {
					require.NoError(t, err, where)
					require.Greater(t, at, 5, where)
					break
				}
				if err != nil {
					require.NotErrorIs(t, err, fs.ErrNotExist, where)
				}
				if kind.dies {
					s = m.open(t)
					state := stateOfTaken(t, s, a)
					if state == "removed" || state == "absent" {
						require.Empty(t, files(t, m, a), "%s: the next process has left files of it", where)
					}
					require.Empty(t, problems(t, s, nil), where)
				} else {
					f.at = 0
				}
				c.sound(t, s, a, other)
				list := "v1.0.0\nv1.1.0\n"
				if c.done != "whole" {
					list = "v1.1.0\n"
				}
				require.Equal(t, list, string(m.read(t, filepath.Join(filepath.Dir(m.of(a, ".mod")), "list"))), where)
			}
		}
	}
}

// A power cut during a removal leaves a version whole or removed, whatever the medium
// kept of what was not synced.
func TestPowerCutAtRemoval(t *testing.T) {
	for _, c := range changes {
		j := newJournal()
		s, err := storage.New(j, "/store", nil)
		require.NoError(t, err)
		a, other := c.prepare(t, s, "example.com/mod")
		start := len(j.log)
		require.NoError(t, c.do(t.Context(), s, a))
		for n := start; n <= len(j.log); n++ {
			for name, l := range lucks {
				s, err := storage.New(j.after(t, n, l), "/store", nil)
				require.NoError(t, err)
				if n == len(j.log) {
					require.Equal(t, c.done, stateOfTaken(t, s, a), "%s has returned, cut leaves %s", c.name, name)
				}
				if c.name == "evict" {
					// Eviction keeps no promise but that what is served is right.
					require.NoError(t, other.Whole(t.Context(), s))
					require.NoError(t, a.Store(t.Context(), s))
					require.NoError(t, a.Whole(t.Context(), s))
					continue
				}
				state := stateOfTaken(t, s, a)
				require.Contains(t, []string{c.before, c.done}, state, "%s, event %d, cut leaves %s", c.name, n, name)
				require.NoError(t, c.do(t.Context(), s, a))
				require.Equal(t, c.done, stateOfTaken(t, s, a))
			}
		}
	}
}

// A restored version is what it was before it was removed, and one that was evicted is
// whatever comes.
func TestRestoredIsTheSame(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a, moved := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.0.0", "b")
		require.NoError(t, a.Store(t.Context(), s))
		require.NoError(t, remove(t.Context(), s, a))
		assert.Empty(t, files(t, m, a))
		require.NoError(t, s.Restore(t.Context(), a.Module))
		require.ErrorAs(t, moved.Put(t.Context(), s), new(*athens.ConflictError))
		require.NoError(t, a.Put(t.Context(), s))
		require.ErrorAs(t, moved.Commit(t.Context(), s), new(*athens.ConflictError))
		require.NoError(t, a.Store(t.Context(), s))
		require.NoError(t, s.Evict(t.Context(), a.Module))
		exists, err := afero.Exists(m.Fs, m.of(a, ".record"))
		require.NoError(t, err)
		assert.False(t, exists)
		require.NoError(t, moved.Store(t.Context(), s))
		require.Empty(t, problems(t, s, nil))
	})
}

// What is removed leaves nothing in quarantine either, and what is of other versions
// stays there.
func TestRemovedFromQuarantine(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a, b := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.0.0-rc", "b")
		for range 2 {
			require.NoError(t, errors.Join(a.Store(t.Context(), s), b.Store(t.Context(), s)))
			m.write(t, m.of(a, ".zip"), []byte("rotten"))
			m.write(t, m.of(b, ".zip"), []byte("rotten"))
			require.NotEmpty(t, problems(t, s, &storage.VerifyOptions{Quarantine: true}))
		}
		require.NoError(t, remove(t.Context(), s, a))
		infos, err := afero.ReadDir(m.Fs, m.dir+"/.athens/quarantine/example.com/mod/@v")
		require.NoError(t, err)
		var names []string
		for _, info := range infos {
			names = append(names, info.Name())
		}
		assert.Equal(t, []string{"v1.0.0-rc.zip", "v1.0.0-rc.zip.2"}, names)
	})
}

// Damaged marks hide nothing and restore nothing: the module is not served, and verify
// says which file it is.
func TestDamagedMarks(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
		require.NoError(t, a.Store(t.Context(), m.open(t)))
		name := filepath.Join(filepath.Dir(m.of(a, ".mod")), "taken")
		for _, bad := range []string{"{", "[]\n", `{"Version":"v1"}` + "\n", `{"Removed":true}`} {
			m.write(t, name, []byte(bad))
			s := m.open(t)
			_, err := s.Open(t.Context(), a.Module, athens.ModFile)
			require.ErrorContains(t, err, "damaged")
			require.NotErrorIs(t, err, fs.ErrNotExist)
			_, err = s.Marks(t.Context(), a.Module.Path)
			require.ErrorContains(t, err, "damaged")
			require.Error(t, s.Remove(t.Context(), a.Module, "x"))
			var said []string
			for c, err := range s.Verify(t.Context(), nil) {
				if err == nil {
					for _, p := range c.Problems {
						said = append(said, p.File+" "+string(p.Kind))
					}
				}
			}
			assert.Equal(t, []string{"taken damaged"}, said)
			require.NoError(t, m.Remove(name))
			require.NoError(t, a.Whole(t.Context(), s))
		}
	})
}

// A process that is at work with a version notices that another has removed it.
func TestRemovedByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	s := newDisk(t, dir)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Store(t.Context(), s))
	for range 2 {
		require.NoError(t, a.Whole(t.Context(), s))
	}
	require.NoError(t, remove(t.Context(), newDisk(t, dir), a))
	assert.Equal(t, "removed", stateOfTaken(t, s, a))
	assert.NotContains(t, strings.Join(tree(t, dir), " "), ".zip")
}
