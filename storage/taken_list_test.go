package storage_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/storagetest"
)

// The marks of all modules, also of one of which nothing is held.
func TestAllMarks(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		held, hidden, gone := storagetest.NewSample("example.com/Mod", "v1.0.0", ""), storagetest.NewSample("example.com/Mod", "v1.2.0", ""), storagetest.NewSample("example.com/gone", "v1.0.0", "")
		for _, a := range []storagetest.Sample{held, hidden, gone} {
			require.NoError(t, a.Store(t.Context(), s))
		}
		require.NoError(t, s.Hide(t.Context(), hidden.Module, "broken"))
		require.NoError(t, remove(t.Context(), s, gone))
		require.NoError(t, remove(t.Context(), s, held))
		require.NoError(t, s.Restore(t.Context(), held.Module))
		var all []athens.BlockedError
		for mark, err := range s.AllMarks(t.Context()) {
			require.NoError(t, err)
			all = append(all, mark)
		}
		assert.ElementsMatch(t, []athens.BlockedError{
			{Path: "example.com/Mod", Version: "v1.2.0", Reason: "broken"},
			{Path: "example.com/gone", Version: "v1.0.0", Reason: "broken", Removed: true},
		}, all)
	})
}

func TestModuleBytes(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a, below := storagetest.NewSample("example.com/Mod", "v1.0.0", ""), storagetest.NewSample("example.com/Mod/below", "v1.0.0", "")
		require.NoError(t, a.Store(t.Context(), s))
		alone, err := s.ModuleBytes(t.Context(), a.Module.Path)
		require.NoError(t, err)
		assert.Greater(t, alone, int64(len(a.Zip)+len(a.Mod)))
		require.NoError(t, below.Store(t.Context(), s))
		still, err := s.ModuleBytes(t.Context(), a.Module.Path)
		require.NoError(t, err)
		assert.Equal(t, alone, still)
		none, err := s.ModuleBytes(t.Context(), "example.com/other")
		require.NoError(t, err)
		assert.Zero(t, none)
	})
}
