package sumcheck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/flight"
)

// A claim is a statement about a tree that is proved. Zero parts claim nothing.
type claim struct {
	tree   tlog.Tree
	older  tlog.Tree // has grown into tree
	record *Record   // is in it
	tile   tlog.Tile // is one of its full tiles
}

// unproven says that a claim could be neither proved nor refuted, because a tile is missing.
type unproven struct{ err error }

func (e *unproven) Error() string { return "not proved: " + e.err.Error() }
func (e *unproven) Unwrap() error { return e.err }

// prove checks a claim with tiles from the store, otherwise from the database. A stored tile may
// be damaged: if the claim is wrong with one, prove tries again without the store.
func (d *Database) prove(ctx context.Context, c claim, head *Head, ask Ask) (*proof, error) {
	p := &proof{ctx: ctx, db: d, head: head, ask: ask, tiles: make(map[tlog.Tile]*tile)}
	err := p.check(c)
	if _, wrong := errors.AsType[*Error](err); wrong && p.usedStore.Load() {
		p = &proof{ctx: ctx, db: d, head: head, ask: ask, noStore: true, tiles: make(map[tlog.Tile]*tile)}
		err = p.check(c)
	}
	return p, err
}

// A proof reads the tiles for a claim. When check has returned nil, all tiles that it has read
// are proved.
type proof struct {
	ctx     context.Context
	db      *Database
	head    *Head // the kept one; may be nil
	ask     Ask
	noStore bool // tiles in the store don't count

	usedStore atomic.Bool
	asked     atomic.Bool
	mu        sync.Mutex
	failed    error // why a tile could not be had
	tiles     map[tlog.Tile]*tile
}

// tile is one that a proof has read.
type tile struct {
	data []byte
	kept bool // it need not be kept again
}

var _ tlog.TileReader = (*proof)(nil)

// check checks the claim. The error is an [*Error] if it is wrong, or an
// *unproven.
func (p *proof) check(c claim) error {
	hashes := tlog.TileHashReader(c.tree, p)
	if c.older.N > 0 {
		got, err := tlog.TreeHash(c.older.N, hashes)
		if err != nil {
			return p.fault(err)
		}
		if got != c.older.Hash {
			return &Error{Err: fmt.Errorf("two signed trees contradict each other: the first %d records of the one of %d have the hash %v, not %v", c.older.N, c.tree.N, got, c.older.Hash), Alarm: true}
		}
	}
	var want []int64
	switch {
	case c.record != nil:
		want = append(want, tlog.StoredHashIndex(0, c.record.ID))
	case c.tile.W > 0:
		want = append(want, tlog.StoredHashIndex(c.tile.L*Height, c.tile.N<<Height))
	}
	got, err := hashes.ReadHashes(want)
	if err != nil {
		return p.fault(err)
	}
	if c.record != nil && got[0] != tlog.RecordHash(c.record.Text) {
		return &Error{Err: fmt.Errorf("record %d of the signed tree of %d is another one", c.record.ID, c.tree.N), Alarm: true}
	}
	return nil
}

// fault tells a tile that could not be had from one that is wrong.
func (p *proof) fault(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return &unproven{p.failed}
	}
	return &Error{Err: fmt.Errorf("the tiles do not lead to the signed tree: %w", err), Alarm: true}
}

// Height is that of the tiles that prove.
func (p *proof) Height() int { return Height }

// ReadTiles reads tiles side by side.
func (p *proof) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	reads := make([]*flight.Future[*tile], len(tiles))
	for i, t := range tiles {
		p.mu.Lock()
		known := p.tiles[t]
		p.mu.Unlock()
		if known != nil {
			reads[i] = flight.NewFuture[*tile]()
			reads[i].Set(known, nil)
			continue
		}
		reads[i] = flight.Start(func() (*tile, error) { return p.read(t) })
	}
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		// Not p.ctx: read ends with it, and nothing is to go on behind.
		read, err := reads[i].Wait(context.Background())
		p.mu.Lock()
		if err == nil {
			p.tiles[t], data[i] = read, read.data
		} else if p.failed == nil {
			p.failed = err
		}
		p.mu.Unlock()
	}
	return data, p.failed
}

// read reads one tile.
func (p *proof) read(t tlog.Tile) (*tile, error) {
	if data := p.keptTile(t); data != nil {
		return &tile{data: data, kept: true}, nil
	}
	p.asked.Store(true)
	data, err := p.ask(p.ctx, t.Path())
	if err == nil || t.W == full || !errors.Is(err, fs.ErrNotExist) {
		return &tile{data: data}, err
	}
	// It may have become full since, and then be there as such only.
	if wider, werr := p.ask(p.ctx, whole(t).Path()); werr == nil {
		return &tile{data: prefix(wider, t)}, nil
	}
	return nil, err
}

// whole returns the full tile at t's place.
func whole(t tlog.Tile) tlog.Tile {
	t.W = full
	return t
}

// keptTile returns a tile that is kept, or the beginning of a wider one. What is
// in memory was proved.
func (p *proof) keptTile(t tlog.Tile) []byte {
	if data := p.head.onEdge(t); data != nil {
		return data
	}
	if data := p.db.memory.Get(whole(t).Path()); data != nil {
		return prefix(data, t)
	}
	if p.noStore {
		return nil
	}
	data := prefix(p.stored(whole(t)), t)
	if data == nil && t.W < full && p.head == nil { // of an adopted module cache
		data = p.stored(t)
	}
	if data != nil {
		p.usedStore.Store(true)
	}
	return data
}

// stored returns the very tile from the store, nil if it is not there.
func (p *proof) stored(t tlog.Tile) []byte {
	data, err := p.db.store.GetSumDB(p.ctx, p.db.name+"/"+t.Path())
	if err != nil || len(data) != t.W*tlog.HashSize {
		return nil
	}
	return data
}

// SaveTiles does nothing: keep does, once all is proved.
func (*proof) SaveTiles([]tlog.Tile, [][]byte) {}

// keep keeps the full tiles of a proof that has succeeded.
func (p *proof) keep() error {
	for t, tile := range p.tiles {
		if t.W != full {
			continue
		}
		if !tile.kept {
			if err := p.db.store.PutSumDB(p.ctx, p.db.name+"/"+t.Path(), tile.data); err != nil {
				return err
			}
		}
		p.db.memory.Put(t.Path(), tile.data)
	}
	return nil
}

// newHead makes a Head of the tree that was proved.
func (p *proof) newHead(tree tlog.Tree, signed []byte) *Head {
	h := &Head{Tree: tree, Note: signed, edge: make(map[int][]byte)}
	for _, t := range edgeTiles(tree.N) {
		h.edge[t.L] = p.tiles[t].data
	}
	return h
}
