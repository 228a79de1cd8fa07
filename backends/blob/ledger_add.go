package blob

import (
	"context"
	"fmt"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/sumlog"
)

// addition is a version that waits to be recorded.
type addition struct {
	text []byte
	key  sumlog.IndexKey
	also []*addition // the same, from other callers
	id   int64
	done chan error // has one element
}

// answer ends the addition, and those that are the same.
func (a *addition) answer(id int64, err error) {
	for _, same := range a.also {
		same.answer(id, err)
	}
	a.id = id
	a.done <- err
}

// Add records a version's hashes, if they are not, and returns the record's number once a
// head that covers it is in the bucket. Another hash for a recorded version is an
// [*athens.ConflictError], also if another process records it at the same time: the
// record that comes first in the log counts. After any other error the version may be
// recorded all the same; adding it again says so.
func (l *Ledger) Add(ctx context.Context, m module.Version, zipHash, modHash string) (int64, error) {
	text, err := sumlog.RecordText(m, zipHash, modHash)
	if err != nil {
		return 0, fmt.Errorf("blob: ledger: %w", err)
	}
	if err := l.usable(ctx); err != nil {
		return 0, err
	}
	a := &addition{text: text, key: sumlog.KeyOf(m), done: make(chan error, 1)}
	if id, known, err := l.recorded(ctx, a); known || err != nil {
		return id, l.fault(ctx, "add", err)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, errLedgerClosed
	}
	l.queue = append(l.queue, a)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-a.done:
		return a.id, l.fault(ctx, "add", err)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// recorded returns the number of the record that an addition has already. What is there
// with another hash is a conflict.
func (l *Ledger) recorded(ctx context.Context, a *addition) (id int64, known bool, err error) {
	id, ok, err := l.find(a.key)
	if err != nil || !ok {
		return 0, false, err
	}
	held, err := l.record(ctx, id)
	if err != nil {
		return 0, false, err
	}
	if string(held.text) != string(a.text) {
		return 0, false, sumlog.Conflict(held.text, a.text)
	}
	return id, true, nil
}

// sequence records what waits, until the ledger closes.
func (l *Ledger) sequence() {
	defer close(l.ended)
	for {
		l.mu.Lock()
		batch := l.queue
		l.queue = nil
		l.mu.Unlock()
		for len(batch) > 0 {
			again, err := l.round(batch)
			if err != nil {
				for _, a := range again {
					a.answer(0, err)
				}
				break
			}
			batch = again
		}
		select {
		case <-l.wake:
			continue
		default:
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			l.mu.Lock() // closed is set, so nothing comes any more
			for _, a := range l.queue {
				a.answer(0, errLedgerClosed)
			}
			l.queue = nil
			l.mu.Unlock()
			return
		}
	}
}

// round records what fits into a bundle, and returns what it did not answer: what
// does not fit, or all if another process was faster.
func (l *Ledger) round(batch []*addition) (again []*addition, err error) {
	ctx := context.WithoutCancel(l.ctx) // each request is bounded, and Close waits
	if err := l.usable(ctx); err != nil {
		return batch, err
	}
	if err := l.take(ctx); err != nil {
		return batch, err
	}
	defer l.release()
	if err := l.catchUp(ctx); err != nil {
		return batch, err
	}
	fresh, again := l.sort(ctx, batch)
	if len(fresh) == 0 {
		return again, nil
	}
	b := &bundle{seq: l.state.seq, first: l.state.tree.N, before: l.state.hash, signed: true}
	last := l.state.last
	for _, a := range fresh {
		last = sumlog.Stamp(last)
		b.records = append(b.records, ledgerRecord{last, a.text})
	}
	data, err := b.encode(l.keys.Signers)
	if err != nil {
		return append(again, fresh...), err
	}
	mine, err := l.createBundle(ctx, b.seq, data)
	if err != nil || !mine {
		return append(again, fresh...), err
	}
	next := &ahead{logState: l.state.copied()}
	if err := l.extend(next, b, data); err != nil {
		return append(again, fresh...), err
	}
	if err := l.publish(ctx, next, true); err != nil {
		return append(again, fresh...), err
	}
	for i, a := range fresh {
		a.answer(b.first+int64(i), nil)
	}
	return again, nil
}

// sort answers the additions that the log has, and returns those for the next bundle, and
// those that have to wait for it.
func (l *Ledger) sort(ctx context.Context, batch []*addition) (fresh, later []*addition) {
	seen := make(map[sumlog.IndexKey]*addition)
	size := 200
	for _, a := range batch {
		if id, known, err := l.recorded(ctx, a); known || err != nil {
			a.answer(id, err)
			continue
		}
		twin := seen[a.key]
		switch {
		case twin != nil && string(twin.text) == string(a.text):
			twin.also = append(twin.also, a)
		case twin != nil || len(fresh) == maxBundleRecords || size+len(a.text)+20 > maxBundleBytes:
			later = append(later, a)
		default:
			seen[a.key], size = a, size+len(a.text)+20
			fresh = append(fresh, a)
		}
	}
	return fresh, later
}
