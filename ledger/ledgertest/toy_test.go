package ledgertest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// medium is what a toy keeps.
type medium struct {
	mu      *sync.Mutex
	key     string // private
	public  string
	records []record
	byName  map[module.Version]int64
	hashes  []tlog.Hash
	heads   int // how often one was asked for
}

type record struct {
	text     string
	m        module.Version
	zip, mod string
	at       time.Time
}

func newMedium(key, public string) *medium {
	return &medium{mu: new(sync.Mutex), key: key, public: public, byName: map[module.Version]int64{}}
}

// toy is a ledger in memory that is broken in one way.
type toy struct {
	*medium
	bug string
}

func (t *toy) VerifierKey() string { return t.public }

func (t *toy) Add(ctx context.Context, m module.Version, zip, mod string) (int64, error) {
	if err := ctx.Err(); err != nil && t.bug != "canceled Add" {
		return 0, err
	}
	if err := module.Check(m.Path, m.Version); (err != nil || module.CanonicalVersion(m.Version) != m.Version) && t.bug != "bad version" {
		return 0, errors.New("malformed version")
	}
	if (len(zip) != 47 || len(mod) != 47 || zip[:3] != "h1:") && t.bug != "bad hash" {
		return 0, errors.New("malformed hash")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.byName[m]; ok {
		return t.again(id, record{m: m, zip: zip, mod: mod})
	}
	if t.bug == "together" && len(t.records) > 30 {
		return int64(len(t.records)), nil // lost under load
	}
	return t.append(record{m: m, zip: zip, mod: mod}), nil
}

// again is Add of what is recorded.
func (t *toy) again(id int64, r record) (int64, error) {
	held := t.records[id]
	switch {
	case t.bug == "same-again" && held.zip == r.zip, t.bug == "race":
		return t.append(r), nil
	case t.bug == "conflict is another error" && held.zip != r.zip:
		return 0, errors.New("conflict")
	case held.mod != r.mod && t.bug != "conflict looks at the zip only":
		return 0, &athens.ConflictError{Module: r.m, File: athens.ModFile, Held: held.mod, Got: r.mod}
	case held.zip != r.zip:
		err := &athens.ConflictError{Module: r.m, File: athens.ZipFile, Held: held.zip, Got: r.zip}
		if t.bug == "conflict is recorded" {
			t.append(r)
		}
		return 0, err
	}
	return id, nil
}

func (t *toy) append(r record) int64 {
	if r.at = time.Now().UTC(); t.bug == "since has equal times" {
		r.at = r.at.Truncate(time.Hour)
	} else if len(t.records) > 0 {
		if last := t.records[len(t.records)-1].at; !r.at.After(last) {
			r.at = last.Add(1)
		}
	}
	id := int64(len(t.records))
	if t.bug == "add leaves gaps" {
		id++
	}
	r.text = ledgertest.Sample{Module: r.m, Zip: r.zip, ModHash: r.mod}.Text()
	t.records = append(t.records, r)
	t.byName[r.m] = id
	hashes, err := tlog.StoredHashes(int64(len(t.records)-1), []byte(r.text), t)
	if err != nil {
		panic(err)
	}
	t.hashes = append(t.hashes, hashes...)
	return id
}

// ReadHashes is that of tlog.HashReader.
func (t *toy) ReadHashes(indexes []int64) (list []tlog.Hash, err error) {
	for _, i := range indexes {
		list = append(list, t.hashes[i])
	}
	return list, nil
}

func (t *toy) Signed(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil && t.bug != "canceled Signed" {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heads++
	n := int64(len(t.records))
	switch {
	case t.bug == "add is signed later" && n > 0:
		n--
	case t.bug == "append-only goes back" && n > 10 && t.heads%2 == 0:
		n -= 5
	}
	h, err := tlog.TreeHash(n, t)
	if err != nil {
		return nil, err
	}
	if t.bug == "append-only forks" && n < 600 && n > 0 && t.heads%2 == 0 {
		h[0]++
	}
	signer, err := note.NewSigner(t.key)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: string(tlog.FormatTree(tlog.Tree{N: n, Hash: h}))}, signer)
}

func (t *toy) Lookup(ctx context.Context, m module.Version) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok := t.byName[m]
	switch {
	case !ok && t.bug == "empty has another error":
		return 0, errors.New("not here")
	case !ok:
		return 0, fs.ErrNotExist
	}
	return id, nil
}

func (t *toy) ReadRecords(ctx context.Context, id, n int64) (texts [][]byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	size := int64(len(t.records))
	if t.bug == "records are fewer" && n < 1<<30 && id >= 0 && n >= 0 {
		n = max(0, min(n, size-id))
	}
	if id < 0 || n < 0 || id > size || n > size-id {
		return nil, fs.ErrNotExist
	}
	for _, r := range t.records[id : id+n] {
		texts = append(texts, []byte(r.text))
	}
	return texts, nil
}

func (t *toy) ReadTileData(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bug == "tiles of any height" && tile.H == 1 {
		return tlog.ReadTileData(tile, t)
	}
	if tile.H != 8 || tile.L > 6 || tile.W < 1 || tile.W > 256 || tile.N > 1<<40 || (tile.N<<8+int64(tile.W))<<(8*tile.L) > int64(len(t.records)) {
		if t.bug == "tiles of the future are another error" {
			return nil, errors.New("not here")
		}
		return nil, fs.ErrNotExist
	}
	data, err := tlog.ReadTileData(tile, t)
	if t.bug == "tiles are whole" && tile.L == 0 && tile.W < 256 {
		data = append(data, make([]byte, tlog.HashSize)...)
	}
	if t.bug == "copies" && err == nil && tile.W == 3 {
		t.hashes[0] = tlog.Hash{} // as if the caller's clear had reached it
	}
	return data, err
}

func (t *toy) Since(ctx context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error {
	t.mu.Lock()
	records := t.records
	t.mu.Unlock()
	if err := ctx.Err(); err != nil && t.bug != "canceled Since" {
		return err
	}
	for i := range records {
		r := records[i]
		if t.bug == "since is backwards" {
			r = records[len(records)-1-i]
		}
		if r.at.Before(since) || t.bug == "since is exclusive" && r.at.Equal(since) {
			continue
		}
		if !yield(r.m, r.at) && t.bug != "since goes on" {
			break
		}
	}
	return nil
}

var _ athens.Ledger = (*toy)(nil)

// String names the toy in a failure.
func (t *toy) String() string { return fmt.Sprintf("toy with the bug %q", t.bug) }
