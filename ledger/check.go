package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// Check reads the whole log and returns the first thing that contradicts the signed
// head: a record, a tile, or what the index says. It takes about a second for each
// 500,000 records.
func (l *Ledger) Check(ctx context.Context) error {
	if err := l.usable(ctx); err != nil {
		return err
	}
	return l.verify(ctx, l.head.Load(), nil)
}

// checkBehind checks a large ledger while it is used.
func (l *Ledger) checkBehind() {
	h := l.head.Load()
	if h.tree.N <= l.checked {
		return // New has
	}
	var wrong []sumlog.FullTile
	begun := time.Now()
	err := l.verify(l.ctx, h, &wrong)
	if l.ctx.Err() != nil {
		return
	}
	if damage, ok := errors.AsType[*DamagedError](err); ok {
		l.fail(damage)
		return
	}
	if err != nil {
		l.log.Error("ledger: could not be checked", "dir", l.dir, "error", err)
		return
	}
	for _, t := range wrong { // the records are right, so these were not
		l.log.Warn("ledger: rebuilt a tile", "dir", l.dir, "tile", t.Tile.Path())
		if err := l.writeTile(t); err != nil {
			l.log.Error("ledger: could not write a tile", "dir", l.dir, "error", err)
		}
	}
	l.log.Info("ledger: checked", "dir", l.dir, "records", h.tree.N, "seconds", int(time.Since(begun).Seconds()))
}

// maxWrong bounds how many tiles are made again in one check.
const maxWrong = 1 << 12

// verify compares the records with the tree h, the tiles and the index. Tiles that
// are wrong although the records are right are collected in wrong, unless that is
// nil: then they are an error.
func (l *Ledger) verify(ctx context.Context, h *head, wrong *[]sumlog.FullTile) error {
	var t sumlog.Tree
	var first error // about a tile: what it means, the tree tells in the end
	last, id := int64(0), int64(0)
	_, err := l.records.scan(0, h.tree.N, func(off int64, r record) error {
		if err := l.checkPlace(id, off, last, r); err != nil {
			return err
		}
		id, last = id+1, r.time
		for _, made := range t.Add(tlog.RecordHash(r.text)) {
			same, err := l.sameTile(made)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			first = cmp.Or(first, error(fmt.Errorf("tile %s does not match its records", made.Tile.Path())))
			if wrong != nil && len(*wrong) < maxWrong {
				*wrong = append(*wrong, made)
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, errTorn) {
		return l.damaged("record %d of %d is missing or was changed; restore the folder from a copy that has it", id, h.tree.N)
	}
	if err != nil {
		return err
	}
	hash, err := tlog.TreeHash(t.N, t.Hashes(l.readTile))
	if err != nil {
		return err
	}
	if hash != h.hash {
		if first == nil {
			first = errors.New("one of the last records was changed")
		}
		return l.damaged("its %d records are not those that were signed (%w); restore the folder from a copy", h.tree.N, first)
	}
	if wrong == nil && first != nil {
		return l.damaged("%w; it is made again at the next start", first)
	}
	return nil
}

// checkPlace checks one record, and its place in the index.
func (l *Ledger) checkPlace(id, off, last int64, r record) error {
	m, _, _, err := sumlog.ParseText(r.text)
	if err != nil {
		return l.damaged("record %d: %w", id, err)
	}
	if r.time <= last {
		return l.damaged("record %d is not later than the one before; restore the folder from a copy", id)
	}
	p, ok, err := l.index.find(sumlog.KeyOf(m))
	if err != nil {
		return err
	}
	if !ok || p != (place{id, off}) {
		return l.damaged("the index does not find record %d, of %s, where it is; remove index.db to have it rebuilt", id, m)
	}
	return nil
}

// sameTile reports whether the file of a tile is there and right.
func (l *Ledger) sameTile(t sumlog.FullTile) (bool, error) {
	data, err := os.ReadFile(l.path(t.Tile.Path()))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return bytes.Equal(data, t.Data), err
}

// indexedAtOnce is how many entries remake sorts in memory at once.
const indexedAtOnce = 1 << 20

// remake makes tiles and the index from the records alone, if these are the ones that
// h has signed.
func (l *Ledger) remake(h *head, n int64) error {
	l.tree, l.last = sumlog.Tree{}, 0
	var wrong []sumlog.FullTile
	rewrite := func() error {
		for _, t := range wrong {
			if err := l.writeTile(t); err != nil {
				return err
			}
		}
		wrong = nil
		return nil
	}
	id := int64(0)
	end, err := l.records.scan(0, n, func(_ int64, r record) error {
		if _, _, _, err := sumlog.ParseText(r.text); err != nil {
			return l.damaged("record %d: %w", id, err)
		}
		id, l.last = id+1, r.time
		for _, made := range l.tree.Add(tlog.RecordHash(r.text)) {
			same, err := l.sameTile(made)
			if err != nil {
				return err
			}
			if !same {
				wrong = append(wrong, made)
			}
		}
		if len(wrong) >= maxWrong {
			return rewrite()
		}
		return nil
	})
	if errors.Is(err, errTorn) {
		return l.damaged("record %d of %d is missing or was changed; restore the folder from a copy that has it", id, n)
	}
	if err != nil {
		return err
	}
	hash, err := tlog.TreeHash(n, l.tree.Hashes(l.readTile))
	if err != nil {
		return err
	}
	if hash != h.hash {
		return l.damaged("its %d records are not those that were signed; restore the folder from a copy", n)
	}
	if err := rewrite(); err != nil {
		return err
	}
	l.end, h.tree, h.end = end, l.tree.Copied(), end
	return l.remakeIndex(checkpoint{n, end, hash})
}

// remakeIndex fills an empty index: in rounds, each with a part of the keys, so that
// pages are written once and memory is bounded.
func (l *Ledger) remakeIndex(c checkpoint) error {
	rounds := c.n/indexedAtOnce + 1
	for round := range rounds {
		var part []keyed
		id := int64(0)
		_, err := l.records.scan(0, c.n, func(off int64, r record) error {
			k := keyed{textKey(r.text), place{id, off}}
			if id++; int64(k.key[0])*rounds>>8 == round {
				part = append(part, k)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := l.twice(part); err != nil {
			return err
		}
		for chunk := range slices.Chunk(part, 1<<15) {
			if err := l.index.put(chunk, nil); err != nil {
				return err
			}
		}
	}
	if err := l.index.put(nil, &c); err != nil {
		return err
	}
	l.index.saved = c.n
	return nil
}

// twice refuses entries of which two have one key, and sorts them by it.
func (l *Ledger) twice(part []keyed) error {
	slices.SortFunc(part, func(a, b keyed) int { return bytes.Compare(a.key[:], b.key[:]) })
	for i := 1; i < len(part); i++ {
		if part[i].key == part[i-1].key {
			return l.damaged("records %d and %d are of one version; restore the folder from a copy", part[i-1].id, part[i].id)
		}
	}
	return nil
}
