package athens

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Ledger is an append-only, signed log of versions and their hashes: a checksum
// database, which go commands verify against. What [sumdb.ServerOps] asks, it answers
// from the newest head that it has signed; what is not recorded, a record or a tile
// that the tree does not have yet, is [fs.ErrNotExist] there, and nothing else is.
// Lookup of a ledger that another server records for may also return an answer of that
// server, one of this package's errors. A [*MissingError] then means that the version will
// not be recorded, so it is not stored either.
//
// Append-only: every tree whose head was ever returned is the beginning of all later
// ones, also after a crash, and a ledger that can't keep that refuses to answer.
//
// Concurrency: all methods may be called at once from many goroutines. Whether
// several processes may add, the implementation says itself.
//
// Cancellation: a method returns soon after its context is done; an addition may
// then happen all the same.
//
// ledger/ledgertest checks these promises on any implementation.
type Ledger interface {
	sumdb.ServerOps

	// Add records the hashes of a version's zip and .mod, as go.sum has them, and
	// returns the record's number. On return the record is durable, and so is a
	// signed head that covers it, which Signed returns from then on. Adding the same
	// again changes nothing. Other hashes for a recorded version are a
	// [*ConflictError], and are not recorded.
	Add(ctx context.Context, m module.Version, zipHash, modHash string) (id int64, err error)

	// Since calls yield for each version that was recorded at a time or later, with
	// the time in UTC, until yield returns false. They come in the order of the records,
	// each with a time later than the one before. The zero time is the beginning.
	Since(ctx context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error

	// VerifierKey returns the public key of the ledger, NAME+HASH+KEY. Its name is
	// the database's.
	VerifierKey() string
}

// ledgerBook is a handler's ledger.
type ledgerBook struct {
	ledger Ledger
	name   string       // of the database
	size   atomic.Int64 // records, as far as this handler has seen
}

// newLedgerBook returns nil if there is no ledger.
func newLedgerBook(l Ledger) (*ledgerBook, error) {
	if l == nil {
		return nil, nil
	}
	verifier, err := note.NewVerifier(l.VerifierKey())
	if err != nil {
		return nil, fmt.Errorf("athens: the key of Ledger: %w", err)
	}
	return &ledgerBook{ledger: l, name: verifier.Name()}, nil
}

// measure learns how many records there are.
func (b *ledgerBook) measure(ctx context.Context) {
	signed, err := b.ledger.Signed(ctx)
	if err != nil {
		return // what asks for it next says why
	}
	b.see(signed)
}

// see notes the size of a signed tree.
func (b *ledgerBook) see(signed []byte) {
	text, _, _ := bytes.Cut(signed, []byte("\n\n")) // the signatures
	if tree, err := tlog.ParseTree(append(text[:len(text):len(text)], '\n')); err == nil {
		b.grow(tree.N)
	}
}

// grow notes that there are so many records.
func (b *ledgerBook) grow(n int64) {
	for old := b.size.Load(); n > old && !b.size.CompareAndSwap(old, n); {
		old = b.size.Load()
	}
}

// records returns how many records there are.
func (b *ledgerBook) records() int64 {
	if b == nil {
		return 0
	}
	return b.size.Load()
}

// carries reports whether a database is the ledger.
func (b *ledgerBook) carries(name string) bool { return b != nil && b.name == name }

// ledgerFault is the error of a ledger. One that another server records for may have an
// answer of that server: that stays what it is.
func ledgerFault(err error) error {
	if outermost(err) != nil {
		return err
	}
	return &storeError{err}
}

// text returns the record of m; what has none is fs.ErrNotExist.
func (b *ledgerBook) text(ctx context.Context, m module.Version) ([]byte, error) {
	id, err := b.ledger.Lookup(ctx, m)
	if err != nil {
		return nil, err
	}
	return b.record(ctx, id)
}

// record returns the text of a record that is there.
func (b *ledgerBook) record(ctx context.Context, id int64) ([]byte, error) {
	texts, err := b.ledger.ReadRecords(ctx, id, 1)
	if err == nil && len(texts) != 1 {
		err = fmt.Errorf("the ledger returns %d records for one", len(texts))
	}
	if err != nil {
		return nil, &storeError{err}
	}
	return texts[0], nil
}
