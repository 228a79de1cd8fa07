package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

func TestMemo(t *testing.T) {
	c := newMemo(4000)
	at := func(i int) module.Version { return module.Version{Path: "example.com/mod", Version: strconv.Itoa(i)} }
	c.add(at(0), known{base: "0", info: true})
	c.add(at(0), known{base: "0", synced: true})
	c.add(at(0), known{base: "0", zip: true})
	for i := 1; i < 1000; i++ {
		c.add(at(i), known{base: strconv.Itoa(i)})
		k, ok := c.Get(at(0))
		require.True(t, ok, "forgot what is asked for all the time")
		require.Equal(t, known{base: "0", info: true, zip: true, synced: true}, k)
		require.LessOrEqual(t, c.Bytes(), int64(4000))
	}
	_, ok := c.Get(at(500))
	assert.False(t, ok)
	k, ok := c.Get(at(999))
	assert.True(t, ok)
	assert.Equal(t, known{base: "999"}, k)
}

// Filled with the longest names, and the largest files, the memory of a store stays
// within what its options say.
func TestCachesStayWithinBytes(t *testing.T) {
	const bound = 4 << 20
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	name := filepath.Join(t.TempDir(), strings.Repeat("n", 200))
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	for _, size := range []int{0, 10, 500, 2000} {
		at := func(i int) module.Version {
			version := fmt.Sprint("v1.0.", i)
			return module.Version{Path: fmt.Sprint(i, strings.Repeat("p", size)), Version: version}
		}
		before := heap()
		versions := newMemo(bound)
		for i := range 3 * bound / (size + 200) {
			versions.add(at(i), known{base: at(i).Version})
		}
		assert.LessOrEqual(t, heap()-before, int64(bound)*21/20, "versions, names of %d bytes", size)
		runtime.KeepAlive(versions)

		before = heap()
		files := newSmallFiles(bound)
		for i := range 3 * bound / (9*size + 800) {
			stat, err := os.Stat(name)
			require.NoError(t, err)
			files.Put(fileKey{at(i), athens.ModFile}, &smallFile{stat: stat, etag: fmt.Sprint("tag", i), data: make([]byte, min(8*size, maxSmall))})
		}
		assert.LessOrEqual(t, heap()-before, int64(bound)*21/20, "files, of %d bytes", 8*size)
		runtime.KeepAlive(files)
	}
}

func TestZipHashLimits(t *testing.T) {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	hash := func(ctx context.Context, limit int64) (string, error) {
		return zipHash(ctx, bytes.NewReader(a.Zip), int64(len(a.Zip)), limit)
	}
	h1, err := hash(t.Context(), 1<<20)
	require.NoError(t, err)
	assert.Equal(t, a.H1, h1)
	_, err = hash(t.Context(), 10)
	require.ErrorContains(t, err, "too large")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = hash(done, 1<<20)
	require.ErrorIs(t, err, context.Canceled)
}

// Something that is missing must not look like a version that is not held, and
// still say what else is wrong.
func TestFaultHidesMissing(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	err := fault("put", module.Version{Path: "example.com/mod", Version: "v1.0.0"}, errors.Join(full, fs.ErrNotExist))
	assert.NotErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorIs(t, err, syscall.ENOSPC)
	var path *fs.PathError
	assert.ErrorAs(t, err, &path)
	assert.Equal(t, "storage: put example.com/mod@v1.0.0: write x: "+syscall.ENOSPC.Error()+"\nfile does not exist", err.Error())
	assert.NoError(t, opaque(nil))
}

// The number of locks and what picks one are part of the layout: an older and a
// newer process must agree.
func TestLockOf(t *testing.T) {
	assert.Equal(t, 64, lockCount)
	assert.Equal(t, 57, lockOf("example.com/mod"))
	assert.Equal(t, 25, lockOf("example.com/Mod"))
}
