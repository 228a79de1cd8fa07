package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/sumlog"
	"github.com/athens-go/athens/ledger"
)

// ForkError says that the primary has signed a head whose log does not continue the one
// that was verified. The two heads prove it: one key has signed both.
type ForkError struct {
	Held    []byte // the signed head that was verified, and is still served
	Offered []byte // the one that was refused
	Err     error  // how it was noticed
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("the primary's log does not continue the one that was verified (%v): two servers sign with this key, or records were lost; stop one of them", e.Err)
}

// Unwrap returns Err.
func (e *ForkError) Unwrap() error { return e.Err }

// BehindError says that the primary offers fewer records than were verified, all of which
// are the same: it is a replica that is behind, or its log was rolled back.
type BehindError struct {
	Held, Offered int64 // records
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("the primary offers %d records, and %d were verified: it is behind, or its log was rolled back", e.Offered, e.Held)
}

// advance takes over a signed head, with its records. It was asked for when so many were
// verified.
func (f *Follower) advance(ctx context.Context, signed []byte, asked int64) error {
	if err := f.turn.Acquire(ctx); err != nil {
		return err
	}
	defer f.turn.Release()
	next, err := sumlog.ParseHead(signed, f.known)
	if err != nil {
		return f.wrong("its head can't be used: %w", err)
	}
	f.offered.Store(max(next.N, f.offered.Load()))
	size := f.mirror.Size()
	own, err := f.mirror.Tree(min(size, next.N))
	if err != nil {
		return err
	}
	if next.N <= size {
		return f.compare(ctx, signed, next, own, asked)
	}
	hashes := &treeHashes{f: f, ctx: ctx, tree: next}
	then, err := hashes.root(own.N)
	if err != nil {
		return err
	}
	if then != own.Hash {
		return f.forked(ctx, signed, fmt.Errorf("the first %d records have the hash %s here and %s there", own.N, own.Hash, then))
	}
	err = f.mirror.Extend(ctx, signed, func(id int64) iter.Seq2[ledger.Record, error] {
		return f.records(ctx, hashes, id)
	})
	if errors.Is(err, ledger.ErrForked) {
		return f.forked(ctx, signed, err)
	}
	if err == nil {
		f.poke()
	}
	return err
}

// compare checks a head of no more records than were verified.
func (f *Follower) compare(ctx context.Context, signed []byte, next, own tlog.Tree, asked int64) error {
	if next.Hash != own.Hash {
		return f.forked(ctx, signed, fmt.Errorf("the first %d records have the hash %s here and %s there", own.N, own.Hash, next.Hash))
	}
	if next.N < asked {
		return &BehindError{Held: asked, Offered: next.N}
	}
	if own.N > 0 {
		return nil
	}
	return f.mirror.Extend(ctx, signed, func(int64) iter.Seq2[ledger.Record, error] {
		return func(func(ledger.Record, error) bool) {} // the empty log has a head, too
	})
}

// forked makes the error of a head that contradicts the verified one.
func (f *Follower) forked(ctx context.Context, signed []byte, why error) error {
	held, err := f.mirror.Signed(ctx)
	if err != nil {
		return err
	}
	return &ForkError{Held: held, Offered: signed, Err: why}
}

// wrong is the error of an answer that can't be right.
func (f *Follower) wrong(format string, args ...any) error {
	return &athens.InvalidError{Err: fmt.Errorf("the primary's ledger %s: "+format, append([]any{f.name}, args...)...)}
}

// readAhead is how many bundles of 256 records are requested at once.
const readAhead = 8

// records yields the records of the tree from number id on, each compared with the hash
// that the tree has for it.
func (f *Follower) records(ctx context.Context, hashes *treeHashes, id int64) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		first, last := id>>sumlog.Height, (hashes.tree.N-1)>>sumlog.Height
		coming := make(chan *bundle, readAhead)
		go func() {
			defer close(coming)
			for n := first; n <= last; n++ {
				b := f.readBundle(ctx, n, min(sumlog.Full, hashes.tree.N-n<<sumlog.Height))
				select {
				case coming <- b:
				case <-ctx.Done():
					return
				}
			}
		}()
		for b := range coming {
			texts, err := b.wait(ctx)
			if err == nil {
				err = hashes.check(b.n, texts)
			}
			if err != nil {
				yield(ledger.Record{}, err)
				return
			}
			for i, text := range texts {
				if b.n<<sumlog.Height+int64(i) >= id && !yield(ledger.Record{Text: text, Time: time.Now()}, nil) {
					return
				}
			}
		}
		if err := ctx.Err(); err != nil {
			yield(ledger.Record{}, err)
		}
	}
}

// treeHashes reads hashes of a signed tree from the primary's tiles, and checks them
// against it.
type treeHashes struct {
	f      *Follower
	ctx    context.Context
	tree   tlog.Tree
	failed error // why a tile could not be read
}

// root returns the hash of the tree of the first n records.
func (h *treeHashes) root(n int64) (tlog.Hash, error) {
	hash, err := tlog.TreeHash(n, tlog.TileHashReader(h.tree, h))
	return hash, h.verdict(err)
}

// check compares the records of a bundle with the tree.
func (h *treeHashes) check(bundle int64, texts [][]byte) error {
	leaves := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		leaves[i] = tlog.RecordHash(text)
	}
	reader := tlog.TileHashReader(h.tree, h)
	first := bundle << sumlog.Height
	if len(texts) == sumlog.Full {
		want, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(sumlog.Height, bundle)})
		if err == nil && want[0] != sumlog.RootOf(leaves) {
			return h.f.wrong("records %d to %d are not those of the signed tree", first, first+sumlog.Full-1)
		}
		return h.verdict(err)
	}
	indexes := make([]int64, len(texts))
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	want, err := reader.ReadHashes(indexes)
	if err != nil {
		return h.verdict(err)
	}
	for i := range want {
		if want[i] != leaves[i] {
			return h.f.wrong("record %d is not that of the signed tree", first+int64(i))
		}
	}
	return nil
}

// verdict tells a tile that could not be read from one that is wrong.
func (h *treeHashes) verdict(err error) error {
	if err == nil || h.failed != nil {
		return h.failed
	}
	return h.f.wrong("its tiles are not those of the signed tree: %w", err)
}

// Height is for tlog.
func (h *treeHashes) Height() int { return sumlog.Height }

// ReadTiles is for tlog.
func (h *treeHashes) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	all, err := h.f.readTiles(h.ctx, list)
	if err != nil {
		h.failed = err
	}
	return all, err
}

// SaveTiles is for tlog: these were checked.
func (h *treeHashes) SaveTiles(list []tlog.Tile, data [][]byte) {
	for i, t := range list {
		if t.W == sumlog.Full {
			h.f.tiles.Put(t, data[i])
		}
	}
}
