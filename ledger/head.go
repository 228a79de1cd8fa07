package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/durable"
)

// maxHead is the size in bytes of the largest head that is read.
const maxHead = 16 << 10

// head is a tree that was signed, and its signed form.
type head struct {
	tree tree
	hash tlog.Hash
	note []byte
	end  int64 // of its records in their file
}

// sign signs a tree.
func (l *Ledger) sign(n int64, hash tlog.Hash) ([]byte, error) {
	text := tlog.FormatTree(tlog.Tree{N: n, Hash: hash})
	return note.Sign(&note.Note{Text: string(text)}, l.signers...)
}

// parseHead reads a signed tree. One of the keys that are known must have signed it.
func parseHead(data []byte, known note.Verifiers) (tlog.Tree, error) {
	if len(data) > maxHead {
		return tlog.Tree{}, fmt.Errorf("it has %d bytes, more than %d", len(data), maxHead)
	}
	n, err := note.Open(data, known)
	if err != nil {
		if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
			return tlog.Tree{}, errors.New("it is not signed by this ledger's key: start with the key that has signed it, as the old key if the key is to change")
		}
		return tlog.Tree{}, err
	}
	t, err := tlog.ParseTree([]byte(n.Text))
	if err == nil && (t.N < 0 || t.N >= 1<<(height*(maxLevel+1))) {
		err = fmt.Errorf("a tree of %d records is too large", t.N)
	}
	return t, err
}

// readHead reads a signed tree from a file. One that does not exist is
// fs.ErrNotExist, one that can't be right a DamagedError.
func (l *Ledger) readHead(name string) (tlog.Tree, []byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	t, err := parseHead(data, l.known)
	if err != nil {
		return t, nil, l.damaged("the head in %s can't be used: %w", name, err)
	}
	return t, data, nil
}

// writeHead puts a signed tree on the disk, and its copy where that is kept.
func (l *Ledger) writeHead(signed []byte) error {
	if err := l.replace(l.path("head"), signed); err != nil {
		return err
	}
	return l.writeSeen(signed)
}

// writeSeen keeps the copy of the head.
func (l *Ledger) writeSeen(signed []byte) error {
	if l.seen == "" {
		return nil
	}
	err := durable.Replace(durable.OS{}, filepath.Dir(l.seen), "."+filepath.Base(l.seen)+"-", l.seen, signed)
	if err != nil {
		return fmt.Errorf("the copy of the head in %s: %w", l.seen, err)
	}
	return nil
}

// compareSeen refuses a ledger that has less than, or something else than, the copy
// of its head that is kept elsewhere.
func (l *Ledger) compareSeen(h *head) error {
	if l.seen == "" {
		return nil
	}
	seen, _, err := l.readHead(l.seen)
	if errors.Is(err, fs.ErrNotExist) {
		return l.writeSeen(h.note)
	}
	if err != nil {
		return err
	}
	if seen.N > h.tree.n {
		return l.damaged("it was rolled back: it has %d records, and %s says that %d were signed; restore the folder from a copy that has them", h.tree.n, l.seen, seen.N)
	}
	then, err := tlog.TreeHash(seen.N, h.tree.hashes(l.readTile))
	if err != nil {
		return err
	}
	if then != seen.Hash {
		return l.damaged("its first %d records are not those that were signed, says %s: the log was forked; restore the folder that this copy belongs to", seen.N, l.seen)
	}
	if seen.N == h.tree.n {
		return nil
	}
	return l.writeSeen(h.note)
}
