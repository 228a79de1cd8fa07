package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/sumlog"
)

// maxBatch is how many additions share one round of writing.
const maxBatch = 4096

// addition is a version that waits to be recorded.
type addition struct {
	module module.Version
	text   []byte
	key    sumlog.IndexKey
	id     int64
	done   chan error // has one element
}

// Add records a version's hashes, if they are not, and returns the record's number
// once a signed head that covers it is durable. Another hash for a recorded version is
// an [*athens.ConflictError]. After any other error the version may be recorded all
// the same; adding it again says so.
func (l *Ledger) Add(ctx context.Context, m module.Version, zipHash, modHash string) (int64, error) {
	text, err := sumlog.RecordText(m, zipHash, modHash)
	if err != nil {
		return 0, fmt.Errorf("ledger: %w", err)
	}
	if err := l.usable(ctx); err != nil {
		return 0, err
	}
	a := &addition{module: m, text: text, key: sumlog.KeyOf(m), done: make(chan error, 1)}
	known, err := l.recorded(a)
	if err != nil || known && a.id < l.head.Load().tree.N {
		return a.id, err
	}
	if l.mirrors() {
		return 0, fmt.Errorf("ledger: %s is not recorded, and another server records here: %w", m, fs.ErrNotExist)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, errClosed
	}
	l.queue = append(l.queue, a)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-a.done:
		return a.id, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// recorded reports whether the version is in the log, perhaps not published yet, and
// sets its number. What is there with another hash is a conflict.
func (l *Ledger) recorded(a *addition) (bool, error) {
	p, ok, err := l.index.find(a.key)
	if err != nil || !ok {
		return false, err
	}
	r, _, err := l.records.at(p.off)
	if err != nil {
		return false, l.unreadable(p.id, err)
	}
	if string(r.text) == string(a.text) {
		a.id = p.id
		return true, nil
	}
	return false, contradiction(r.text, a.text)
}

// contradiction is what is wrong with an addition whose version has another record.
func contradiction(held, got []byte) error {
	err := sumlog.Conflict(held, got)
	if _, ok := errors.AsType[*athens.ConflictError](err); !ok {
		return fmt.Errorf("ledger: %w", err)
	}
	return err
}

// sequence records what waits, one batch after the other, until the ledger closes.
func (l *Ledger) sequence() {
	for {
		l.mu.Lock()
		batch := l.queue[:min(len(l.queue), maxBatch)]
		l.queue = l.queue[len(batch):]
		l.mu.Unlock()
		if len(batch) > 0 {
			l.record(batch)
			continue
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			l.mu.Lock() // closed is set, so nothing comes any more
			done := len(l.queue) == 0
			l.mu.Unlock()
			if done {
				return
			}
		}
	}
}

// record answers the additions of a batch once they are durable and signed.
func (l *Ledger) record(batch []*addition) {
	err := l.whole()
	var fresh, wait []*addition // to be written, and to be answered in the end
	twins := make(map[sumlog.IndexKey]*addition)
	for _, a := range batch {
		if err != nil {
			a.done <- err
			continue
		}
		known, err := l.recorded(a)
		if twin := twins[a.key]; err == nil && !known && twin != nil {
			if known = string(twin.text) == string(a.text); !known {
				err = contradiction(twin.text, a.text)
			}
		}
		switch {
		case err != nil:
			a.done <- err
		case known:
			wait = append(wait, a)
		default:
			twins[a.key] = a
			fresh = append(fresh, a)
			wait = append(wait, a)
		}
	}
	if len(wait) == 0 {
		return
	}
	err = l.write(fresh)
	if err == nil {
		err = l.publish()
	}
	for _, a := range wait {
		if twin := twins[a.key]; twin != nil {
			a.id = twin.id
		}
		if err != nil {
			a.done <- fmt.Errorf("ledger: %w", err)
		} else {
			a.done <- nil
		}
	}
}

// write puts records at the end of the log, durable. If it fails, the log is what it
// was: the next batch writes the same place again, and syncs what it wrote.
func (l *Ledger) write(fresh []*addition) error {
	if len(fresh) == 0 {
		return nil
	}
	var data []byte
	last, offs := l.last, make([]int64, len(fresh))
	for i, a := range fresh {
		last = sumlog.Stamp(last)
		offs[i] = l.end + int64(len(data))
		data = record{a.text, last}.encode(data)
	}
	_, err := l.records.f.WriteAt(data, l.end)
	if err == nil {
		err = l.records.f.Sync()
	}
	if err != nil {
		// What is left behind the end is overwritten, or cut off by the next start.
		return errors.Join(fmt.Errorf("write records: %w", err), l.records.f.Truncate(l.end))
	}
	for i, a := range fresh {
		a.id = l.tree.N
		l.pending = append(l.pending, l.tree.Add(tlog.RecordHash(a.text))...)
		l.index.add(a.key, place{a.id, offs[i]})
	}
	l.last, l.end = last, l.end+int64(len(data))
	return nil
}

// publish writes the full tiles that are not on the disk, signs the tree, and shows
// it once that is durable. If it fails, the next one does the rest: records that are
// in the log stay there, since the head that covers them may have been written.
func (l *Ledger) publish() error {
	for len(l.pending) > 0 {
		if err := l.writeTile(l.pending[0]); err != nil {
			return fmt.Errorf("write a tile: %w", err)
		}
		l.pending = l.pending[1:]
	}
	if l.tree.N == l.head.Load().tree.N {
		return nil
	}
	h := &head{tree: l.tree.Copied(), end: l.end}
	var err error
	if h.hash, err = tlog.TreeHash(h.tree.N, h.tree.Hashes(l.readTile)); err != nil {
		return err
	}
	if h.note, err = l.keys.Sign(h.tree.N, h.hash); err != nil {
		return err
	}
	if err := l.writeHead(h.note); err != nil {
		return fmt.Errorf("write the head: %w", err)
	}
	l.head.Store(h)
	return nil
}

// unreadable is the error of a record that the log should have.
func (l *Ledger) unreadable(id int64, err error) error {
	if !errors.Is(err, errTorn) {
		return fmt.Errorf("ledger: record %d: %w", id, err)
	}
	damage := l.damaged("record %d can't be read: the file was changed or cut; restore the folder from a copy that has it", id)
	l.fail(damage)
	return damage
}
