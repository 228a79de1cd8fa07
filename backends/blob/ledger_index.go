package blob

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

// indexEntry is a record: what it is found by, and its number.
type indexEntry struct {
	key sumlog.IndexKey
	id  int64
}

// bundleStart is the first record of a bundle.
type bundleStart struct{ id, seq, time int64 }

// The buckets of the index's file.
const (
	versionsBucket = "versions" // sumlog.IndexKey → number of the record
	bundlesBucket  = "bundles"  // number of a bundle's first record → that of the bundle, and the record's time
	metaBucket     = "meta"     // "state" → indexState
)

// indexState is the state of the log that the index has, in JSON.
type indexState struct {
	Ledger string // name
	Seq    int64
	N      int64
	Hash   tlog.Hash
	Last   int64
	Edge   [][]byte
}

// ledgerIndex says which record a version has, and in which bundle a record is. It is made
// from the bucket, and has what is published.
type ledgerIndex struct {
	db  *bbolt.DB
	dir string // what close removes; empty if that is done, or if it stays
}

// openLedgerIndex opens the index in a folder, or in a temporary one. One of another
// ledger, or one that can't be read, is made again.
func openLedgerIndex(dir, name string, log *slog.Logger) (*ledgerIndex, logState, error) {
	x := &ledgerIndex{}
	var err error
	if dir == "" {
		if dir, err = os.MkdirTemp("", "athens-ledger-"); err != nil {
			return nil, logState{}, err
		}
		x.dir = dir
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, logState{}, err
	}
	file := filepath.Join(dir, "index.db")
	state, err := x.open(file, name)
	if err != nil && !errors.Is(err, berrors.ErrTimeout) && !errors.Is(err, fs.ErrPermission) {
		log.Warn("ledger: rebuilding the index", "file", file, "reason", err)
		if err = os.Remove(file); err == nil || errors.Is(err, fs.ErrNotExist) {
			state, err = x.open(file, name)
		}
	}
	if errors.Is(err, berrors.ErrTimeout) {
		err = fmt.Errorf("%s is open in another process: give each its own folder", file)
	}
	if x.dir != "" && os.RemoveAll(x.dir) == nil {
		x.dir = "" // the file is open, and gone when the process is
	}
	return x, state, err
}

// open opens the file, and makes it if there is none.
func (x *ledgerIndex) open(file, name string) (state logState, err error) {
	db, err := bbolt.Open(file, 0o666, &bbolt.Options{
		Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType,
		NoSync: x.dir != "", NoFreelistSync: x.dir != "", // a temporary one is never read again
	})
	if err != nil {
		return state, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	var saved indexState
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{versionsBucket, bundlesBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		if v := tx.Bucket([]byte(metaBucket)).Get([]byte("state")); v != nil {
			return json.Unmarshal(v, &saved)
		}
		return nil
	})
	if err == nil && saved.Ledger != "" && saved.Ledger != name {
		err = fmt.Errorf("it is of the ledger %s", saved.Ledger)
	}
	if err == nil && len(saved.Edge) > len(state.tree.Edge) {
		err = errors.New("its state is malformed")
	}
	if err != nil {
		return state, err
	}
	x.db = db
	state = logState{seq: saved.Seq, hash: saved.Hash, last: saved.Last}
	state.tree.N = saved.N
	for level, data := range saved.Edge {
		state.tree.Edge[level] = sumlog.Split(data)
	}
	if saved.Ledger == "" {
		state.hash, err = tlog.TreeHash(0, nil)
	}
	return state, err
}

func (x *ledgerIndex) close() error {
	err := x.db.Close()
	if x.dir != "" {
		err = errors.Join(err, os.RemoveAll(x.dir))
	}
	return err
}

// put adds entries, and the state of the log that has them.
func (x *ledgerIndex) put(entries []indexEntry, starts []bundleStart, name string, state *logState) error {
	saved := indexState{Ledger: name, Seq: state.seq, N: state.tree.N, Hash: state.hash, Last: state.last}
	for _, edge := range state.tree.Edge {
		saved.Edge = append(saved.Edge, sumlog.Flatten(edge))
	}
	text, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	sorted := slices.Clone(entries) // neighbours share pages
	slices.SortFunc(sorted, func(a, b indexEntry) int {
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.id, b.id))
	})
	return x.db.Update(func(tx *bbolt.Tx) error {
		versions, bundles := tx.Bucket([]byte(versionsBucket)), tx.Bucket([]byte(bundlesBucket))
		for _, e := range sorted {
			if versions.Get(e.key[:]) != nil {
				continue // the first record of a version counts
			}
			if err := versions.Put(slices.Clone(e.key[:]), binary.BigEndian.AppendUint64(nil, uint64(e.id))); err != nil {
				return err
			}
		}
		bundles.FillPercent = 1
		for _, s := range starts {
			if err := bundles.Put(binary.BigEndian.AppendUint64(nil, uint64(s.id)), pair(s.seq, s.time)); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(metaBucket)).Put([]byte("state"), text)
	})
}

// pair writes two numbers.
func pair(a, b int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(a)), uint64(b))
}

func unpair(v []byte) (a, b int64, ok bool) {
	if len(v) != 16 {
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:])), true
}

// find returns the number of a version's record.
func (x *ledgerIndex) find(key sumlog.IndexKey) (id int64, ok bool, err error) {
	err = x.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte(versionsBucket)).Get(key[:]); len(v) == 8 {
			id, ok = int64(binary.BigEndian.Uint64(v)), true
		}
		return nil
	})
	return id, ok, err
}

// bundleOf returns the bundle that a record is in.
func (x *ledgerIndex) bundleOf(id int64) (s bundleStart, err error) {
	err = x.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bundlesBucket)).Cursor()
		want := binary.BigEndian.AppendUint64(nil, uint64(id))
		k, v := c.Seek(want)
		switch {
		case k == nil:
			k, v = c.Last()
		case !bytes.Equal(k, want):
			k, v = c.Prev()
		}
		var ok bool
		if s.seq, s.time, ok = unpair(v); !ok || len(k) != 8 {
			return fmt.Errorf("the index lacks record %d; remove index.db to have it rebuilt", id)
		}
		s.id = int64(binary.BigEndian.Uint64(k))
		return nil
	})
	return s, err
}
