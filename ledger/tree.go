package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/durable"
)

// height is that of the tiles, the one that go commands ask for.
const height = 8

// full is how many hashes a full tile has.
const full = 1 << height

// maxLevel bounds the levels of tiles: no tree has 2^56 records.
const maxLevel = 6

// tree is a tree of n records. Its full tiles are on disk or on their way there; the
// hashes at its right edge, of the tiles that are not full, are in memory: edge[L] has
// fewer than 256.
type tree struct {
	n    int64
	edge [maxLevel + 2][]tlog.Hash
}

// fullTile is a tile that will never change.
type fullTile struct {
	tile tlog.Tile
	data []byte
}

// add appends a record's hash and returns the tiles that became full. The slices
// that other copies of the tree share only grow behind their ends.
func (t *tree) add(h tlog.Hash) []fullTile {
	var done []fullTile
	t.n++
	for level := 0; ; level++ {
		t.edge[level] = append(t.edge[level], h)
		if len(t.edge[level]) < full {
			return done
		}
		tile := fullTile{tlog.Tile{H: height, L: level, N: t.n>>(height*(level+1)) - 1, W: full}, flatten(t.edge[level])}
		done = append(done, tile)
		h = rootOf(t.edge[level])
		t.edge[level] = nil
	}
}

// flatten writes hashes one behind the other.
func flatten(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// rootOf is the hash above those of a full tile.
func rootOf(hashes []tlog.Hash) tlog.Hash {
	row := slices.Clone(hashes)
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// split reads the hashes of a tile.
func split(data []byte) []tlog.Hash {
	hashes := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes
}

// copied returns the tree as it is now, whatever is added later.
func (t *tree) copied() tree {
	c := *t
	for i := range c.edge {
		c.edge[i] = slices.Clip(c.edge[i])
	}
	return c
}

// tile returns the data of a tile of the tree, from the edge or by read, which reads
// a full one. A tile that the tree does not have yet is fs.ErrNotExist.
func (t *tree) tile(want tlog.Tile, read func(level int, n int64) ([]byte, error)) ([]byte, error) {
	if want.H != height || want.L < 0 || want.L > maxLevel || want.W < 1 || want.W > full || want.N < 0 {
		return nil, fs.ErrNotExist
	}
	switch last := t.n >> (height * (want.L + 1)); {
	case want.N > last:
		return nil, fs.ErrNotExist
	case want.N == last:
		edge := t.edge[want.L]
		if want.W > len(edge) {
			return nil, fs.ErrNotExist
		}
		return flatten(edge[:want.W]), nil
	}
	data, err := read(want.L, want.N)
	if err != nil {
		return nil, err
	}
	return data[:want.W*tlog.HashSize], nil
}

// hashes reads hashes of the tree.
func (t *tree) hashes(read func(level int, n int64) ([]byte, error)) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, index := range indexes {
			tile := tlog.TileForIndex(height, index)
			data, err := t.tile(tile, read)
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

// tileName is the name of a full tile's file in the folder.
func tileName(level int, n int64) string {
	return tlog.Tile{H: height, L: level, N: n, W: full}.Path()
}

// readTile reads a full tile. One whose file is gone is made again, from the records
// or the tiles below.
func (l *Ledger) readTile(level int, n int64) ([]byte, error) {
	data, err := os.ReadFile(l.path(tileName(level, n)))
	if err == nil && len(data) != full*tlog.HashSize {
		return nil, l.damaged("%s has %d bytes, not %d; remove the file, and it is made again", tileName(level, n), len(data), full*tlog.HashSize)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	hashes, err := l.tileHashes(level, n)
	if err != nil {
		return nil, err
	}
	tile := fullTile{tlog.Tile{H: height, L: level, N: n, W: full}, flatten(hashes)}
	return tile.data, l.writeTile(tile)
}

// tileHashes makes the hashes of a full tile from what is below.
func (l *Ledger) tileHashes(level int, n int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, full)
	if level > 0 {
		for i := range int64(full) {
			data, err := l.readTile(level-1, n<<height+i)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, rootOf(split(data)))
		}
		return hashes, nil
	}
	off, err := l.index.bundle(n)
	if err != nil {
		return nil, err
	}
	_, err = l.records.scan(off, full, func(_ int64, r record) error {
		hashes = append(hashes, tlog.RecordHash(r.text))
		return nil
	})
	return hashes, err
}

// writeTile puts a full tile on the disk.
func (l *Ledger) writeTile(t fullTile) error {
	name := l.path(tileName(t.tile.L, t.tile.N))
	if err := durable.MkdirAll(durable.OS{}, l.dir, path.Dir(name)); err != nil {
		return err
	}
	return l.replace(name, t.data)
}

// tempPrefix begins the names of files on their way to another name.
const tempPrefix = "tmp-"

// replace gives a file of the ledger another content, at once and durable.
func (l *Ledger) replace(name string, data []byte) error {
	return durable.Replace(durable.OS{}, l.dir, tempPrefix, name, data)
}
