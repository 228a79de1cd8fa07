package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// VerifierKey returns the ledger's public key, NAME+HASH+KEY.
func (l *Ledger) VerifierKey() string { return l.keys.Public }

// Signed returns the newest signed tree. It asks the bucket for what others have added if
// the last time is longer ago than LedgerOptions.HeadTTL; while the bucket does not
// answer, the head that is known stays the newest.
func (l *Ledger) Signed(ctx context.Context) ([]byte, error) {
	if err := l.usable(ctx); err != nil {
		return nil, err
	}
	if time.Since(time.Unix(0, l.checked.Load())) > l.opts.HeadTTL {
		if err := l.follow(ctx); err != nil {
			if err := l.usable(ctx); err != nil {
				return nil, err
			}
			l.log.Warn("ledger: could not ask the bucket for a newer head", "ledger", l.keys.Name(), "error", err)
		}
	}
	return slices.Clone(l.head.Load().note), nil
}

// Lookup returns the number of the record of m. Whether another process has recorded what
// is not known, it asks the bucket. One that is not recorded is [fs.ErrNotExist].
func (l *Ledger) Lookup(ctx context.Context, m module.Version) (int64, error) {
	if err := l.usable(ctx); err != nil {
		return 0, err
	}
	id, ok, err := l.find(sumlog.KeyOf(m))
	if err == nil && !ok {
		if err = l.follow(ctx); err == nil {
			id, ok, err = l.find(sumlog.KeyOf(m))
		}
	}
	if err != nil {
		return 0, l.fault(ctx, "look up", err)
	}
	if !ok {
		return 0, fmt.Errorf("ledger: %s is not recorded: %w", m, fs.ErrNotExist)
	}
	return id, nil
}

// find returns the number of a record that is published.
func (l *Ledger) find(key sumlog.IndexKey) (id int64, ok bool, err error) {
	id, ok, err = l.index.find(key)
	return id, ok && id < l.head.Load().tree.N, err
}

// reach returns the newest head, and asks the bucket for a newer one if that has fewer
// than n records.
func (l *Ledger) reach(ctx context.Context, n int64) (*signedHead, error) {
	if err := l.usable(ctx); err != nil {
		return nil, err
	}
	if h := l.head.Load(); n <= h.tree.N {
		return h, nil
	}
	if err := l.follow(ctx); err != nil {
		return nil, l.fault(ctx, "read", err)
	}
	return l.head.Load(), nil
}

// ReadRecords returns the text of n records from number id on. If there are not that
// many, the error is [fs.ErrNotExist].
func (l *Ledger) ReadRecords(ctx context.Context, id, n int64) ([][]byte, error) {
	if id < 0 || n < 0 || n > sumlog.MaxRecords || id > sumlog.MaxRecords {
		return nil, fmt.Errorf("ledger: there are no such records: %w", fs.ErrNotExist)
	}
	h, err := l.reach(ctx, id+n)
	if err != nil {
		return nil, err
	}
	if id+n > h.tree.N {
		return nil, fmt.Errorf("ledger: there is no record %d yet: %w", max(id, h.tree.N), fs.ErrNotExist)
	}
	var texts [][]byte
	err = l.scan(ctx, id, n, func(_ int64, r ledgerRecord) bool {
		texts = append(texts, slices.Clone(r.text))
		return true
	})
	return texts, l.fault(ctx, "read", err)
}

// errRestore says what to do about an object that was changed or removed.
var errRestore = errors.New("restore it from a copy of the bucket")

// record returns a record that is published.
func (l *Ledger) record(ctx context.Context, id int64) (r ledgerRecord, err error) {
	err = l.scan(ctx, id, 1, func(_ int64, found ledgerRecord) bool {
		r = found
		return true
	})
	return r, err
}

// scan calls each for n records that are published, from number id on, until that returns
// false.
func (l *Ledger) scan(ctx context.Context, id, n int64, each func(id int64, r ledgerRecord) bool) error {
	for end := id + n; id < end; {
		b, err := l.bundleOf(ctx, id)
		if err != nil {
			return err
		}
		for _, r := range b.records[id-b.first:] {
			if id == end {
				break
			}
			if !each(id, r) {
				return nil
			}
			id++
		}
	}
	return nil
}

