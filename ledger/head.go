package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/sumlog"
)

// head is a tree that was signed, and its signed form.
type head struct {
	tree sumlog.Tree
	hash tlog.Hash
	note []byte
	end  int64 // of its records in their file
}

// readHead reads a signed tree from a file. One that does not exist is
// fs.ErrNotExist, one that can't be right a DamagedError.
func (l *Ledger) readHead(name string) (tlog.Tree, []byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	t, err := sumlog.ParseHead(data, l.keys.Known)
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
		if h.note == nil {
			return nil
		}
		return l.writeSeen(h.note)
	}
	if err != nil {
		return err
	}
	if seen.N > h.tree.N {
		return l.damaged("it was rolled back: it has %d records, and %s says that %d were signed; restore the folder from a copy that has them", h.tree.N, l.seen, seen.N)
	}
	then, err := tlog.TreeHash(seen.N, h.tree.Hashes(l.readTile))
	if err != nil {
		return err
	}
	if then != seen.Hash {
		return l.damaged("its first %d records are not those that were signed, says %s: the log was forked; restore the folder that this copy belongs to", seen.N, l.seen)
	}
	if seen.N == h.tree.N {
		return nil
	}
	return l.writeSeen(h.note)
}
