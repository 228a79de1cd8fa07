package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// textKey is the key of a record that was checked: its text begins with path and version.
func textKey(text []byte) sumlog.IndexKey {
	path, rest, _ := bytes.Cut(text, []byte{' '})
	version, _, _ := bytes.Cut(rest, []byte{' '})
	return sumlog.KeyOf(module.Version{Path: string(path), Version: string(version)})
}

// place is a record's number, and where it is in the file.
type place struct{ id, off int64 }

// checkpoint is how much of the log the file has: the first n records, which end at
// an offset, and whose tree has that hash.
type checkpoint struct {
	n, end int64
	hash   tlog.Hash
}

// The buckets of the file.
const (
	versionsBucket = "versions" // sumlog.IndexKey → id and offset, 6 bytes each
	bundlesBucket  = "bundles"  // number of 256 records → offset of the first
	metaBucket     = "meta"     // "checkpoint" → n, end, hash
)

// index says which record a version has. What was added last is in memory, until
// flush writes it to the file, which a power cut does not damage.
type index struct {
	db *bbolt.DB

	mu    sync.RWMutex
	tail  map[sumlog.IndexKey]place
	order []keyed // the tail, by number
	saved int64   // how many records the file has

	full chan struct{} // has an element when the tail should be flushed
}

type keyed struct {
	key sumlog.IndexKey
	place
}

// flushAt is how many records the tail has before it is flushed. At a start so many
// are read from the log again, after a crash.
const flushAt = 1024

// openIndex opens the file, and makes it if there is none.
func openIndex(name string) (*index, checkpoint, error) {
	db, err := bbolt.Open(name, 0o666, &bbolt.Options{Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, checkpoint{}, err
	}
	var c checkpoint
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{versionsBucket, bundlesBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		if v := tx.Bucket([]byte(metaBucket)).Get([]byte("checkpoint")); len(v) == 16+tlog.HashSize {
			c.n, c.end = int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))
			copy(c.hash[:], v[16:])
		}
		return nil
	})
	if err != nil {
		return nil, c, errors.Join(err, db.Close())
	}
	return &index{db: db, tail: make(map[sumlog.IndexKey]place), saved: c.n, full: make(chan struct{}, 1)}, c, nil
}

func (x *index) close() error { return x.db.Close() }

// find returns where the record of a version may be.
func (x *index) find(key sumlog.IndexKey) (p place, ok bool, err error) {
	x.mu.RLock()
	p, ok = x.tail[key]
	x.mu.RUnlock()
	if ok {
		return p, true, nil
	}
	err = x.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(versionsBucket)).Get(key[:])
		if len(v) == 12 {
			p, ok = place{six(v), six(v[6:])}, true
		}
		return nil
	})
	return p, ok, err
}

// bundle returns the offset of the first of 256 records.
func (x *index) bundle(n int64) (off int64, err error) {
	x.mu.RLock()
	if i := n<<height - x.first(); i >= 0 && i < int64(len(x.order)) {
		off = x.order[i].off
		x.mu.RUnlock()
		return off, nil
	}
	x.mu.RUnlock()
	err = x.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket([]byte(bundlesBucket)).Get(bundleKey(n))
		if len(v) != 6 {
			return fmt.Errorf("the index lacks record %d; remove index.db to have it rebuilt", n<<height)
		}
		off = six(v)
		return nil
	})
	return off, err
}

// first is the number of the first record of the tail.
func (x *index) first() int64 {
	if len(x.order) == 0 {
		return x.saved
	}
	return x.order[0].id
}

// add notes a record.
func (x *index) add(key sumlog.IndexKey, p place) {
	x.mu.Lock()
	x.tail[key] = p
	x.order = append(x.order, keyed{key, p})
	wake := len(x.order) >= flushAt
	x.mu.Unlock()
	if wake {
		select {
		case x.full <- struct{}{}:
		default:
		}
	}
}

// cut forgets the records of the tail from number n on.
func (x *index) cut(n int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.order) > 0 && x.order[len(x.order)-1].id >= n {
		delete(x.tail, x.order[len(x.order)-1].key)
		x.order = x.order[:len(x.order)-1]
	}
}

// flush writes the tail to the file, as far as c goes.
func (x *index) flush(c checkpoint) error {
	x.mu.RLock()
	n := max(0, c.n-x.first())
	part := slices.Clone(x.order[:min(n, int64(len(x.order)))])
	x.mu.RUnlock()
	if len(part) == 0 && c.n <= x.saved {
		return nil
	}
	if err := x.put(part, &c); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range part {
		delete(x.tail, e.key)
	}
	x.order = slices.Clone(x.order[len(part):])
	x.saved = c.n
	return nil
}

// remadeFill is how full pages are when the index is made again, in the order of the
// keys: about as full as pages are after additions, whose keys have no order.
const remadeFill = 0.7

// put writes entries to the file, and with the last of them the checkpoint.
func (x *index) put(entries []keyed, c *checkpoint) error {
	sorted := slices.Clone(entries) // neighbours share pages
	slices.SortFunc(sorted, func(a, b keyed) int { return bytes.Compare(a.key[:], b.key[:]) })
	return x.db.Update(func(tx *bbolt.Tx) error {
		versions, bundles := tx.Bucket([]byte(versionsBucket)), tx.Bucket([]byte(bundlesBucket))
		for _, e := range sorted {
			if err := versions.Put(slices.Clone(e.key[:]), appendSix(appendSix(nil, e.id), e.off)); err != nil {
				return err
			}
		}
		bundles.FillPercent = 1
		if c == nil {
			versions.FillPercent = remadeFill
		}
		for _, e := range entries {
			if e.id%full == 0 {
				if err := bundles.Put(bundleKey(e.id>>height), appendSix(nil, e.off)); err != nil {
					return err
				}
			}
		}
		if c == nil {
			return nil
		}
		v := binary.BigEndian.AppendUint64(nil, uint64(c.n))
		v = binary.BigEndian.AppendUint64(v, uint64(c.end))
		return tx.Bucket([]byte(metaBucket)).Put([]byte("checkpoint"), append(v, c.hash[:]...))
	})
}

func bundleKey(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// six reads a number of 6 bytes.
func six(b []byte) int64 {
	var v [8]byte
	copy(v[2:], b[:6])
	return int64(binary.BigEndian.Uint64(v[:]))
}

func appendSix(b []byte, n int64) []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(n))
	return append(b, v[2:]...)
}

// keepIndex flushes the index now and then, and in the end.
func (l *Ledger) keepIndex() {
	for done := false; !done; {
		select {
		case <-l.index.full:
		case <-l.ctx.Done():
			done = true
		}
		if l.whole() != nil {
			continue
		}
		h := l.head.Load()
		if err := l.index.flush(checkpoint{h.tree.N, h.end, h.hash}); err != nil {
			l.log.Warn("ledger: could not write the index; the next start rebuilds it", "dir", l.dir, "error", err)
		}
	}
}
