package sumcheck

import (
	"bytes"
	"encoding/base64"
	"errors"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Height is that of the tiles that are kept: those that go commands ask for.
const Height = 8

// full is how many hashes a full tile has.
const full = 1 << Height

// Head is a signed tree and the tiles at its right edge, the ones that are not
// full. They prove the tree's own hash. As the tree grows they are replaced;
// full tiles never change.
type Head struct {
	Tree tlog.Tree
	Note []byte         // the signed tree
	edge map[int][]byte // hashes by the tile's level
}

// edgeTiles returns the tiles at the right edge of a tree of n records.
func edgeTiles(n int64) []tlog.Tile {
	var tiles []tlog.Tile
	for level := 0; n > 0; level, n = level+1, n>>Height {
		if w := int(n % full); w > 0 {
			tiles = append(tiles, tlog.Tile{H: Height, L: level, N: n >> Height, W: w})
		}
	}
	return tiles
}

// width returns how many hashes of the tile at t's place are in a tree of n
// records.
func width(t tlog.Tile, n int64) int {
	hashes := n >> (t.L * Height) // of this level
	if t.N > hashes>>Height {
		return 0
	}
	return int(min(full, hashes-t.N<<Height))
}

// agrees returns an error if a tree of h's size is another one.
func (h *Head) agrees(tree tlog.Tree) error {
	if tree.N == h.Tree.N && tree.Hash != h.Tree.Hash {
		return &Error{Err: errors.New("two signed trees of one size contradict each other"), Alarm: true}
	}
	return nil
}

// onEdge returns the hashes of a tile if the one at its place is on h's edge and
// wide enough.
func (h *Head) onEdge(t tlog.Tile) []byte {
	if h == nil || t.N != h.Tree.N>>((t.L+1)*Height) {
		return nil
	}
	return prefix(h.edge[t.L], t)
}

// prefix cuts the hashes of a wider tile down to t's; nil if they are too few.
func prefix(data []byte, t tlog.Tile) []byte {
	if want := t.W * tlog.HashSize; len(data) >= want {
		return data[:want]
	}
	return nil
}

// encode writes h as it is kept: a line of hashes, then the signed tree.
func (h *Head) encode() []byte {
	var hashes []byte
	for _, t := range edgeTiles(h.Tree.N) {
		hashes = append(hashes, h.edge[t.L]...)
	}
	b := base64.StdEncoding.AppendEncode(nil, hashes)
	return append(append(b, '\n'), h.Note...)
}

// decodeHead reads a kept Head, and proves it.
func decodeHead(data []byte, name string, verifier note.Verifier) (*Head, error) {
	line, signed, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, malformed("malformed tree head")
	}
	tree, err := ParseTree(signed, name, verifier)
	if err != nil {
		return nil, err
	}
	hashes, err := base64.StdEncoding.AppendDecode(nil, line)
	if err != nil || tree.N == 0 {
		return nil, malformed("malformed tree head")
	}
	h := &Head{Tree: tree, Note: signed, edge: make(map[int][]byte)}
	for _, t := range edgeTiles(tree.N) {
		if h.edge[t.L] = prefix(hashes, t); h.edge[t.L] == nil {
			return nil, malformed("malformed tree head: too few hashes")
		}
		hashes = hashes[t.W*tlog.HashSize:]
	}
	if len(hashes) > 0 {
		return nil, malformed("malformed tree head: too many hashes")
	}
	if _, err := tlog.TileHashReader(tree, edgeReader{h}).ReadHashes(nil); err != nil {
		return nil, malformed("broken tree head: %w", err)
	}
	return h, nil
}

// edgeReader reads the tiles that prove a tree's own hash.
type edgeReader struct{ *Head }

func (edgeReader) Height() int { return Height }

func (r edgeReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		if data[i] = r.onEdge(t); data[i] == nil {
			return nil, errors.New("a tile that is not on the edge")
		}
	}
	return data, nil
}

func (edgeReader) SaveTiles([]tlog.Tile, [][]byte) {}
