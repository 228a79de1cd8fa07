package athens

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"golang.org/x/mod/module"
)

// Optional abilities: small interfaces that an implementation of a contract may
// also satisfy, and that who wants the ability looks for.

// Lister is an optional ability of a [Storage]: to name all that it holds.
type Lister interface {
	// All walks over the held versions, those that Versions lists. The
	// versions of a module follow one another in semantic version order; the
	// modules come in no order. What is held all the while is named once; what
	// is stored or removed meanwhile may be named. The walk keeps no more in
	// memory than one module's versions. What can't be read is an error, with
	// the module's path if that is known, after which the walk goes on with
	// the rest where it can. Once ctx is done its error is the last.
	All(ctx context.Context) iter.Seq2[module.Version, error]
}

// SumDBStore is an optional ability of a [Storage]: to keep what checksum
// databases said, so that builds are verified while no database can be asked.
//
// A name is a path as [fs.ValidPath] wants it, escaped by the caller and of at
// most 4096 bytes: sum.example.com/tile/8/0/x001/234, as it stands behind
// sumdb/ in a URL. No name lies below another. What is put under a name stays
// right for ever, and is put again rarely; only NAME/head is replaced by what is
// newer, and has to be read as it was put last.
//
// Concurrency, cancellation: as for the other methods of a [Storage].
//
// Bounds: a store limits how much it keeps of all this, and says what its
// limit is. What is too much is refused with an error.
type SumDBStore interface {
	// GetSumDB returns what was put under name, which the caller may change.
	// If nothing was, the error is [fs.ErrNotExist], and only then.
	GetSumDB(ctx context.Context, name string) ([]byte, error)

	// PutSumDB keeps data under name, in place of what was there: others see
	// all of the one or of the other, also after a crash. It is durable on
	// return. Data is not empty, has at most 1 MiB, and may be changed
	// afterwards.
	PutSumDB(ctx context.Context, name string, data []byte) error
}

// SumDBKey is an optional ability of [Checksums]: to say by whose signature
// they go. Answers of that database that clients ask for are then kept and
// passed on only with it.
type SumDBKey interface {
	// VerifierKey returns the database's key, NAME+HASH+KEY.
	VerifierKey() string
}

// ZipLocator is an optional ability of a [Storage]: to let clients read a zip from
// where it is kept.
type ZipLocator interface {
	// ZipURL returns an absolute URL at which a client gets the zip of m with
	// a GET request, for a while and without further credentials. The handler
	// asks for each GET of a whole zip that Open has found. An empty URL means
	// that the handler streams the zip, as it also does after an error, which
	// it logs, and where the client can't be sent to the URL.
	ZipURL(ctx context.Context, m module.Version) (string, error)
}

// Rechecker is an optional ability of a [Storage]: to look closer at what it holds.
type Rechecker interface {
	// Recheck says that a file of m could not be opened or read to its end, because
	// of [syscall.EIO] or because it was too short. The store
	// compares the version with what it has written down of it, reports whether
	// a file was damaged, and does not serve such a file again: Open then says
	// that it is not held, and what Put or Commit bring in its place is the same
	// again, or a [*ConflictError].
	Recheck(ctx context.Context, m module.Version) (damaged bool, err error)
}

// SumDBUpstream is an optional ability of an [Upstream]: to pass on requests to
// a checksum database.
type SumDBUpstream interface {
	// SumDB returns the body for sumdb/NAME/…, given as protocolPath: the
	// part of the URL after the upstream's base. If the upstream does not
	// carry that database, the error is a [*MissingError].
	SumDB(ctx context.Context, protocolPath string) ([]byte, error)
}

// AttrsHandler is an optional ability of the [slog.Handler] of Options.Logger: to
// write a request's line without an allocation.
type AttrsHandler interface {
	// HandleAttrs is Handle for a record with these attributes and no source
	// position. It keeps nothing of attrs, which the next line uses again.
	HandleAttrs(ctx context.Context, t time.Time, level slog.Level, msg string, attrs []slog.Attr) error
}
