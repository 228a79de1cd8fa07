package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// logState is the log up to some bundle.
type logState struct {
	seq  int64 // number of the next bundle
	tree sumlog.Tree
	hash tlog.Hash
	last int64 // time of the last record
}

// copied returns the state as it is now, whatever is added later.
func (s *logState) copied() *logState {
	c := *s
	c.tree = s.tree.Copied()
	return &c
}

// ahead is what was read of the log and is not published yet.
type ahead struct {
	*logState
	entries []indexEntry
	starts  []bundleStart
	newest  *bundle
	data    []byte            // the object of newest
	tiles   []sumlog.FullTile // that newest completes
}

// extend puts a bundle at the end.
func (l *Ledger) extend(a *ahead, b *bundle, data []byte) error {
	if b.seq != a.seq || b.first != a.tree.N || b.before != a.hash {
		return l.damaged("the bundle %s continues %d records with the hash %s, and there are %d before it with the hash %s: a record was changed, or the bucket has parts of two logs; restore the bucket from a copy",
			l.bundleKey(a.seq), b.first, b.before, a.tree.N, a.hash)
	}
	a.starts = append(a.starts, bundleStart{b.first, b.seq, b.records[0].time})
	a.tiles = nil
	for _, r := range b.records {
		if r.time <= a.last || a.tree.N+1 >= sumlog.MaxRecords {
			return l.damaged("record %d is not later than the one before; restore the bucket from a copy", a.tree.N)
		}
		m, _, _, err := sumlog.ParseText(r.text)
		if err != nil {
			return err
		}
		a.entries = append(a.entries, indexEntry{sumlog.KeyOf(m), a.tree.N})
		a.last = r.time
		a.tiles = append(a.tiles, a.tree.Add(tlog.RecordHash(r.text))...)
	}
	var err error
	if a.hash, err = tlog.TreeHash(a.tree.N, a.tree.Hashes(noTile)); err != nil {
		return err
	}
	a.seq, a.newest, a.data = a.seq+1, b, data
	return nil
}

// noTile reads no tile: the hash of a tree is that of its right edge.
func noTile(level int, n int64) ([]byte, error) {
	return nil, fmt.Errorf("%s is not at the edge", sumlog.TileAt(level, n).Path())
}

const (
	// publishedAtOnce is how many records are read before they are published, about.
	publishedAtOnce = 1 << 15
	// readAhead is how many bundles are requested at once where there are many.
	readAhead = 32
)

// follow makes sure that what the bucket had when it was called is published here. Calls
// share the requests.
func (l *Ledger) follow(ctx context.Context) error {
	return l.follows.after(ctx, func() error {
		if err := l.take(ctx); err != nil {
			return err
		}
		defer l.release()
		if err := l.usable(ctx); err != nil {
			return err
		}
		return l.catchUp(ctx)
	})
}

// catchUp publishes what the bucket has and this process has not. The caller has the turn.
func (l *Ledger) catchUp(ctx context.Context) error {
	began := time.Now()
	a := &ahead{logState: l.state.copied()}
	for width := 1; ; width = min(2*width, readAhead) {
		objects, err := l.readBundles(ctx, a.seq, width)
		if err != nil {
			return err
		}
		for _, data := range objects {
			b, err := parseBundle(data, l.keys.Known)
			if err != nil {
				return fmt.Errorf("%s is malformed: %w", l.bundleKey(a.seq), err)
			}
			if err := l.extend(a, b, data); err != nil {
				return err
			}
		}
		end := len(objects) < width
		if len(a.starts) > 0 && (end || len(a.entries) >= publishedAtOnce) {
			if err := l.publish(ctx, a, false); err != nil {
				return err
			}
			a = &ahead{logState: l.state.copied()}
		}
		if end {
			l.checked.Store(began.UnixNano())
			return nil
		}
	}
}