// bundleOf returns the bundle of a record that is published. Its records are those that
// are in the tree.
func (l *Ledger) bundleOf(ctx context.Context, id int64) (*bundle, error) {
	start, err := l.index.bundleOf(id)
	if err != nil {
		return nil, err
	}
	if b, ok := l.bundles.Get(start.seq); ok {
		return b, nil
	}
	key := l.bundleKey(start.seq)
	data, err := l.read(ctx, key, maxBundleObject)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%s is missing; %w", key, errRestore)
	}
	b, err := parseBundle(data, l.keys.Known)
	if err != nil {
		return nil, fmt.Errorf("%s is malformed: %w; %w", key, err, errRestore)
	}
	if b.first != start.id || id >= b.first+int64(len(b.records)) {
		return nil, l.damaged("%s has other records than those that were signed; %w", key, errRestore)
	}
	if err := l.inTree(ctx, b); err != nil {
		return nil, err
	}
	l.bundles.Put(start.seq, b)
	return b, nil
}

// inTree compares the records of a bundle with the tree.
func (l *Ledger) inTree(ctx context.Context, b *bundle) error {
	tree := l.head.Load().tree
	var hashes []byte
	for i, r := range b.records {
		id := b.first + int64(i)
		if at := id & (sumlog.Full - 1); i == 0 || at == 0 {
			n := id >> sumlog.Height
			width := min(sumlog.Full, tree.N-n<<sumlog.Height)
			var err error
			if hashes, err = tree.Tile(tlog.Tile{H: sumlog.Height, N: n, W: int(width)}, l.readTile(ctx)); err != nil {
				return err
			}
		}
		hash := tlog.RecordHash(r.text)
		if at := int(id&(sumlog.Full-1)) * tlog.HashSize; at >= len(hashes) || !bytes.Equal(hashes[at:at+tlog.HashSize], hash[:]) {
			return l.damaged("record %d in %s was changed after it was signed; %w", id, l.bundleKey(b.seq), errRestore)
		}
	}
	return nil
}

