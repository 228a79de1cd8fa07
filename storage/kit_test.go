package storage_test

import (
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"
)

func TestKitDisk(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		dir := t.TempDir()
		return func() (athens.Storage, error) { return storage.NewDisk(dir, nil) }
	})
}

// Any other file system is for one Store.
func TestKitMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		s := storage.NewMemory()
		return func() (athens.Storage, error) { return s, nil }
	})
}

// A BasePathFs of the real one is a real folder too.
func TestKitBasePath(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		base := afero.NewBasePathFs(afero.NewOsFs(), t.TempDir())
		return func() (athens.Storage, error) { return storage.New(base, "/in/here", nil) }
	})
}

func TestMemoryReopen(t *testing.T) {
	fs := afero.NewMemMapFs()
	for _, c := range storagetest.Cases() {
		if c.Name == "reopen" {
			require.NoError(t, c.Check(t.Context(), func() (athens.Storage, error) {
				return storage.New(fs, "store", nil)
			}))
		}
	}
}