// readBundles returns the bundles that are there of n from number seq on, up to the first
// that is not.
func (l *Ledger) readBundles(ctx context.Context, seq int64, n int) ([][]byte, error) {
	objects, errs := make([][]byte, n), make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { objects[i], errs[i] = l.read(ctx, l.bundleKey(seq+int64(i)), maxBundleObject) })
	}
	group.Wait()
	for i := range n {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if objects[i] == nil {
			return objects[:i], nil
		}
	}
	return objects, nil
}

// publish makes the last bundle of a count, if it does not, and shows what was read. own
// says that the bundle was written just now, so that it has no head yet.
func (l *Ledger) publish(ctx context.Context, a *ahead, own bool) error {
	signed, err := l.keys.Sign(a.tree.N, a.hash)
	if err != nil {
		return err
	}
	var held []byte
	if !own {
		if held, err = l.sameHead(ctx, a.logState); err != nil {
			return err
		}
	}
	if held == nil {
		if err := l.confirm(ctx, a, signed); err != nil {
			return err
		}
	}
	if err := l.index.put(a.entries, a.starts, l.keys.Name(), a.logState); err != nil {
		return fmt.Errorf("the index: %w", err)
	}
	l.state = *a.copied()
	l.head.Store(&signedHead{a.tree.Copied(), signed})
	l.bundles.Put(a.newest.seq, a.newest)
	return nil
}

// confirm makes a bundle count that has no head: the service refuses to replace it, it is
// still there, and what it completes is written before the head.
func (l *Ledger) confirm(ctx context.Context, a *ahead, signed []byte) error {
	if !a.newest.signed {
		return fmt.Errorf("the bundle %s is not signed by the ledger's key: it was written by another program, or by a process with another key; remove it, or start with the key that has signed it as the old key", l.bundleKey(a.seq-1))
	}
	if err := l.refuseBundle(ctx, a.seq-1, a.data); err != nil {
		return err
	}
	there, err := l.read(ctx, l.bundleKey(a.seq-1), maxBundleObject)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, a.data) { // written while the service honored no condition
		return fmt.Errorf("%s was replaced: %w", l.bundleKey(a.seq-1), errUnconditional)
	}
	for _, t := range a.tiles {
		if err := l.createTile(ctx, t); err != nil {
			return fmt.Errorf("write a tile: %w", err)
		}
	}
	if err := l.createHead(ctx, a.logState, signed); err != nil {
		return fmt.Errorf("write the head: %w", err)
	}
	return nil
}

// resume checks that what the index remembers is in the bucket.
func (l *Ledger) resume(ctx context.Context) error {
	hash, err := tlog.TreeHash(l.state.tree.N, l.state.tree.Hashes(noTile))
	if err != nil || hash != l.state.hash {
		return errors.Join(fmt.Errorf("the index of %d records contradicts itself; remove index.db to have it rebuilt", l.state.tree.N), err)
	}
	signed, err := l.keys.Sign(l.state.tree.N, l.state.hash)
	if err != nil {
		return err
	}
	if l.state.seq > 0 {
		held, err := l.sameHead(ctx, &l.state)
		if err != nil {
			return err
		}
		if held == nil {
			return l.damaged("the bucket was rolled back, or is another one: %d records were signed, says index.db, and there is no %s; restore the bucket from a copy that has them", l.state.tree.N, l.headKey(l.state.seq-1))
		}
	}
	l.head.Store(&signedHead{l.state.tree.Copied(), signed})
	return nil
}

// compareNewest checks that no head in the bucket is of more than was read, and signs the
// newest with the ledger's key if that has not.
func (l *Ledger) compareNewest(ctx context.Context) error {
	newest, err := l.newestHead(ctx)
	if err != nil {
		return err
	}
	if newest >= l.state.seq { // perhaps written meanwhile
		if err := l.catchUp(ctx); err != nil {
			return err
		}
	}
	if newest >= l.state.seq {
		return l.damaged("the head %s was signed, and the bundle %s is missing; restore it from a copy of the bucket", l.headKey(newest), l.bundleKey(l.state.seq))
	}
	if l.state.seq == 0 {
		return nil
	}
	_, held, err := l.readHead(ctx, l.state.seq-1)
	if err != nil || held == nil {
		return err
	}
	return l.renew(ctx, held)
}