// ReadTileData returns the hashes of a tile. One that is not of height 8, or that the
// newest tree does not have yet, is [fs.ErrNotExist].
func (l *Ledger) ReadTileData(ctx context.Context, t tlog.Tile) ([]byte, error) {
	n := int64(0) // how many records the tile takes; none, if there is no such tile
	if t.H == sumlog.Height && t.L >= 0 && t.L <= sumlog.MaxLevel && t.W >= 1 && t.W <= sumlog.Full && t.N >= 0 && t.N < sumlog.MaxRecords>>(sumlog.Height*(t.L+1)) {
		n = (t.N<<sumlog.Height + int64(t.W)) << (sumlog.Height * t.L)
	}
	h, err := l.reach(ctx, n)
	if err != nil {
		return nil, err
	}
	tree := h.tree
	data, err := tree.Tile(t, func(level int, n int64) ([]byte, error) {
		data, err := l.readTile(ctx)(level, n)
		return data, l.fault(ctx, "read", err)
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: tile %s: %w", t.Path(), err)
	}
	return slices.Clone(data), nil
}

// readTile returns a function that reads full tiles. One that is missing, or that the
// tree does not have, is made again from what is below it.
func (l *Ledger) readTile(ctx context.Context) sumlog.ReadFull {
	var read sumlog.ReadFull
	read = func(level int, n int64) ([]byte, error) {
		t := sumlog.TileAt(level, n)
		if data, ok := l.tiles.Get(t); ok {
			return data, nil
		}
		want, err := l.above(t, read)
		if err != nil {
			return nil, err
		}
		data, err := l.read(ctx, l.tileKey(t), sumlog.Full*tlog.HashSize)
		if err != nil {
			return nil, err
		}
		if len(data) != sumlog.Full*tlog.HashSize || sumlog.RootOf(sumlog.Split(data)) != want {
			if data, err = l.remakeTile(ctx, t, want, read); err != nil {
				return nil, err
			}
		}
		l.tiles.Put(t, data)
		return data, nil
	}
	return read
}

// above returns the hash that the tree has of a full tile.
func (l *Ledger) above(t tlog.Tile, read sumlog.ReadFull) (tlog.Hash, error) {
	tree := l.head.Load().tree
	data, err := tree.Tile(tlog.Tile{H: sumlog.Height, L: t.L + 1, N: t.N >> sumlog.Height, W: int(t.N&(sumlog.Full-1)) + 1}, read)
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.Hash(data[len(data)-tlog.HashSize:]), nil
}

// remakeTile makes a full tile from the tiles below it, or from the records.
func (l *Ledger) remakeTile(ctx context.Context, t tlog.Tile, want tlog.Hash, read sumlog.ReadFull) ([]byte, error) {
	hashes := make([]tlog.Hash, 0, sumlog.Full)
	for i := t.N << sumlog.Height; t.L > 0 && len(hashes) < sumlog.Full; i++ {
		data, err := read(t.L-1, i)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, sumlog.RootOf(sumlog.Split(data)))
	}
	for id := t.N << sumlog.Height; t.L == 0 && len(hashes) < sumlog.Full; {
		start, err := l.index.bundleOf(id)
		if err != nil {
			return nil, err
		}
		data, err := l.read(ctx, l.bundleKey(start.seq), maxBundleObject)
		if err != nil {
			return nil, err
		}
		b, err := parseBundle(data, l.keys.Known)
		if err != nil || b.first != start.id || id >= b.first+int64(len(b.records)) {
			return nil, fmt.Errorf("%s is missing or was changed (%v); %w", l.bundleKey(start.seq), err, errRestore)
		}
		for _, r := range b.records[id-b.first:] {
			if id++; len(hashes) < sumlog.Full {
				hashes = append(hashes, tlog.RecordHash(r.text))
			}
		}
	}
	if sumlog.RootOf(hashes) != want {
		return nil, l.damaged("tile %s does not match its records; %w", l.tileKey(t), errRestore)
	}
	l.log.Warn("ledger: rebuilt a tile", "ledger", l.keys.Name(), "tile", t.Path())
	data := sumlog.Flatten(hashes)
	return data, l.write(ctx, l.tileKey(t), data, blob.WriterOptions{CacheControl: keepForever})
}

// createTile writes a full tile if there is none. Each process would write the same.
func (l *Ledger) createTile(ctx context.Context, t sumlog.FullTile) error {
	err := l.write(ctx, l.tileKey(t.Tile), t.Data, blob.WriterOptions{IfNotExist: true, CacheControl: keepForever})
	if contended(err) {
		return nil // readers compare it with the tree
	}
	return err
}

// Since yields the records that were added at a time or later, in their order, as far as
// this process knows the log; it asks the bucket for more as Signed does.
func (l *Ledger) Since(ctx context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error {
	if err := l.since(ctx, since, yield); err != nil {
		return l.fault(ctx, "read", err)
	}
	return nil
}

func (l *Ledger) since(ctx context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error {
	if _, err := l.Signed(ctx); err != nil {
		return err
	}
	size := l.head.Load().tree.N
	// The bundle before the first that begins later is where to start.
	var failed error
	from := sort.Search(int(size), func(id int) bool {
		start, err := l.index.bundleOf(int64(id))
		if err != nil {
			failed = err
		}
		return !time.Unix(0, start.time).Before(since)
	})
	if failed != nil {
		return failed
	}
	first := int64(0)
	if from > 0 {
		start, err := l.index.bundleOf(int64(from) - 1)
		if err != nil {
			return err
		}
		first = start.id
	}
	var bad error
	err := l.scan(ctx, first, size-first, func(id int64, r ledgerRecord) bool {
		m, _, _, err := sumlog.ParseText(r.text)
		if err != nil {
			bad = fmt.Errorf("record %d: %w", id, err)
			return false
		}
		at := time.Unix(0, r.time).UTC()
		return at.Before(since) || yield(m, at)
	})
	if err == nil {
		err = bad
	}
	return err
}
