package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/sumlog"
)

// checkedFirst is how many records New checks before it returns. A larger ledger is
// checked in the background, and what New looks at then are the records that the
// index lacks and the tiles at the right edge. If the index lacks more than that many,
// it is made again: what it lacks is in memory.
const checkedFirst = 1 << 16

// recover makes the ledger what its head says, or refuses.
func (l *Ledger) recover() error {
	if err := l.sweep(); err != nil {
		return err
	}
	signed, text, err := l.readHead(l.path("head"))
	if errors.Is(err, fs.ErrNotExist) {
		signed, text, err = l.create()
	} else if err == nil {
		err = l.unmarkEmpty() // a crash may have come between
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.path("records"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return l.damaged("the file records is missing, and %d records were signed; restore the folder", signed.N)
	}
	if err != nil {
		return err
	}
	l.records = &recordFile{f}
	h := &head{note: text, hash: signed.Hash}
	if err := l.restore(h, signed.N); err != nil {
		return err
	}
	if err := l.compareSeen(h); err != nil {
		return err
	}
	if err := l.cutTail(); err != nil {
		return err
	}
	l.head.Store(h)
	return l.renew(h)
}

// renew signs the head again if a key of the ledger has not signed it.
func (l *Ledger) renew(h *head) error {
	if l.mirrors() {
		return nil
	}
	signed, err := l.keys.Sign(h.tree.N, h.hash)
	if err != nil || string(signed) == string(h.note) {
		return err
	}
	if err := l.writeHead(signed); err != nil {
		return err
	}
	renewed := *h
	renewed.note = signed
	l.head.Store(&renewed)
	return nil
}

// sweep removes what a dead process has left on its way to another name.
func (l *Ledger) sweep() error {
	patterns := []string{l.path(tempPrefix + "*")}
	if l.seen != "" {
		patterns = append(patterns, filepath.Join(filepath.Dir(l.seen), "."+filepath.Base(l.seen)+"-*"))
	}
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// create makes an empty ledger. Its head is signed before there is any record, so
// that a folder with records and without a head is known to be broken.
func (l *Ledger) create() (tlog.Tree, []byte, error) {
	if l.mirrors() {
		t, err := l.createMirror()
		return t, nil, err
	}
	if _, err := os.Stat(l.path(emptyMirror)); err == nil {
		return tlog.Tree{}, nil, l.damaged("it is the copy of a log that it has nothing of yet, and would begin another one; follow the server that has the log, or restore a copy of the folder")
	}
	if info, err := os.Stat(l.path("records")); err == nil && info.Size() > 0 {
		return tlog.Tree{}, nil, l.damaged("it has records and no head; restore the file head")
	}
	if l.seen != "" {
		seen, _, err := l.readHead(l.seen)
		if err == nil && seen.N > 0 {
			err = l.damaged("it is empty, and %s says that %d records were signed; restore the folder", l.seen, seen.N)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return tlog.Tree{}, nil, err
		}
	}
	f, err := os.OpenFile(l.path("records"), os.O_RDWR|os.O_CREATE, 0o666)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = durable.SyncDir(durable.OS{}, l.dir)
	}
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	hash, err := tlog.TreeHash(0, nil)
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	signed, err := l.keys.Sign(0, hash)
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	return tlog.Tree{Hash: hash}, signed, l.writeHead(signed)
}

// restore sets the tree of n records, and the index. What is derived is made again if
// it is missing or contradicts the head; if the records do, restore refuses.
func (l *Ledger) restore(h *head, n int64) error {
	name := l.path("index.db")
	var c checkpoint
	var err error
	if l.index, c, err = openIndex(name); err == nil {
		if err = l.restoreFrom(c, h, n); err == nil && n <= l.checked {
			err = l.verify(context.Background(), h, nil)
		}
		if err == nil {
			return nil
		}
		if err := l.index.close(); err != nil {
			return err
		}
	}
	if c.n > 0 || n > 0 {
		l.log.Warn("ledger: rebuilding the index and tiles", "dir", l.dir, "reason", err)
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if l.index, _, err = openIndex(name); err != nil {
		return err
	}
	return l.remake(h, n)
}

// restoreFrom trusts the index as far as it goes, and reads the rest of the log.
func (l *Ledger) restoreFrom(c checkpoint, h *head, n int64) error {
	if c.n > n {
		return fmt.Errorf("the index has %d records, the head %d", c.n, n)
	}
	if n-c.n > l.checked {
		return fmt.Errorf("the index has %d records of %d", c.n, n)
	}
	id := c.n
	end, err := l.records.scan(c.end, n-c.n, func(off int64, r record) error {
		m, _, _, err := sumlog.ParseText(r.text)
		if err != nil {
			return err
		}
		l.index.add(sumlog.KeyOf(m), place{id, off})
		l.last = r.time
		id++
		return nil
	})
	if err != nil {
		return fmt.Errorf("record %d: %w", id, err)
	}
	l.end, l.tree = end, sumlog.Tree{N: n}
	if n == 0 {
		h.tree, h.end = l.tree.Copied(), end
		return nil
	}
	if err := l.edges(); err != nil {
		return err
	}
	h.tree, h.end = l.tree.Copied(), end
	for _, t := range []tlog.Tree{{N: n, Hash: h.hash}, {N: c.n, Hash: c.hash}} {
		if t.N == 0 {
			continue
		}
		hash, err := tlog.TreeHash(t.N, h.tree.Hashes(l.readTile))
		if err != nil {
			return err
		}
		if hash != t.Hash {
			return fmt.Errorf("the tree of %d records has a different hash", t.N)
		}
	}
	return nil
}

// edges reads the hashes at the right edge of the tree.
func (l *Ledger) edges() error {
	n := l.tree.N
	off, err := l.index.bundle((n - 1) >> height)
	if err != nil {
		return err
	}
	first := (n - 1) &^ (full - 1)
	if _, err = l.records.scan(off, n-first, func(_ int64, r record) error {
		l.tree.Edge[0] = append(l.tree.Edge[0], tlog.RecordHash(r.text))
		l.last = r.time
		return nil
	}); err != nil {
		return err
	}
	if n%full == 0 {
		l.tree.Edge[0] = nil
	}
	for level := 1; n>>(height*level) > 0; level++ {
		tiles := n >> (height * level)
		for i := tiles &^ (full - 1); i < tiles; i++ {
			data, err := l.readTile(level-1, i)
			if err != nil {
				return err
			}
			l.tree.Edge[level] = append(l.tree.Edge[level], sumlog.RootOf(sumlog.Split(data)))
		}
	}
	return nil
}

// cutTail removes what is behind the records that the head covers. It was never
// answered.
func (l *Ledger) cutTail() error {
	info, err := l.records.f.Stat()
	if err != nil || info.Size() == l.end {
		return err
	}
	if info.Size() < l.end {
		return l.damaged("the file records has %d bytes, not %d; restore the folder", info.Size(), l.end)
	}
	l.log.Info("ledger: removed an unfinished record", "dir", l.dir, "bytes", info.Size()-l.end)
	if err := l.records.f.Truncate(l.end); err != nil {
		return err
	}
	return l.records.f.Sync()
}
