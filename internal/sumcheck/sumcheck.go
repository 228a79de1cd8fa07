// Package sumcheck proves the answers of a checksum database, stores the proved ones, and
// answers from the store. A sumdb.Client of x/mod can't do this: it serves one go command,
// and this package serves one consistent tree to many.
//
// A database is a log: a list of records, each the go.sum lines of a version,
// under a Merkle tree whose root is signed (https://research.swtch.com/tlog).
// An answer to a lookup is a record with a signed tree that has it; tiles hold
// the tree's hashes. The store has
//
//	NAME/head                         one signed tree, and its right edge
//	NAME/lookup/example.com/m@v1.0.0  records that are in it
//	NAME/tile/8/0/x001/234            full tiles of it
//
// A tree is replaced only by a later tree that is proved to contain it. All lookups are
// answered with that one tree, even if the database sent another: both are signed. So a client
// that verifies answers in any order needs the same tiles, and those are stored. An earlier
// tree that a client got is a beginning of the present one, and its tiles are stored too: each
// step of the proof has read the older tree's edge.
//
// Only proved answers are stored, and stored answers are proved again before they are used.
// Without the database's key its signatures can't be checked; later trees must then agree with
// the first one.
//
// A tree that is neither stored nor passed on is not compared with others.
package sumcheck

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/protocol"
)

// Store keeps answers by name: an athens.SumDBStore.
type Store interface {
	GetSumDB(ctx context.Context, name string) ([]byte, error)
	PutSumDB(ctx context.Context, name string, data []byte) error
}

// Memory keeps recently proved answers; it may forget any of them. Callers do not change what it
// is given or returns.
type Memory interface {
	Get(path string) []byte
	Put(path string, data []byte)
}

// Ask gets an answer of the database by its path after sumdb/NAME/. Callers do not change what it
// returns.
type Ask func(ctx context.Context, path string) ([]byte, error)

// Database has the stored answers of one checksum database. It is safe for concurrent use.
// Several Databases and processes may share a Store; at worst they ask for an answer twice.
type Database struct {
	name     string
	folder   string // in the store
	verifier note.Verifier
	store    Store
	memory   Memory
	notKept  func(error)

	turn chan struct{} // taken while the head is replaced
	mu   sync.Mutex
	head *Head
}

// New returns the database of that name. Without a verifier, signatures are not checked. notKept
// is called when an answer can't be stored, which changes no answer, or when a stored one is
// damaged.
func New(name string, verifier note.Verifier, store Store, memory Memory, notKept func(error)) *Database {
	return &Database{name: name, folder: protocol.DBFolder(name), verifier: verifier, store: store, memory: memory, notKept: notKept, turn: make(chan struct{}, 1)}
}

// Head returns the stored tree, or nil if there is none.
func (d *Database) Head(ctx context.Context) *Head {
	d.mu.Lock()
	head := d.head
	d.mu.Unlock()
	if head == nil {
		head, _ = d.reload(ctx) // a head that can't be read counts as none
	}
	return head
}

