// Package ledgertest checks that an implementation of [athens.Ledger] keeps its
// promises. [Run] needs to know only how the ledger is opened.
//
//	func TestKit(t *testing.T) {
//		ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
//			dir := t.TempDir()
//			return func() (athens.Ledger, error) { return ledger.New(dir, key, nil) }
//		})
//	}
//
// The promises are a table, [Cases]; a case uses nothing but the contract, and
// verifies what the ledger says as a client does, with golang.org/x/mod. What only
// the implementation can show (that it survives kill -9, a full medium and a copy
// from yesterday) stays with the implementation's own tests.
package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// Open opens the ledger under test. Each call opens the same medium again, after
// what it returned before was closed, if it is an [io.Closer].
type Open func() (athens.Ledger, error)

// Case is one promise.
type Case struct {
	Name    string // what the test is called
	Promise string // what a ledger promises
	// Check returns an error that says how the ledger broke the promise. The
	// medium must be empty before.
	Check func(ctx context.Context, open Open) error
}

// Cases returns all promises, the simple ones first.
func Cases() []Case { return slices.Concat(addCases, readCases, growCases) }

// caseTime bounds a case; all of them together take a second on memory.
const caseTime = 2 * time.Minute

// Run checks each case on a medium of its own, which medium makes, empty.
func Run(t *testing.T, medium func(t *testing.T) Open) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			if err := c.Check(ctx, medium(t)); err != nil {
				t.Errorf("%v\npromise: %s", err, c.Promise)
			}
		})
	}
}

// alone makes a check that opens the ledger once.
func alone(check func(ctx context.Context, l athens.Ledger) error) func(context.Context, Open) error {
	return func(ctx context.Context, open Open) error {
		l, err := open()
		if err != nil {
			return err
		}
		return errors.Join(check(ctx, l), closed(l))
	}
}

// closed closes a ledger that can be.
func closed(l athens.Ledger) error {
	if c, ok := l.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Sample is a version with made-up hashes.
type Sample struct {
	Module       module.Version
	Zip, ModHash string
}

// NewSample makes a version from a number, with hashes that depend on content too.
func NewSample(n int, content string) Sample {
	m := module.Version{Path: "example.com/Mod", Version: fmt.Sprintf("v1.%d.0", n)}
	return Sample{m, hash(m.String() + content), hash(m.String() + "/go.mod" + content)}
}

// hash makes a hash as go.sum has it.
func hash(s string) string { return "h1:" + tlog.RecordHash([]byte(s)).String() }

// Text is the sample's record.
func (s Sample) Text() string {
	return fmt.Sprintf("%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n", s.Module.Path, s.Module.Version, s.Zip, s.ModHash)
}

// Add adds the sample.
func (s Sample) Add(ctx context.Context, l athens.Ledger) (int64, error) {
	id, err := l.Add(ctx, s.Module, s.Zip, s.ModHash)
	if err != nil {
		return 0, fmt.Errorf("Add of %s: %w", s.Module, err)
	}
	return id, nil
}

// Proved checks that a ledger has the sample's record, and that the newest signed
// tree covers it.
func (s Sample) Proved(ctx context.Context, l athens.Ledger) error {
	id, err := l.Lookup(ctx, s.Module)
	if err != nil {
		return fmt.Errorf("Lookup of %s: %w", s.Module, err)
	}
	texts, err := l.ReadRecords(ctx, id, 1)
	if err != nil || len(texts) != 1 || string(texts[0]) != s.Text() {
		return fmt.Errorf("ReadRecords of %d returns %q, %v, want %q", id, texts, err, s.Text())
	}
	tree, err := Head(ctx, l)
	if err != nil {
		return err
	}
	if id >= tree.N {
		return fmt.Errorf("the newest head has %d records, which does not cover record %d", tree.N, id)
	}
	proof, err := tlog.ProveRecord(tree.N, id, tlog.TileHashReader(tree, tiles{ctx, l}))
	if err != nil {
		return fmt.Errorf("record %d can't be proved in a tree of %d: %w", id, tree.N, err)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, id, tlog.RecordHash(texts[0])); err != nil {
		return fmt.Errorf("record %d: %w", id, err)
	}
	return nil
}

// Head returns the newest signed tree of a ledger, whose signature it checks.
func Head(ctx context.Context, l athens.Ledger) (tlog.Tree, error) {
	signed, err := l.Signed(ctx)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("Signed: %w", err)
	}
	return ParseHead(signed, l.VerifierKey())
}

// ParseHead reads a signed tree, and checks its signature by a public key.
func ParseHead(signed []byte, key string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("VerifierKey: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the head is not signed by %s: %w", key, err)
	}
	return tlog.ParseTree([]byte(n.Text))
}

// Extends checks that a tree that a ledger signed once is the beginning of its newest.
func Extends(ctx context.Context, l athens.Ledger, old tlog.Tree) error {
	tree, err := Head(ctx, l)
	if err != nil {
		return err
	}
	if tree.N < old.N {
		return fmt.Errorf("the head went back from %d records to %d", old.N, tree.N)
	}
	if tree.N == old.N && tree.Hash != old.Hash {
		return fmt.Errorf("two heads of %d records differ", tree.N)
	}
	if old.N == 0 || tree.N == old.N {
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, tlog.TileHashReader(tree, tiles{ctx, l}))
	if err != nil {
		return fmt.Errorf("the tree of %d records can't be compared with that of %d: %w", old.N, tree.N, err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("the tree of %d records is not the beginning of that of %d: %w", old.N, tree.N, err)
	}
	return nil
}

// tiles reads a ledger's tiles as a client does.
type tiles struct {
	ctx context.Context
	l   athens.Ledger
}

func (tiles) Height() int { return 8 }

func (r tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range want {
		data, err := r.l.ReadTileData(r.ctx, t)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// missing checks that an error says that something is not recorded.
func missing(what string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the error is %v, want fs.ErrNotExist", what, err)
	}
	return nil
}

// size checks how many records the newest head has.
func size(ctx context.Context, l athens.Ledger, want int64) error {
	tree, err := Head(ctx, l)
	if err == nil && tree.N != want {
		err = fmt.Errorf("the newest head has %d records, want %d", tree.N, want)
	}
	return err
}
