package athens

import (
	"context"
	"iter"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
)

// Ledger is an append-only, signed log of versions and their hashes: a checksum
// database, which go commands verify against. What [sumdb.ServerOps] asks, it answers
// from the newest head that it has signed; what is not recorded, a record or a tile
// that the tree does not have yet, is [fs.ErrNotExist] there, and nothing else is.
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

	// Since yields what was recorded at a time or later, in the order of the
	// records, each with a time later than the one before. An error is the last
	// that it yields. The zero time is the beginning.
	Since(ctx context.Context, since time.Time) iter.Seq2[IndexEntry, error]

	// VerifierKey returns the public key of the ledger, NAME+HASH+KEY. Its name is
	// the database's.
	VerifierKey() string
}

// IndexEntry says when a version was recorded. Its JSON is a line of an index as
// those who follow public ones read it.
type IndexEntry struct {
	Path      string
	Version   string
	Timestamp time.Time
}