// reload reads the store, where another process may have put a later tree. The error says that
// the store can't be read; a damaged tree counts as none.
func (d *Database) reload(ctx context.Context) (*Head, error) {
	d.mu.Lock()
	ours := d.head
	d.mu.Unlock()
	data, err := d.store.GetSumDB(ctx, d.folder+"/head")
	if errors.Is(err, fs.ErrNotExist) {
		return ours, nil
	}
	if err != nil {
		return ours, err
	}
	stored, err := decodeHead(data, d.name, d.verifier)
	if err == nil && ours != nil && stored.Tree.N > ours.Tree.N {
		_, err = d.prove(ctx, claim{tree: stored.Tree, older: ours.Tree}, stored, nobody)
	}
	if err != nil {
		d.notKept(err)
		return ours, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.head == nil || stored.Tree.N > d.head.Tree.N {
		d.head = stored
	}
	return d.head, nil
}

// nobody answers "not found", for questions to the store alone.
func nobody(context.Context, string) ([]byte, error) { return nil, fs.ErrNotExist }

// Lookup answers a lookup of m, whose path is lookup/…. Held says that the database was not
// asked. The error is an [*Error] if the database's answer is wrong, otherwise that of ask. An
// answer that can't be proved because a tile is missing is passed on unchanged.
func (d *Database) Lookup(ctx context.Context, m module.Version, path string, ask Ask) (body []byte, held bool, err error) {
	if body := d.memory.Get(path); body != nil {
		if r, err := ParseLookup(body, m); err == nil {
			if head := d.Head(ctx); head != nil && r.ID < head.Tree.N {
				return r.Answer(head.Note), true, nil
			}
		}
	}
	if body, err := d.store.GetSumDB(ctx, d.folder+"/"+path); err == nil {
		r, err := ParseLookup(body, m)
		if err == nil {
			body, err = d.admit(ctx, path, r, ask, true)
		}
		if err == nil {
			return body, true, nil
		}
		d.notKept(err) // broken, or its tiles are not all there
	}
	body, err = ask(ctx, path)
	if err != nil {
		return nil, false, err
	}
	r, err := ParseLookup(body, m)
	if err != nil {
		return nil, false, err
	}
	checked, err := d.admit(ctx, path, r, ask, false)
	if _, open := errors.AsType[*unproven](err); open {
		return body, false, nil
	}
	return checked, false, err
}

// admit proves a record, keeps it, and returns the answer to its lookup.
func (d *Database) admit(ctx context.Context, path string, r Record, ask Ask, held bool) ([]byte, error) {
	head := d.Head(ctx)
	if !held || head == nil || r.ID >= head.Tree.N {
		tree, err := ParseTree(r.Note, d.name, d.verifier)
		if err == nil && r.ID >= tree.N {
			err = malformed("record %d is not in a tree of %d", r.ID, tree.N)
		}
		if err == nil && (head == nil || r.ID >= head.Tree.N) {
			head, err = d.move(ctx, tree, r.Note, &r, ask)
		}
		if err == nil {
			err = head.agrees(tree)
		}
		if err != nil {
			return nil, err
		}
	}
	p, err := d.prove(ctx, claim{tree: head.Tree, record: &r}, head, ask)
	if err != nil {
		return nil, err
	}
	body := r.Answer(head.Note)
	if err := p.keep(); err != nil {
		d.notKept(err)
		return body, nil
	}
	if !held {
		if err := d.store.PutSumDB(ctx, d.folder+"/"+path, body); err != nil {
			d.notKept(err)
			return body, nil
		}
	}
	d.memory.Put(path, body)
	return body, nil
}

// move makes a tree the kept one, once it is proved to be what the kept one has
// grown into and, if there is a record, to have that. It returns the tree that
// is kept then, which is a later one if there is one.
func (d *Database) move(ctx context.Context, tree tlog.Tree, signed []byte, r *Record, ask Ask) (*Head, error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, &unproven{ctx.Err()}
	}
	defer func() { <-d.turn }()
	head, err := d.reload(ctx)
	if err != nil { // it may be one that this one contradicts
		d.notKept(err)
		return nil, &unproven{err}
	}
	c := claim{tree: tree, record: r}
	if head != nil {
		if head.Tree.N >= tree.N {
			return head, nil
		}
		c.older = head.Tree
	}
	p, err := d.prove(ctx, c, head, ask)
	if err != nil {
		return nil, err
	}
	err = p.keep() // first, because clients with the tree need them
	if err == nil {
		head, err = d.reload(ctx)
	}
	if err == nil && head != nil && head.Tree.N >= tree.N {
		return head, nil // another process was faster
	}
	next := p.newHead(tree, signed)
	if err == nil {
		err = d.store.PutSumDB(ctx, d.folder+"/head", next.encode())
	}
	if err != nil {
		d.notKept(err)
		return nil, &unproven{err}
	}
	d.mu.Lock()
	d.head = next
	d.mu.Unlock()
	return next, nil
}

// Latest returns what to answer for latest, where the database has said signed:
// the stored tree if it is as late, otherwise the database's, which replaces it.
// One that can't be proved for want of a tile is passed on. The error is an
// [*Error].
func (d *Database) Latest(ctx context.Context, signed []byte, ask Ask) ([]byte, error) {
	tree, err := ParseTree(signed, d.name, d.verifier)
	if err != nil {
		return nil, err
	}
	head := d.Head(ctx)
	if head == nil || tree.N == 0 {
		return signed, nil
	}
	if tree.N > head.Tree.N {
		head, err = d.move(ctx, tree, signed, nil, ask)
	}
	if err == nil {
		err = head.agrees(tree)
	}
	if _, open := errors.AsType[*unproven](err); open {
		return signed, nil
	}
	if err != nil {
		return nil, err
	}
	return head.Note, nil
}

// Tile answers a request for a tile. Held says that the database was not asked.
// What is not in the kept tree, and tiles of another height or of records, are
// passed on as they come. The error is as for Lookup.
func (d *Database) Tile(ctx context.Context, t tlog.Tile, ask Ask) (data []byte, held bool, err error) {
	if t.H == Height && t.L >= 0 && t.L < 7 {
		data, held, err = d.tile(ctx, t, ask)
	}
	if data != nil || err != nil {
		return data, held, err
	}
	data, err = ask(ctx, t.Path())
	return data, false, err
}

// tile returns a tile of the kept tree; nil if there is none, or it can't be
// proved.
func (d *Database) tile(ctx context.Context, t tlog.Tile, ask Ask) (data []byte, held bool, err error) {
	head := d.Head(ctx)
	if head != nil && t.W > width(t, head.Tree.N) {
		head, _ = d.reload(ctx)
	}
	if head == nil || t.W > width(t, head.Tree.N) {
		return nil, false, nil
	}
	if data := head.onEdge(t); data != nil {
		return data, true, nil
	}
	if data := d.memory.Get(whole(t).Path()); data != nil {
		return prefix(data, t), true, nil
	}
	p, err := d.prove(ctx, claim{tree: head.Tree, tile: whole(t)}, head, ask)
	if _, open := errors.AsType[*unproven](err); open {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if err := p.keep(); err != nil {
		d.notKept(err)
	}
	return prefix(p.tiles[whole(t)].data, t), !p.asked.Load(), nil
}
