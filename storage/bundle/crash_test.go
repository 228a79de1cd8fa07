package bundle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// mortal is a medium whose process dies at one of its changes: from then on nothing works. A write
// that is the one is done by half.
type mortal struct {
	afero.Fs
	left atomic.Int64 // changes until then
}

var errDead = errors.New("the process is dead")

// change counts one, and reports whether it is the last, and whether the process is dead.
func (m *mortal) change() (last, dead bool) {
	left := m.left.Add(-1)
	return left == 0, left < 0
}

func (m *mortal) do(op func() error) error {
	if last, dead := m.change(); last || dead {
		return errDead
	}
	return op()
}

func (m *mortal) OpenFile(name string, flag int, perm fs.FileMode) (afero.File, error) {
	if m.left.Load() <= 0 {
		return nil, errDead
	}
	if flag&os.O_CREATE != 0 {
		if last, dead := m.change(); last || dead {
			return nil, errDead
		}
	}
	f, err := m.Fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &mortalFile{f, m}, nil
}

func (m *mortal) Mkdir(name string, perm fs.FileMode) error {
	return m.do(func() error { return m.Fs.Mkdir(name, perm) })
}

func (m *mortal) Rename(from, to string) error {
	return m.do(func() error { return m.Fs.Rename(from, to) })
}

func (m *mortal) Remove(name string) error { return m.do(func() error { return m.Fs.Remove(name) }) }

type mortalFile struct {
	afero.File
	m *mortal
}

func (f *mortalFile) Write(p []byte) (int, error) {
	switch last, dead := f.m.change(); {
	case dead:
		return 0, errDead
	case last:
		n, err := f.File.Write(p[:len(p)/2])
		return n, errors.Join(errDead, err)
	}
	return f.File.Write(p)
}

func (f *mortalFile) Sync() error { return f.m.do(f.File.Sync) }

// sound checks a store into which a bundle was imported in part: what is visible is what the bundle
// has, nothing is damaged, and a second import does the rest.
func sound(t *testing.T, s *storage.Store, b []byte, want map[string]string) {
	t.Helper()
	got := tree(t, s)
	for name, data := range got {
		require.Equal(t, want[name], data, "%s is visible, and not what the bundle has", name)
		version, _, _ := strings.Cut(name, " ")
		require.Equal(t, want[version+" mark"], got[version+" mark"], "%s is visible before it is hidden", name)
	}
	for c, err := range s.Verify(t.Context(), nil) {
		require.NoError(t, err)
		require.False(t, c.Damaged(), "%v", c)
	}
	_, err := importInto(t, s, b, nil)
	require.NoError(t, err)
	require.Equal(t, want, tree(t, s))
}

// An import dies at each change of the medium, one after the other.
func TestImportDies(t *testing.T) {
	b := export(t, filled(t), nil)
	whole := storage.NewMemory()
	_, err := importInto(t, whole, b, nil)
	require.NoError(t, err)
	want := tree(t, whole)
	stride, died := modtest.Soak(13, 1), 0
	for n := 1; ; n += stride {
		m := &mortal{Fs: afero.NewMemMapFs()}
		m.left.Store(int64(n))
		s, err := storage.New(m, "/store", nil)
		if err == nil {
			_, err = importInto(t, s, b, &ImportOptions{Workers: 1})
		}
		after, openErr := storage.New(m.Fs, "/store", nil)
		require.NoError(t, openErr)
		sound(t, after, b, want)
		if m.left.Load() > 0 {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, errDead)
		died++
	}
	t.Logf("died at %d changes", died)
	assert.Greater(t, died, 5)
}

// childEnv makes the test binary a process that imports a bundle into a folder.
const childEnv = "ATHENS_BUNDLE_CHILD"

// importAsChild imports, and says how far it is.
func importAsChild(dir string) error {
	s, err := storage.NewDisk(filepath.Join(dir, "store"), nil)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, "bundle"))
	if err != nil {
		return err
	}
	_, err = Import(context.Background(), s, bytes.NewReader(b), int64(len(b)), &ImportOptions{Workers: 3, Progress: func(p Progress) {
		fmt.Println(p.Verified, p.Versions)
	}})
	return err
}

// A process that imports is killed after a random step.
func TestImportKilled(t *testing.T) {
	b := export(t, filled(t), nil)
	whole := storage.NewMemory()
	_, err := importInto(t, whole, b, nil)
	require.NoError(t, err)
	want, random := tree(t, whole), modtest.Rand(t)
	for range modtest.Soak(4, 100) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bundle"), b, 0o600))
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines, until := bufio.NewScanner(out), random.IntN(3*len(want)/4)
		for i := 0; i < until && lines.Scan(); i++ {
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed, or done
		s, err := storage.NewDisk(filepath.Join(dir, "store"), nil)
		require.NoError(t, err)
		sound(t, s, b, want)
	}
}
