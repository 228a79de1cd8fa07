package evict_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/evict"
	"github.com/athens-go/athens/storage/storagetest"
)

// The store keeps every promise of a storage, its bound far away.
func TestKit(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		medium := storage.NewMemory()
		return func() (athens.Storage, error) { return evict.New(medium, 1<<40, nil) }
	})
}

func version(n int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/m%d", n), Version: "v1.0.0"}
}

// put stores a version with a zip of size bytes. A store asks the caller for its hash.
func put(ctx context.Context, s athens.Storage, m module.Version, size int) error {
	info := &athens.Info{Version: m.Version, Time: time.Unix(1e9, 0).UTC()}
	if err := s.Put(ctx, m, info, []byte("module "+m.Path+"\n")); err != nil {
		return err
	}
	st, err := s.Stage(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if _, err := st.Write(make([]byte, size)); err != nil {
		return err
	}
	return st.Commit(ctx, m, "h1:"+fmt.Sprintf("%043d", size)+"=")
}

// use opens the zip of a version, and reports whether it is held.
func use(t *testing.T, s athens.Storage, m module.Version) bool {
	obj, err := s.Open(t.Context(), m, athens.ZipFile)
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		return false
	}
	_, err = io.Copy(io.Discard, obj.Body)
	require.NoError(t, err)
	require.NoError(t, obj.Body.Close())
	return true
}

const each = (4 + 4 + 4) << 10 // bytes of a version in whole blocks

// Ten times as much as fits goes through the store: it never holds more than the bound and
// what is under way, and finds nearly as much as an exact LRU of that size.
func TestChurn(t *testing.T) {
	const fits, all = 25, 250
	var freed atomic.Int64
	s, err := evict.New(storage.NewMemory(), fits*each, &evict.Options{Observe: func(e athens.Event) {
		assert.Equal(t, evict.OpEvict, e.Op)
		freed.Add(e.Bytes)
	}})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	popular := rand.NewZipf(random, 1.1, 8, all-1)
	var exact []int // the last used one at the end
	hits, exactHits, puts := 0, 0, 0
	for range 1_500 {
		n := int(popular.Uint64())
		if use(t, s, version(n)) {
			hits++
		} else {
			puts++
			require.NoError(t, put(t.Context(), s, version(n), 100))
		}
		require.LessOrEqual(t, s.Stats().Bytes, int64(fits*each))
		at := -1
		for i, v := range exact {
			if v == n {
				at = i
			}
		}
		if at >= 0 {
			exactHits++
			exact = append(exact[:at], exact[at+1:]...)
		} else if len(exact) == fits {
			exact = exact[1:]
		}
		exact = append(exact, n)
	}
	t.Logf("%d hits, an exact LRU has %d; %d were stored, %d evicted", hits, exactHits, puts, s.Stats().Evicted)
	assert.Greater(t, puts, 10*fits)
	assert.GreaterOrEqual(t, float64(hits), 0.95*float64(exactHits))
	held := 0
	for _, err := range s.All(t.Context()) {
		require.NoError(t, err)
		held++
	}
	assert.Equal(t, s.Stats().Versions, held)
	assert.Equal(t, int64(held*each), s.Stats().Bytes)
	assert.Equal(t, int64(puts-held)*each, freed.Load())
}

// What is to be kept stays, however old it is, and so does what others took already.
func TestKeep(t *testing.T) {
	disk := storage.NewMemory()
	s, err := evict.New(disk, 10*each, &evict.Options{Keep: func(_ context.Context, m module.Version) bool { return m == version(0) || m == version(1) }})
	require.NoError(t, err)
	for n := range 40 {
		require.NoError(t, put(t.Context(), s, version(n), 100))
	}
	assert.True(t, use(t, s, version(0)))
	assert.True(t, use(t, s, version(1)))
	assert.False(t, use(t, s, version(2)))
	assert.True(t, use(t, s, version(39)))
	require.NoError(t, disk.Evict(t.Context(), version(39))) // another process does
	require.NoError(t, s.Recount(t.Context()))
	assert.LessOrEqual(t, s.Stats().Versions, 9)
	require.NoError(t, put(t.Context(), s, version(39), 100))
	require.NoError(t, s.Remove(t.Context(), version(39), "malware"))
	assert.ErrorAs(t, put(t.Context(), s, version(39), 100), new(*athens.BlockedError))
}

