package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// VerifierKey returns the ledger's public key, NAME+HASH+KEY.
func (l *Ledger) VerifierKey() string { return l.keys.Public }

// Signed returns the newest signed tree.
func (l *Ledger) Signed(ctx context.Context) ([]byte, error) {
	if err := l.usable(ctx); err != nil {
		return nil, err
	}
	signed := l.head.Load().note
	if signed == nil {
		return nil, errUnsigned
	}
	return slices.Clone(signed), nil
}

// usable returns why there is no answer.
func (l *Ledger) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.ctx.Err() != nil {
		return errClosed
	}
	return l.whole()
}

var errClosed = errors.New("ledger: closed")

// Lookup returns the number of the record of m. One that is not recorded is
// [fs.ErrNotExist].
func (l *Ledger) Lookup(ctx context.Context, m module.Version) (int64, error) {
	if err := l.usable(ctx); err != nil {
		return 0, err
	}
	p, ok, err := l.index.find(sumlog.KeyOf(m))
	if err != nil {
		return 0, fmt.Errorf("ledger: %w", err)
	}
	if !ok || p.id >= l.head.Load().tree.N {
		return 0, fmt.Errorf("ledger: %s is not recorded: %w", m, fs.ErrNotExist)
	}
	l.found[p.id%int64(len(l.found))].Store(&p)
	return p.id, nil
}

// ReadRecords returns the text of n records from number id on. If there are not that
// many, the error is [fs.ErrNotExist].
func (l *Ledger) ReadRecords(ctx context.Context, id, n int64) ([][]byte, error) {
	if err := l.usable(ctx); err != nil {
		return nil, err
	}
	if n == 1 && id >= 0 {
		if p := l.found[id%int64(len(l.found))].Load(); p != nil && p.id == id {
			r, _, err := l.records.at(p.off)
			if err != nil {
				return nil, l.unreadable(id, err)
			}
			return [][]byte{r.text}, nil
		}
	}
	var texts [][]byte
	err := l.read(ctx, id, n, func(_ int64, r record) bool {
		texts = append(texts, append([]byte(nil), r.text...))
		return true
	})
	return texts, err
}

// errStop ends a scan early.
var errStop = errors.New("enough")

// read calls each for n records from number id on, until that returns false.
func (l *Ledger) read(ctx context.Context, id, n int64, each func(id int64, r record) bool) error {
	if size := l.head.Load().tree.N; id < 0 || n < 0 || id > size || n > size-id {
		return fmt.Errorf("ledger: there is no record %d yet: %w", max(id, size), fs.ErrNotExist)
	}
	if n == 0 {
		return nil
	}
	off, err := l.index.bundle(id >> height)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	at, stopped := id&^(full-1), false
	_, err = l.records.scan(off, id-at+n, func(_ int64, r record) error {
		if at >= id && !each(at, r) {
			stopped = true
			return errStop
		}
		at++
		if at%full == 0 {
			return ctx.Err()
		}
		return nil
	})
	switch {
	case stopped:
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return l.unreadable(at, err)
	}
	return nil
}

// ReadTileData returns the hashes of a tile. One that is not of height 8, or that the
// published tree does not have yet, is [fs.ErrNotExist].
func (l *Ledger) ReadTileData(ctx context.Context, t tlog.Tile) ([]byte, error) {
	if err := l.usable(ctx); err != nil {
		return nil, err
	}
	h := l.head.Load()
	data, err := h.tree.Tile(t, l.readTile)
	if err != nil {
		return nil, fmt.Errorf("ledger: tile %s: %w", t.Path(), err)
	}
	return data, nil
}

// Since yields the records that were added at a time or later, in their order.
func (l *Ledger) Since(ctx context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error {
	if err := l.usable(ctx); err != nil {
		return err
	}
	size, from := l.head.Load().tree.N, int64(0)
	var failed error
	if !since.IsZero() {
		// The last bundle that begins before that time is where to start.
		bundles := int((size + full - 1) >> height)
		from = int64(max(0, sort.Search(bundles, func(i int) bool {
			off, err := l.index.bundle(int64(i))
			var r record
			if err == nil {
				r, _, err = l.records.at(off)
			}
			if err != nil && failed == nil {
				failed = l.unreadable(int64(i)<<height, err)
			}
			return !time.Unix(0, r.time).Before(since)
		})-1)) << height
	}
	if failed != nil {
		return failed
	}
	var bad error
	err := l.read(ctx, from, size-from, func(id int64, r record) bool {
		m, _, _, err := sumlog.ParseText(r.text)
		if err != nil {
			bad = fmt.Errorf("ledger: record %d: %w", id, err)
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
