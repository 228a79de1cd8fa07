package bundle

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// An import runs out of room on a real file system, sooner or later. With room again, a second one
// does the rest.
func TestImportFullDisk(t *testing.T) {
	disk := modtest.SmallDisk(t, "4m")
	b := export(t, filled(t), nil)
	whole := storage.NewMemory()
	_, err := importInto(t, whole, b, nil)
	require.NoError(t, err)
	want, full := tree(t, whole), 0
	for _, room := range []int64{0, 40 << 10, 100 << 10, 200 << 10, 400 << 10, 3 << 20} {
		dir, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
		s, err := storage.NewDisk(dir, nil)
		require.NoError(t, err)
		modtest.TakeRoom(t, ballast)
		info, err := os.Stat(ballast)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(ballast, info.Size()-room))
		if _, err = importInto(t, s, b, nil); err != nil {
			full++
			require.ErrorIs(t, err, syscall.ENOSPC)
		}
		require.NoError(t, os.Remove(ballast))
		sound(t, s, b, want)
		require.NoError(t, os.RemoveAll(dir))
	}
	assert.GreaterOrEqual(t, full, 3)
}
