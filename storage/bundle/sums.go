package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/sumcheck"
)

// maxHeads bounds how many checksum databases a bundle speaks of.
const maxHeads = 64

// joined is what an import knows of the checksum databases in a bundle.
type joined struct {
	heads []*head
	tiles tiles
}

// head is the newest tree that a bundle has of a checksum database.
type head struct {
	folder       string
	data, stored []byte
	put          bool // it takes the place of the stored one
}

// close removes the tiles that were set aside.
func (j *joined) close() {
	if j.tiles.stage != nil {
		_ = j.tiles.stage.Close() // the store cleans up what Close leaves
		j.tiles.stage = nil
	}
}

// tiles are those of a bundle, set aside to prove that its tree continues the stored one.
type tiles struct {
	store athens.SumDBStore
	stage athens.Stage
	at    map[string]span
	size  int64
}

// span is where a tile is.
type span struct {
	off int64
	n   int32
}

// put sets a tile aside.
func (t *tiles) put(ctx context.Context, store athens.Storage, name string, data []byte) (err error) {
	if t.stage == nil {
		if t.stage, err = store.Stage(ctx); err != nil {
			return err
		}
		t.at = map[string]span{}
	}
	if _, err := t.stage.Write(data); err != nil {
		return err
	}
	t.at[name] = span{t.size, int32(len(data))}
	t.size += int64(len(data))
	return nil
}

// GetSumDB returns a tile of the bundle, otherwise what the store has.
func (t *tiles) GetSumDB(ctx context.Context, name string) ([]byte, error) {
	at, ok := t.at[name]
	if !ok {
		return t.store.GetSumDB(ctx, name)
	}
	data := make([]byte, at.n)
	_, err := t.stage.ReadAt(data, at.off)
	return data, err
}

// PutSumDB is never called: a proof alone stores nothing.
func (t *tiles) PutSumDB(context.Context, string, []byte) error {
	return errors.New("bundle: tiles that are set aside can't be changed")
}

// isHead reports whether an answer is a tree's head, which newer data replaces.
func isHead(name string) bool { return strings.HasSuffix(name, "/head") }

// getAnswer returns what is stored under a name; nil if nothing is.
func (im *importer) getAnswer(ctx context.Context, name string) ([]byte, error) {
	data, err := im.sums.tiles.store.GetSumDB(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// checkAnswer checks an answer, and that it does not contradict the stored one.
func (im *importer) checkAnswer(ctx context.Context, a *answer, data []byte) error {
	kept, ok := im.store.(athens.SumDBStore)
	if !ok {
		return errors.New("bundle: the bundle has answers of checksum databases, which this store does not keep")
	}
	im.sums.tiles.store = kept
	stored, err := im.getAnswer(ctx, a.name)
	if err != nil {
		return err
	}
	if isHead(a.name) {
		if len(im.sums.heads) == maxHeads {
			return bad("it has the heads of more than %d checksum databases", maxHeads)
		}
		im.sums.heads = append(im.sums.heads, &head{strings.TrimSuffix(a.name, "/head"), data, stored, false})
		return nil
	}
	if stored == nil {
		im.want()
	}
	if strings.Contains(a.name, "/tile/") {
		if stored != nil && !bytes.Equal(stored, data) {
			return bad("%s contradicts the stored one: stored is SHA-256 %x, the bundle has %x", a.name, partOf(stored).sum, a.sum)
		}
		// The names of a database's head, lookups and tiles come in this order.
		if im.sums.differs() {
			return im.sums.tiles.put(ctx, im.store, a.name, data)
		}
		return nil
	}
	id, text, _, err := tlog.ParseRecord(data)
	if err != nil {
		return bad("%s: %w", a.name, err)
	}
	if heldID, held, _, err := tlog.ParseRecord(stored); err == nil && (heldID != id || !bytes.Equal(held, text)) {
		return bad("%s contradicts the stored one: stored is record %d, %q, the bundle has record %d, %q", a.name, heldID, held, id, text)
	}
	return nil
}

// differs reports whether a head in the bundle has to be joined with a stored one.
func (j *joined) differs() bool {
	for _, h := range j.heads {
		if h.stored != nil && !bytes.Equal(h.stored, h.data) {
			return true
		}
	}
	return false
}

// checkHeads checks that the trees in the bundle and those that are stored are one.
func (im *importer) checkHeads(ctx context.Context) error {
	for _, h := range im.sums.heads {
		name, err := url.PathUnescape(h.folder)
		if err != nil {
			return bad("%.300q is not the name of a checksum database", h.folder)
		}
		newer, proved, err := sumcheck.Join(ctx, name, h.stored, h.data, &im.sums.tiles)
		switch {
		case err != nil:
			return bad("the checksum database %s: %w", name, err)
		case newer && proved:
			h.put = true
			im.want()
		case !proved:
			im.sum.KeptHeads = append(im.sum.KeptHeads, name)
		}
	}
	return nil
}

// putAnswer stores an answer. Heads come last, when their tiles are there.
func (im *importer) putAnswer(ctx context.Context, a *answer, data []byte) error {
	if isHead(a.name) {
		return nil
	}
	if stored, err := im.getAnswer(ctx, a.name); err != nil || stored != nil {
		return err
	}
	return im.storeAnswer(ctx, a.name, data)
}

// putHeads stores the trees that are newer than the stored ones.
func (im *importer) putHeads(ctx context.Context) error {
	for _, h := range im.sums.heads {
		if !h.put {
			continue
		}
		stored, err := im.getAnswer(ctx, h.folder+"/head")
		if err != nil {
			return err
		}
		if !bytes.Equal(stored, h.stored) {
			return fmt.Errorf("bundle: a server has stored a newer tree of the checksum database %s meanwhile: import again", h.folder)
		}
		if err := im.storeAnswer(ctx, h.folder+"/head", h.data); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) storeAnswer(ctx context.Context, name string, data []byte) error {
	err := im.sums.tiles.store.PutSumDB(ctx, name, data)
	if err == nil {
		im.sum.StoredSumDB++
	}
	return err
}
