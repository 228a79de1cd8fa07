package storage_test

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A version whose files were all deleted by hand is not held and not listed by a store
// that runs, and another may take its place. While its record is left, verify says what
// to do.
func TestRemovedByHand(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a, moved, other := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.0.0", "b"), storagetest.NewSample("example.com/mod", "v1.1.0", "c")
		require.NoError(t, a.Store(t.Context(), s))
		require.NoError(t, other.Store(t.Context(), s))
		require.NoError(t, a.Whole(t.Context(), s))
		for _, ext := range []string{".info", ".mod", ".zip", ".ziphash"} {
			require.NoError(t, m.Remove(m.of(a, ext)))
		}
		require.ErrorAs(t, moved.Put(t.Context(), s), new(*athens.ConflictError))
		said := ""
		for c, err := range s.Verify(t.Context(), nil) {
			require.NoError(t, err)
			for _, p := range c.Problems {
				if p.File == "v1.0.0.mod" {
					said = p.Err.Error()
				}
			}
		}
		assert.Contains(t, said, "remove its .record too")

		require.NoError(t, m.Remove(m.of(a, ".record")))
		for _, f := range []athens.File{athens.ModFile, athens.ZipFile} {
			_, err := s.Open(t.Context(), a.Module, f)
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
		versions, err := s.Versions(t.Context(), a.Module.Path)
		require.NoError(t, err)
		assert.Equal(t, []string{"v1.1.0"}, versions)
		for range s.Verify(t.Context(), &storage.VerifyOptions{Quarantine: true}) {
		}
		assert.Equal(t, "v1.1.0\n", string(m.read(t, filepath.Join(filepath.Dir(m.of(a, ".mod")), "list"))))
		require.Empty(t, problems(t, s, nil))

		require.NoError(t, moved.Store(t.Context(), s))
		require.NoError(t, moved.Whole(t.Context(), s))
		require.Empty(t, problems(t, s, nil))
	})
}
