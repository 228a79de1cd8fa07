package storage_test

import (
	"context"
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// What a store can say about all of itself: hashes and answers of checksum databases.
func TestInventory(t *testing.T) {
	ctx := t.Context()
	disk, err := storage.NewDisk(t.TempDir(), nil)
	require.NoError(t, err)
	for _, s := range []*storage.Store{storage.NewMemory(), disk} {
		v, gone, mod := storagetest.NewSample("example.com/Mod", "v1.0.0", "a"), storagetest.NewSample("b.test/m", "v1.0.0", "b"), storagetest.NewSample("c.test/m", "v1.0.0", "c")
		require.NoError(t, v.Store(ctx, s))
		require.NoError(t, gone.Store(ctx, s))
		require.NoError(t, mod.Put(ctx, s))
		require.NoError(t, s.Remove(ctx, gone.Module, "bad"))
		for _, name := range []string{"sum.test/head", "sum.test/tile/8/0/000"} {
			require.NoError(t, s.PutSumDB(ctx, name, []byte("x")))
		}
		h1, err := s.ZipHash(ctx, v.Module)
		require.NoError(t, err)
		assert.Equal(t, v.H1, h1)
		_, err = s.ZipHash(ctx, mod.Module)
		require.ErrorIs(t, err, fs.ErrNotExist)
		var blocked *athens.BlockedError
		_, err = s.ZipHash(ctx, gone.Module)
		require.ErrorAs(t, err, &blocked)
		var names []string
		for name, err := range s.AllSumDB(ctx) {
			require.NoError(t, err)
			names = append(names, name)
		}
		slices.Sort(names)
		assert.Equal(t, []string{"sum.test/head", "sum.test/tile/8/0/000"}, names)
		for range s.AllSumDB(ctx) {
			break
		}
		done, cancel := context.WithCancel(ctx)
		cancel()
		for _, err := range s.AllSumDB(done) {
			assert.ErrorIs(t, err, context.Canceled)
		}
	}
	for range storage.NewMemory().AllSumDB(ctx) {
		t.Error("an empty store has an answer")
	}
}
