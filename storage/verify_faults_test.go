package storage_test

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
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

// TestVerifyBesideServers verifies, with quarantine, while others store in the same
// folder: nothing that they are at is taken for damaged.
func TestVerifyBesideServers(t *testing.T) {
	dir := t.TempDir()
	const writers, each = 3, 25
	var storing sync.WaitGroup
	for w := range writers {
		s := newDisk(t, dir)
		storing.Go(func() {
			for i := range each {
				a := storagetest.NewSample("example.com/mod", fmt.Sprintf("v1.%d.%d", w%2, i), "") // two race
				if err := a.Store(t.Context(), s); err != nil {
					assert.NoError(t, err)
					return
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { storing.Wait(); close(over) }()
	s, rounds := newDisk(t, dir), 0
	for more := true; more; rounds++ {
		select {
		case <-over:
			more = false
		default:
		}
		assert.Empty(t, problems(t, s, &storage.VerifyOptions{Quarantine: true, Workers: 4}))
	}
	t.Logf("verified %d times", rounds)
	for w := range 2 {
		for i := range each {
			require.NoError(t, storagetest.NewSample("example.com/mod", fmt.Sprintf("v1.%d.%d", w, i), "").Whole(t.Context(), s))
		}
	}
}

// TestQuarantineFaults fails each change while something is quarantined, or lets the
// process die there. What was damaged is in one place or the other, and the next run
// comes to the same end.
func TestQuarantineFaults(t *testing.T) {
	a, moved := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.0.0", "b")
	for _, kind := range []struct{ happened, dies bool }{{}, {happened: true}, {dies: true}, {true, true}} {
		for at := 1; ; at++ {
			m := medium{afero.NewMemMapFs(), "/store"}
			require.NoError(t, a.Store(t.Context(), m.open(t)))
			for _, ext := range []string{".info", ".mod", ".zip"} {
				m.write(t, m.of(a, ext), []byte("rotten "+ext))
			}
			f := &faulty{Fs: m.Fs, err: syscall.EIO, happened: kind.happened, dies: kind.dies}
			s, err := storage.New(f, m.dir, nil)
			require.NoError(t, err)
			f.at = f.now + at
			for range s.Verify(t.Context(), &storage.VerifyOptions{Quarantine: true}) {
			}
			met := f.now >= f.at
			for _, ext := range []string{".info", ".mod", ".zip"} {
				in, err1 := afero.ReadFile(m.Fs, m.dir+"/.athens/quarantine/example.com/mod/@v/v1.0.0"+ext)
				out, err2 := afero.ReadFile(m.Fs, m.of(a, ext))
				require.True(t, err1 == nil && string(in) == "rotten "+ext || err2 == nil && string(out) == "rotten "+ext, "change %d of %+v: %s is lost", at, kind, ext)
			}
			next := m.open(t)
			problems(t, next, &storage.VerifyOptions{Quarantine: true})
			assert.Equal(t, []string{"v1.0.0.mod missing", "v1.0.0.zip missing"}, problems(t, next, nil), "after change %d of %+v", at, kind)
			var conflict *athens.ConflictError
			require.ErrorAs(t, moved.Put(t.Context(), next), &conflict)
			require.NoError(t, a.Store(t.Context(), next))
			require.NoError(t, a.Whole(t.Context(), next))
			require.Empty(t, problems(t, next, nil))
			if !met {
				assert.Greater(t, at, 20)
				break
			}
		}
	}
}

// TestQuarantinePowerCut cuts the power once the quarantine has returned.
func TestQuarantinePowerCut(t *testing.T) {
	j := newJournal()
	s, err := storage.New(j, "/store", nil)
	require.NoError(t, err)
	require.NoError(t, j.Mkdir("/store/.athens", 0o777)) // a memory file makes its folders unasked
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Store(t.Context(), s))
	f, err := j.OpenFile("/store/example.com/mod/@v/v1.0.0.zip", 1, 0)
	require.NoError(t, err)
	_, err = f.Write([]byte("rotten"))
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
	require.Equal(t, []string{"v1.0.0.zip damaged moved"}, problems(t, s, &storage.VerifyOptions{Quarantine: true}))
	for name, l := range lucks {
		after := medium{j.after(t, len(j.log), l), "/store"}
		s := after.open(t)
		require.Equal(t, []string{"v1.0.0.zip missing"}, problems(t, s, nil), name)
		require.NotEmpty(t, after.read(t, "/store/.athens/quarantine/example.com/mod/@v/v1.0.0.zip"))
		var conflict *athens.ConflictError
		require.ErrorAs(t, storagetest.NewSample("example.com/mod", "v1.0.0", "b").Commit(t.Context(), s), &conflict)
	}
}

// lossy is a file system on which some files can't be opened, or read.
type lossy struct {
	afero.Fs
	ext       string
	open, get error
}

func (u *lossy) Open(name string) (afero.File, error) {
	f, err := u.Fs.Open(name)
	if err != nil || filepath.Ext(name) != u.ext || strings.Contains(name, "quarantine") {
		return f, err
	}
	if u.open != nil {
		return nil, errors.Join(u.open, f.Close())
	}
	return &lossyFile{f, u.get}, nil
}

type lossyFile struct {
	afero.File
	err error
}

func (f *lossyFile) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// What the medium can't read is damaged. What this process may not read, or has no
// file descriptor for, is not.
func TestVerifyUnreadable(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	for _, ext := range []string{".info", ".mod", ".zip", ".ziphash", ".record"} {
		for _, c := range []struct {
			open, get error
			damaged   bool
		}{{syscall.EIO, nil, true}, {nil, syscall.EIO, true}, {syscall.EACCES, nil, false}, {syscall.EMFILE, nil, false}, {nil, syscall.ENOMEM, false}} {
			m := medium{afero.NewMemMapFs(), "/store"}
			require.NoError(t, a.Store(t.Context(), m.open(t)))
			u := &lossy{m.Fs, ext, c.open, c.get}
			s, err := storage.New(u, m.dir, nil)
			require.NoError(t, err)
			var errs []error
			var found []storage.Problem
			for checked, err := range s.Verify(t.Context(), nil) {
				if found = append(found, checked.Problems...); err != nil {
					errs = append(errs, err)
				}
			}
			if !c.damaged {
				require.Len(t, errs, 1, "%+v", c)
				want := c.open
				if want == nil {
					want = c.get
				}
				require.ErrorIs(t, errs[0], want)
				require.Empty(t, found)
				continue
			}
			require.Empty(t, errs)
			require.Len(t, found, 1)
			require.Equal(t, path.Base(m.of(a, ext)), found[0].File)
			require.ErrorIs(t, found[0].Err, syscall.EIO)
		}
	}
}
