package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/flock"
	"github.com/athens-go/athens/internal/sumlog"
)

// Inspect reads the ledger in the folder dir, which no process may have open, and
// changes nothing. It needs the public key only. It calls each for every record that
// the signed head covers, and returns that head. Seen, if it is not nil, is a head that
// the ledger has signed before.
//
// The error is a [*DamagedError] if the records are not those of the head, or don't
// continue the log of seen, and [ErrInUse] if a process has the ledger. Tiles and index
// are not read: [New] makes them again.
func Inspect(ctx context.Context, dir, key string, seen []byte, each func(m module.Version, zipHash, modHash string)) (signed []byte, err error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	unlock, err := lockExisting(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", dir, err)
	}
	defer unlock()
	i := inspection{damaged: (&Ledger{dir: dir}).damaged, ctx: ctx, each: each}
	known := note.VerifierList(verifier)
	if signed, err = os.ReadFile(filepath.Join(dir, "head")); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if i.head, err = sumlog.ParseHead(signed, known); err != nil {
		return nil, i.damaged("the head can't be used: %w", err)
	}
	if seen != nil {
		if i.seen, err = sumlog.ParseHead(seen, known); err != nil {
			return nil, fmt.Errorf("ledger: the head that was seen can't be used: %w", err)
		}
		if i.seen.N > i.head.N {
			return nil, i.damaged("it was rolled back: it has %d records, and %d were signed", i.head.N, i.seen.N)
		}
	}
	f, err := os.Open(filepath.Join(dir, "records"))
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer f.Close()
	return signed, i.read(&recordFile{f})
}

// lockExisting keeps processes that would change the ledger out until it is unlocked.
func lockExisting(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // a copy without it
	}
	if err != nil {
		return nil, err
	}
	ok, err := flock.Try(f)
	if err == nil && !ok {
		err = ErrInUse
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { flock.Release(f) }, nil
}

// inspection is one reading of a log.
type inspection struct {
	damaged    func(format string, args ...any) *DamagedError
	ctx        context.Context
	each       func(m module.Version, zipHash, modHash string)
	head, seen tlog.Tree
}

// read reads all records and compares the tree of them with both heads.
func (i *inspection) read(records *recordFile) error {
	var subtrees []tlog.Hash // whole ones, the largest first
	id, last := int64(0), int64(0)
	_, err := records.scan(0, i.head.N, func(_ int64, r record) error {
		m, zipHash, modHash, err := sumlog.ParseText(r.text)
		if err != nil {
			return i.damaged("record %d: %w", id, err)
		}
		if r.time <= last {
			return i.damaged("record %d is not later than the one before", id)
		}
		id, last = id+1, r.time
		subtrees = append(subtrees, tlog.RecordHash(r.text))
		for size := id; size%2 == 0; size /= 2 {
			n := len(subtrees)
			subtrees = append(subtrees[:n-2], tlog.NodeHash(subtrees[n-2], subtrees[n-1]))
		}
		if id == i.seen.N && rootOf(subtrees) != i.seen.Hash {
			return i.damaged("it was forked: its first %d records are not those that were signed", id)
		}
		i.each(m, zipHash, modHash)
		return i.ctx.Err()
	})
	switch {
	case errors.Is(err, errTorn):
		return i.damaged("record %d of %d is missing or was changed", id, i.head.N)
	case err != nil:
		return err
	case id > 0 && rootOf(subtrees) != i.head.Hash:
		return i.damaged("its %d records are not those that were signed", id)
	}
	return nil
}

// rootOf returns the hash of a tree of these subtrees.
func rootOf(subtrees []tlog.Hash) tlog.Hash {
	root := subtrees[len(subtrees)-1]
	for i := len(subtrees) - 2; i >= 0; i-- {
		root = tlog.NodeHash(subtrees[i], root)
	}
	return root
}