// A restart knows what is held and in which order it was used, and evicts what is too much
// for a smaller bound.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	opts := &evict.Options{StateFile: filepath.Join(dir, ".used")}
	open := func(most int64) (*evict.Store, func()) {
		disk, err := storage.NewDisk(dir, nil)
		require.NoError(t, err)
		s, err := evict.New(disk, most, opts)
		require.NoError(t, err)
		require.NoError(t, s.Recount(t.Context()))
		ctx, stop := context.WithCancel(context.Background())
		stop()
		return s, func() { s.Run(ctx) }
	}
	s, stop := open(100 * each)
	for n := range 20 {
		require.NoError(t, put(t.Context(), s, version(n), 100))
	}
	assert.True(t, use(t, s, version(0)))
	stop()
	s, stop = open(10 * each)
	assert.Equal(t, 9, s.Stats().Versions, "95 % of the bound")
	assert.True(t, use(t, s, version(0)), "it was used last")
	assert.False(t, use(t, s, version(1)))
	stop()
}

// full is a disk of which a quota is full.
type full struct {
	evict.Medium
	left atomic.Int64
}

func (f *full) Stage(ctx context.Context) (athens.Stage, error) {
	st, err := f.Medium.Stage(ctx)
	return &fullStage{st, f}, err
}

func (f *full) Evict(ctx context.Context, m module.Version) error {
	f.left.Add(1)
	return f.Medium.Evict(ctx, m)
}

type fullStage struct {
	athens.Stage
	f *full
}

func (st *fullStage) Write(p []byte) (int, error) {
	if st.f.left.Add(-1) < 0 {
		st.f.left.Store(0)
		n, err := st.Stage.Write(p[:len(p)/2])
		if err == nil {
			err = syscall.ENOSPC
		}
		return n, err
	}
	return st.Stage.Write(p)
}

// A full disk makes room for what comes, in the middle of a zip too.
func TestFullDisk(t *testing.T) {
	f := &full{Medium: storage.NewMemory()}
	f.left.Store(5)
	s, err := evict.New(f, 1<<40, nil)
	require.NoError(t, err)
	for n := range 30 {
		require.NoError(t, put(t.Context(), s, version(n), 1000), n)
	}
	assert.NotZero(t, s.Stats().Evicted)
	assert.True(t, use(t, s, version(29)))
}

// A stage of a full disk goes on where it stopped.
func TestStageGoesOn(t *testing.T) {
	disk := &fullFs{Fs: afero.NewMemMapFs()}
	store, err := storage.New(disk, "/", nil)
	require.NoError(t, err)
	s, err := evict.New(store, 1<<40, nil)
	require.NoError(t, err)
	require.NoError(t, put(t.Context(), s, version(0), 100))
	disk.full.Store(true)
	m := version(1)
	require.NoError(t, put(t.Context(), s, m, 1000))
	obj, err := s.Open(t.Context(), m, athens.ZipFile)
	require.NoError(t, err)
	defer obj.Body.Close()
	assert.Equal(t, int64(1000), obj.Size)
}

// fullFs fails one large write for want of room, after half of it.
type fullFs struct {
	afero.Fs
	full atomic.Bool
}

func (f *fullFs) OpenFile(name string, flag int, perm os.FileMode) (afero.File, error) {
	file, err := f.Fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &fullFile{file, f}, nil
}

type fullFile struct {
	afero.File
	fs *fullFs
}

func (f *fullFile) Write(p []byte) (int, error) {
	if len(p) < 1000 || !f.fs.full.CompareAndSwap(true, false) {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:len(p)/2])
	if err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

func TestNew(t *testing.T) {
	_, err := evict.New(nil, 1, nil)
	assert.ErrorContains(t, err, "nil")
	_, err = evict.New(storage.NewMemory(), 0, nil)
	assert.ErrorContains(t, err, "must be positive")
	_, err = evict.New(storage.NewMemory(), 1, &evict.Options{RecountInterval: -1})
	assert.ErrorContains(t, err, "RecountInterval")
}

// BenchmarkOpen is what noting a use costs.
func BenchmarkOpen(b *testing.B) {
	disk, err := storage.NewDisk(b.TempDir(), nil)
	require.NoError(b, err)
	bounded, err := evict.New(disk, 1<<40, nil)
	require.NoError(b, err)
	require.NoError(b, put(b.Context(), bounded, version(0), 100))
	for name, s := range map[string]athens.Storage{"Plain": disk, "Bounded": bounded} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				obj, err := s.Open(b.Context(), version(0), athens.ModFile)
				if err != nil {
					b.Fatal(err)
				}
				_ = obj.Body.Close()
			}
		})
	}
}
