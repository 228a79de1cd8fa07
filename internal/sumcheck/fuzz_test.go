package sumcheck

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
)

// FuzzParseLookup: what is accepted is about the version asked for, and comes
// out as it went in.
func FuzzParseLookup(f *testing.F) {
	w := newWorld(f, 8)
	good, err := w.Ask(f.Context(), "lookup/"+numbered(5).String())
	require.NoError(f, err)
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("5\n"), []byte("+5\n"), 1))
	f.Add([]byte("5\nexample.com/m5 v1.0.0 h1:x=\n\n"))
	f.Add([]byte("-1\n\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseLookup(body, numbered(5))
		if err != nil {
			return
		}
		if r.ID < 0 || !bytes.Contains(r.Text, []byte("example.com/m5 v1.0.0")) {
			t.Errorf("%q is no record of it", body)
		}
		if got := r.Answer(r.Note); !bytes.Equal(got, body) {
			t.Errorf("%q came out as %q", body, got)
		}
	})
}

// FuzzParseTree: with the key nothing but what was signed is accepted; without,
// what is accepted can be reckoned with.
func FuzzParseTree(f *testing.F) {
	w := newWorld(f, 8).withKey()
	good := latest(f, w)
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("\n8\n"), []byte("\n281474976710656\n"), 1))
	f.Add(bytes.Replace(good, []byte("\n8\n"), []byte("\n9223372036854775807\n"), 1))
	f.Add(append(bytes.Clone(good), "— other.test AAAAAAA=\n"...))
	f.Fuzz(func(t *testing.T, signed []byte) {
		if tree, err := ParseTree(signed, "sum.test", w.verifier); err == nil && tree.N != 8 {
			t.Errorf("%q was never signed", signed)
		}
		tree, err := ParseTree(signed, "sum.test", nil)
		if err != nil {
			return
		}
		if tree.N < 0 || tree.N > maxTree {
			t.Errorf("%q has %d records", signed, tree.N)
		}
		for _, tile := range edgeTiles(tree.N) {
			if got := width(tile, tree.N); got != tile.W {
				t.Errorf("%v has the width %d in a tree of %d", tile, got, tree.N)
			}
		}
	})
}

// FuzzDecodeHead: what is accepted is proved, and comes out as it went in.
func FuzzDecodeHead(f *testing.F) {
	for _, n := range []int{1, 300} {
		w := newWorld(f, n)
		_, _, err := w.lookup(w.open(), numbered(n-1))
		require.NoError(f, err)
		f.Add(w.kept["sum.test/head"])
		f.Add(bytes.Replace(w.kept["sum.test/head"], []byte("tree\n"), []byte("tree\n7"), 1))
	}
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHead(data, "sum.test", nil)
		if err != nil {
			return
		}
		again, err := decodeHead(h.encode(), "sum.test", nil)
		if err != nil || again.Tree != h.Tree || !bytes.Equal(again.Note, h.Note) {
			t.Errorf("%q came out as %q, %v", data, h.encode(), err)
		}
	})
}

// FuzzTile: whatever tile is asked for, with a kept tree or without, it is the
// one that the tree has, or what the database says.
func FuzzTile(f *testing.F) {
	w := newWorld(f, 700)
	d := w.open()
	for _, i := range []int{650, 5} {
		_, _, err := w.lookup(d, numbered(i))
		require.NoError(f, err)
	}
	for _, path := range []string{
		"tile/8/0/000", "tile/8/0/002.p/188", "tile/8/0/002.p/189", "tile/8/1/000.p/2", "tile/8/data/000", "tile/1/0/x001/234", "tile/30/63/000",
		"tile/8/6/000", "tile/8/0/x999/x999/x999/x999/x999/999", "tile/8/0/x009/x223/x372/x036/x854/x775/807",
	} {
		f.Add(path)
	}
	other := []byte("what the database says")
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := tlog.ParseTilePath(path)
		if err != nil {
			return
		}
		for _, d := range []*Database{d, w.open(), New("other.test", nil, w, memory{}, func(error) {})} {
			data, held, err := d.Tile(t.Context(), tile, func(context.Context, string) ([]byte, error) { return other, nil })
			if wrong := (*Error)(nil); errors.As(err, &wrong) {
				continue // it should have been a tile of the tree
			}
			if err != nil {
				t.Fatal(err)
			}
			if !held && !bytes.Equal(data, other) || held && len(data) != tile.W*tlog.HashSize {
				t.Errorf("%s is %q, held %v", path, data, held)
			}
		}
	})
}

// FuzzHostileDatabase: whatever a database says, what is kept of it is true.
func FuzzHostileDatabase(f *testing.F) {
	w := newWorld(f, 300).withKey()
	path := "lookup/" + numbered(5).String()
	good, err := w.Ask(f.Context(), path)
	require.NoError(f, err)
	tile, err := w.Ask(f.Context(), "tile/8/0/000")
	require.NoError(f, err)
	edge, err := w.Ask(f.Context(), "tile/8/0/001.p/44")
	require.NoError(f, err)
	top, err := w.Ask(f.Context(), "tile/8/1/000.p/1")
	require.NoError(f, err)
	f.Add(good, tile, edge, top)
	f.Add(good, tile[1:], edge, top)
	f.Add(bytes.Replace(good, []byte("h1:"), []byte("h2:"), 1), tile, edge, top)
	f.Fuzz(func(t *testing.T, lookup, tile, edge, top []byte) {
		for _, keyed := range []bool{true, false} {
			store := &world{t: t, kept: map[string][]byte{}}
			if keyed {
				store.verifier = w.verifier
			}
			_, _, err := store.open().Lookup(t.Context(), numbered(5), path, func(_ context.Context, path string) ([]byte, error) {
				switch {
				case strings.HasPrefix(path, "lookup/"):
					return lookup, nil
				case strings.HasPrefix(path, "tile/8/0/000"):
					return tile, nil
				case strings.HasPrefix(path, "tile/8/0/"):
					return edge, nil
				case strings.HasPrefix(path, "tile/8/1/"):
					return top, nil
				}
				return nil, fs.ErrNotExist
			})
			if wrong := (*Error)(nil); err != nil && !errors.As(err, &wrong) {
				t.Errorf("an error that is nobody's: %v", err)
			}
			if len(store.kept) == 0 {
				continue
			}
			if kept := store.kept["sum.test/"+path]; keyed && !bytes.Equal(kept, good) {
				t.Errorf("kept %q, which was never signed so", kept)
			}
			if _, held, err := store.open().Lookup(t.Context(), numbered(5), path, nil); err != nil || !held {
				t.Errorf("what is kept does not do: %v", err)
			}
		}
	})
}
