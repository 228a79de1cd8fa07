package athens

import (
	"context"
	"iter"

	"golang.org/x/mod/module"
)

// Optional abilities: an implementation of a contract may also satisfy these
// interfaces. Callers discover them with a type assertion.

// Lister is an optional ability of a [Storage]: to list everything that it holds.
type Lister interface {
	// All yields the versions that Versions lists, for all modules. The versions of a
	// module follow one another in semantic version order; the order of the modules
	// is not defined. A version that is held during the whole walk is yielded once;
	// one that is stored or removed meanwhile may be yielded. The walk keeps at most
	// one module's versions in memory. What can't be read is yielded as an error,
	// with the module's path if it is known; the walk then continues with the rest
	// where it can. When ctx is done, its error is the last.
	All(ctx context.Context) iter.Seq2[module.Version, error]
}

// SumDBStore is an optional ability of a [Storage]: to keep answers of checksum
// databases, so that builds can be verified while no database can be reached.
//
// A name is a path as [fs.ValidPath] wants it, escaped by the caller and of at
// most 4096 bytes: sum.example.com/tile/8/0/x001/234, as it stands behind
// sumdb/ in a URL. No name lies below another. Data under a name stays valid forever
// and is rarely put again. The exception is NAME/head, which newer data replaces:
// GetSumDB must return what was put last.
//
// Concurrency, cancellation: as for the other methods of a [Storage].
//
// Bounds: a store limits how many bytes it keeps and documents the limit. PutSumDB
// returns an error for data that would exceed it.
type SumDBStore interface {
	// GetSumDB returns what was put under name, which the caller may change.
	// If nothing was, the error is [fs.ErrNotExist], and only then.
	GetSumDB(ctx context.Context, name string) ([]byte, error)

	// PutSumDB stores data under name, in place of older data: readers see either the
	// old or the new data as a whole, also after a crash. It is durable on return.
	// Data has at least one byte and at most 1 MiB; the caller may change it
	// afterwards.
	PutSumDB(ctx context.Context, name string, data []byte) error
}

// SumDBKey is an optional ability of [Checksums]: to name the key of their database.
// The handler then stores and passes on only answers that this key has signed.
type SumDBKey interface {
	// VerifierKey returns the database's key, NAME+HASH+KEY.
	VerifierKey() string
}

// ZipLocator is an optional ability of a [Storage]: to let clients download a zip from
// the place where it is stored.
type ZipLocator interface {
	// ZipURL returns an absolute URL from which a client can download the zip of m for
	// a while, with a GET request and no other credentials. The handler calls it for
	// each GET of a whole zip that Open has found. It streams the zip itself if the URL
	// is empty, if there is an error, which it logs, or if the client can't be
	// redirected to the URL.
	ZipURL(ctx context.Context, m module.Version) (string, error)
}

// Rechecker is an optional ability of a [Storage]: to check a version that it holds.
type Rechecker interface {
	// Recheck is called after a file of m could not be opened or read to its end,
	// because of [syscall.EIO] or because it was too short. The store compares the files
	// with their recorded hashes and reports whether one is damaged. It does not serve a
	// damaged file again: Open says that it is not held, and Put or Commit accept the
	// same content again; other content is a [*ConflictError].
	Recheck(ctx context.Context, m module.Version) (damaged bool, err error)
}

// Remover is an optional ability of a [Storage]: to take back what it holds. A version
// may be marked whether it is held or not, and a new mark takes the place of an older one.
//
// Concurrency, cancellation, atomicity: as for the other methods of a [Storage]. A body
// that was opened before a Remove or an Evict is read to its end, or its Read fails.
type Remover interface {
	// Remove marks m as removed and deletes its files. From then on Open, Put and Commit
	// return a [*BlockedError] with Removed and the reason, and Versions does not list m.
	Remove(ctx context.Context, m module.Version, reason string) error
	// Hide marks m as hidden, and changes nothing else: a handler leaves it out of lists
	// and @latest, and serves it to clients that ask for that version.
	Hide(ctx context.Context, m module.Version, reason string) error
	// Restore takes the mark of m away, if it has one. What was removed is then not held
	// until it is Put again. A store that recorded its hashes accepts the same content only.
	Restore(ctx context.Context, m module.Version) error
	// Marks returns the marks of a module's versions: whether each is Removed, and the
	// Reason.
	Marks(ctx context.Context, path string) (map[string]BlockedError, error)
	// Evict deletes m without a mark, as if it had never been stored; what its source
	// offers next is accepted. A mark that m has stays. An m that is not held is no error.
	Evict(ctx context.Context, m module.Version) error
}

// SumDBUpstream is an optional ability of an [Upstream]: to proxy requests to a
// checksum database.
type SumDBUpstream interface {
	// SumDB returns the body of the answer for protocolPath, the part of the URL after
	// the upstream's base: sumdb/NAME/…. If the upstream does not proxy that database,
	// the error is a [*MissingError].
	SumDB(ctx context.Context, protocolPath string) ([]byte, error)
}
