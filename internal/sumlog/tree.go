package sumlog

import (
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// Height is that of the tiles, the one that go commands ask for.
	Height = 8
	// Full is how many hashes a full tile has.
	Full = 1 << Height
	// MaxLevel bounds the levels of tiles: no tree has 2^56 records.
	MaxLevel = 6
	// MaxRecords is more than a tree may have.
	MaxRecords = int64(1) << (Height * (MaxLevel + 1))
)

// Tree is a tree of N records. Its full tiles are kept elsewhere, or are on their way
// there; the hashes at its right edge, of the tiles that are not full, are in memory:
// Edge[L] has fewer than 256.
type Tree struct {
	N    int64
	Edge [MaxLevel + 2][]tlog.Hash
}

// FullTile is a tile that will never change.
type FullTile struct {
	Tile tlog.Tile
	Data []byte
}

// ReadFull returns the data of a full tile.
type ReadFull func(level int, n int64) ([]byte, error)

// TileAt names a full tile.
func TileAt(level int, n int64) tlog.Tile { return tlog.Tile{H: Height, L: level, N: n, W: Full} }

// Add appends a record's hash and returns the tiles that became full. The slices
// that other copies of the tree share only grow behind their ends.
func (t *Tree) Add(h tlog.Hash) []FullTile {
	var done []FullTile
	t.N++
	for level := 0; ; level++ {
		t.Edge[level] = append(t.Edge[level], h)
		if len(t.Edge[level]) < Full {
			return done
		}
		done = append(done, FullTile{TileAt(level, t.N>>(Height*(level+1))-1), Flatten(t.Edge[level])})
		h = RootOf(t.Edge[level])
		t.Edge[level] = nil
	}
}

// Flatten writes hashes one behind the other.
func Flatten(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// RootOf is the hash above those of a full tile.
func RootOf(hashes []tlog.Hash) tlog.Hash {
	row := slices.Clone(hashes)
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// Split reads the hashes of a tile.
func Split(data []byte) []tlog.Hash {
	hashes := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes
}

// Copied returns the tree as it is now, whatever is added later.
func (t *Tree) Copied() Tree {
	c := *t
	for i := range c.Edge {
		c.Edge[i] = slices.Clip(c.Edge[i])
	}
	return c
}

// Tile returns the data of a tile of the tree, from the edge or by read. A tile that
// the tree does not have yet is fs.ErrNotExist.
func (t *Tree) Tile(want tlog.Tile, read ReadFull) ([]byte, error) {
	if want.H != Height || want.L < 0 || want.L > MaxLevel || want.W < 1 || want.W > Full || want.N < 0 {
		return nil, fs.ErrNotExist
	}
	switch last := t.N >> (Height * (want.L + 1)); {
	case want.N > last:
		return nil, fs.ErrNotExist
	case want.N == last:
		edge := t.Edge[want.L]
		if want.W > len(edge) {
			return nil, fs.ErrNotExist
		}
		return Flatten(edge[:want.W]), nil
	}
	data, err := read(want.L, want.N)
	if err != nil {
		return nil, err
	}
	return data[:want.W*tlog.HashSize], nil
}

// Hashes reads hashes of the tree.
func (t *Tree) Hashes(read ReadFull) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, index := range indexes {
			tile := tlog.TileForIndex(Height, index)
			data, err := t.Tile(tile, read)
			if err != nil {
				return nil, fmt.Errorf("tile %s: %w", tile.Path(), err)
			}
			h, err := tlog.HashFromTile(tile, data, index)
			if err != nil {
				return nil, err
			}
			list = append(list, h)
		}
		return list, nil
	})
}
