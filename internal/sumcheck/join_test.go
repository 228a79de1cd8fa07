package sumcheck

import (
	"bytes"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// headOf returns what a store keeps of a database of n records.
func headOf(t *testing.T, w *world, n int) []byte {
	_, _, err := w.lookup(w.open(), numbered(n-1))
	require.NoError(t, err)
	return w.kept["sum.test/head"]
}

// Of two trees the newer one is told, if it continues the older one; tiles that are lacking prove
// nothing, and two histories contradict each other.
func TestJoin(t *testing.T) {
	w := newWorld(t, 200)
	old := headOf(t, w, 200)
	before := maps.Clone(w.kept)
	w.grow(200, 700)
	late := headOf(t, w, 700)
	forked := newWorld(t, 0)
	forked.serve(700, "other")
	other := headOf(t, forked, 700)
	_, _, err := forked.lookup(forked.open(), numbered(5)) // keeps the tile in which they differ
	require.NoError(t, err)
	for name, c := range map[string]struct {
		stored, got   []byte
		tiles         map[string][]byte
		newer, proved bool
		wrong         string
	}{
		"none stored":    {nil, late, nil, true, true, ""},
		"same":           {late, late, nil, false, true, ""},
		"newer":          {old, late, w.kept, true, true, ""},
		"older":          {late, old, w.kept, false, true, ""},
		"no tiles":       {old, late, before, true, false, ""},
		"same size":      {late, other, w.kept, false, false, "contradict"},
		"other history":  {old, other, forked.kept, true, false, "contradict"},
		"malformed":      {old, []byte("x\n"), nil, true, false, "signed"},
		"damaged stored": {[]byte("x"), late, nil, true, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			store := &world{t: t, kept: c.tiles}
			newer, proved, err := Join(t.Context(), "sum.test", c.stored, c.got, store)
			assert.Equal(t, []bool{c.newer, c.proved}, []bool{newer, proved})
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			var wrong *Error
			require.ErrorAs(t, err, &wrong)
			assert.ErrorContains(t, err, c.wrong)
		})
	}
	_, _, err = Join(t.Context(), "other.test", nil, bytes.Clone(late), w)
	assert.ErrorContains(t, err, "other.test")
}
