package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/sumlog"
)

const (
	height = sumlog.Height
	full   = sumlog.Full
)

// tileName is the name of a full tile's file in the folder.
func tileName(level int, n int64) string {
	return sumlog.TileAt(level, n).Path()
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
	tile := sumlog.FullTile{Tile: sumlog.TileAt(level, n), Data: sumlog.Flatten(hashes)}
	return tile.Data, l.writeTile(tile)
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
			hashes = append(hashes, sumlog.RootOf(sumlog.Split(data)))
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
func (l *Ledger) writeTile(t sumlog.FullTile) error {
	name := l.path(tileName(t.Tile.L, t.Tile.N))
	if err := durable.MkdirAll(durable.OS{}, l.dir, path.Dir(name)); err != nil {
		return err
	}
	return l.replace(name, t.Data)
}

// tempPrefix begins the names of files on their way to another name.
const tempPrefix = "tmp-"

// replace gives a file of the ledger another content, at once and durable.
func (l *Ledger) replace(name string, data []byte) error {
	return durable.Replace(durable.OS{}, l.dir, tempPrefix, name, data)
}
