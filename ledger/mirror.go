package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/sumlog"
)

// Mirror is a copy of the log that another server signs. It has the files of a [Ledger],
// and answers from them as that does, with the heads of the other server. Its size is
// that of the newest head that it has verified. Make one with [NewMirror].
//
// Add compares: it returns the number of a version that is recorded with these hashes,
// and [fs.ErrNotExist] for one that is not recorded.
type Mirror struct {
	*Ledger
	turn  sync.Mutex // held while the copy grows
	ahead *head      // may be on the disk, and is not shown yet
}

// Record is an entry of a log.
type Record struct {
	Text []byte    // its go.sum lines
	Time time.Time // when it was recorded
}

// ErrForked says that a signed head is not of a log that continues the copy: the server
// that signed it has another history.
var ErrForked = errors.New("the head is not of a continuation of the log")

// errUnsigned says that a copy has no head yet.
var errUnsigned = &athens.UnavailableError{Source: "the ledger", Err: errors.New("its primary was not reached yet")}

// emptyMirror is the file that says that a folder is of a copy without a head.
const emptyMirror = "follows"

// NewMirror opens the copy in the folder dir, and makes it if there is none. key is the
// public key of the log, NAME+HASH+KEY. The errors are those of [New]. The caller closes
// the mirror.
func NewMirror(dir, key string, opts *Options) (*Mirror, error) {
	keys, err := sumlog.PublicKeys(key)
	if err != nil {
		return nil, err
	}
	l, err := openWith(dir, keys, opts, checkedFirst)
	if err != nil {
		return nil, err
	}
	return &Mirror{Ledger: l}, nil
}

// mirrors reports whether another server signs.
func (l *Ledger) mirrors() bool { return len(l.keys.Signers) == 0 }

// createMirror makes an empty copy. What a crash left of its first records has no head,
// and is cut off.
func (l *Ledger) createMirror() (tlog.Tree, error) {
	if err := l.replace(l.path(emptyMirror), nil); err != nil {
		return tlog.Tree{}, err
	}
	f, err := os.OpenFile(l.path("records"), os.O_RDWR|os.O_CREATE, 0o666)
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Sync(), f.Close())
	}
	if err == nil {
		err = durable.SyncDir(durable.OS{}, l.dir)
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.TreeHash(0, nil)
	return tlog.Tree{Hash: hash}, err
}

// unmarkEmpty says that a copy has a head.
func (l *Ledger) unmarkEmpty() error {
	if err := os.Remove(l.path(emptyMirror)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Size returns how many records the newest head covers.
func (m *Mirror) Size() int64 { return m.head.Load().tree.N }

// Tree returns the tree of the first n records.
func (m *Mirror) Tree(n int64) (tlog.Tree, error) {
	h := m.head.Load()
	if n < 0 || n > h.tree.N {
		return tlog.Tree{}, fmt.Errorf("ledger: there are %d records, not %d: %w", h.tree.N, n, fs.ErrNotExist)
	}
	hash, err := tlog.TreeHash(n, h.tree.Hashes(m.readTile))
	return tlog.Tree{N: n, Hash: hash}, err
}

// Extend continues the copy up to a signed head: the function from returns the records
// from some number on, as many as the head covers. They are stored before the head, and
// the head is shown only if it is of the copy's records and these; otherwise the copy is
// what it was, and the error is [ErrForked], or says which record is wrong. A head of no
// more records than the copy has changes nothing.
func (m *Mirror) Extend(ctx context.Context, signed []byte, from func(id int64) iter.Seq2[Record, error]) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	next, err := sumlog.ParseHead(signed, m.keys.Known)
	if err != nil {
		return fmt.Errorf("ledger: the head can't be used: %w", err)
	}
	if m.ahead != nil { // its records are there
		if err := m.show(m.ahead); err != nil {
			return err
		}
	}
	if now := m.head.Load(); next.N < now.tree.N || next.N == now.tree.N && now.note != nil {
		return nil
	}
	g := &growth{Ledger: m.Ledger, tree: m.tree.Copied(), end: m.end, last: m.last}
	if err := g.readAll(ctx, next, from(m.tree.N)); err != nil {
		m.index.cut(m.tree.N)
		return errors.Join(err, m.records.f.Truncate(m.end))
	}
	m.tree, m.end, m.last = g.tree, g.end, g.last
	return m.show(&head{tree: g.tree.Copied(), hash: next.Hash, note: signed, end: g.end})
}

// show makes a head durable, and then the newest. If it fails, the head may be on the
// disk, so its records stay.
func (m *Mirror) show(h *head) error {
	m.ahead = h
	if err := m.writeHead(h.note); err != nil {
		return fmt.Errorf("ledger: write the head: %w", err)
	}
	if err := m.unmarkEmpty(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	m.head.Store(h)
	m.ahead = nil
	return nil
}

// growth is a copy that grows.
type growth struct {
	*Ledger
	tree sumlog.Tree
	end  int64 // of what is in the file or in data
	last int64
	data []byte // to be written before end
}

// growthBytes is how much is written at once.
const growthBytes = 1 << 20

// readAll stores records until there are as many as next covers, and compares them with it.
func (g *growth) readAll(ctx context.Context, next tlog.Tree, records iter.Seq2[Record, error]) error {
	for r, err := range records {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && g.tree.N >= next.N {
			err = fmt.Errorf("ledger: there are more than the %d records of the head", next.N)
		}
		if err == nil {
			err = g.add(r)
		}
		if err != nil {
			return err
		}
	}
	if g.tree.N != next.N {
		return fmt.Errorf("ledger: there are %d records, and the head is of %d", g.tree.N, next.N)
	}
	if err := g.flush(); err != nil {
		return err
	}
	if err := g.records.f.Sync(); err != nil {
		return err
	}
	hash, err := tlog.TreeHash(g.tree.N, g.tree.Hashes(g.readTile))
	if err != nil {
		return err
	}
	if hash != next.Hash {
		return fmt.Errorf("ledger: %d records have the hash %s, the head says %s: %w", next.N, hash, next.Hash, ErrForked)
	}
	return nil
}

// add takes one record.
func (g *growth) add(r Record) error {
	v, _, _, err := sumlog.ParseText(r.Text)
	if err != nil {
		return fmt.Errorf("ledger: record %d: %w", g.tree.N, err)
	}
	key := sumlog.KeyOf(v)
	if err := g.twiceRecorded(v, key); err != nil {
		return err
	}
	g.last = max(r.Time.UnixNano(), g.last+1)
	off := g.end
	before := len(g.data)
	g.data = record{r.Text, g.last}.encode(g.data)
	g.end += int64(len(g.data) - before)
	g.index.add(key, place{g.tree.N, off})
	for _, t := range g.tree.Add(tlog.RecordHash(r.Text)) {
		if err := g.writeTile(t); err != nil {
			return fmt.Errorf("ledger: could not write a tile: %w", err)
		}
	}
	if len(g.data) >= growthBytes {
		return g.flush()
	}
	return nil
}

// twiceRecorded refuses the second record of a version.
func (g *growth) twiceRecorded(v module.Version, key sumlog.IndexKey) error {
	p, ok, err := g.index.find(key)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if ok {
		return fmt.Errorf("ledger: record %d is of %s, which record %d is of already: %w", g.tree.N, v, p.id, ErrForked)
	}
	return nil
}

// flush writes what waits.
func (g *growth) flush() error {
	_, err := g.records.f.WriteAt(g.data, g.end-int64(len(g.data)))
	g.data = g.data[:0]
	if err != nil {
		return fmt.Errorf("ledger: write records: %w", err)
	}
	return nil
}
