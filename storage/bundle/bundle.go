// Package bundle carries the versions of a store to a place without a network: [Export]
// writes them to one file, and [Import] reads that file into another store.
//
//	f, err := os.Create("modules.athens")
//	summary, err := bundle.Export(ctx, store, f, &bundle.ExportOptions{Since: former})
//
//	summary, err := bundle.Import(ctx, store, f, size, &bundle.ImportOptions{Verifiers: keys})
//
// # The file
//
// A bundle is a tar file in Zstandard frames. Unpacked by hand (zstd -d, tar -x) it is a tree
// that GOPROXY=file://DIR serves. It has, in this order:
//
//	sumdb/sum.example.com/…                  answers of checksum databases
//	example.com/!mod/@v/v1.0.0.info          byte for byte
//	example.com/!mod/@v/v1.0.0.mod
//	example.com/!mod/@v/v1.0.0.zip           if it is held
//	example.com/!mod/@v/list                 the versions held that are not hidden
//	.athens/note                             the format, and the manifest's size and SHA-256, signed
//	.athens/manifest                         see [Manifest]
//
// The last two are in a frame of their own, and a skippable frame at the end of the file says
// where it begins: Export reads a store once, and Import reads the manifest first. The same store
// makes the same bytes, with the same version of this package.
//
// # Incremental bundles
//
// The manifest names everything that the store held, and says which of it is in this bundle
// and which in an earlier one. So Export needs only the last manifest to make the next
// bundle, and Import can say what is missing because an earlier bundle was left out.
//
// # What Import promises
//
// It reads the bundle twice. The first time it verifies everything: the signature if keys are
// given, names, order, sizes and hashes, each zip as a server checks a zip that it fetches, and
// that nothing contradicts what the store holds. Only then does it read the bundle again and
// store the versions. It stores them as a server does, so other processes may use the store at
// the same time, and after a crash or a full disk the same bundle can be imported again. Import
// does not touch versions that the store holds already.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// SumDBLister is an optional ability of an [athens.SumDBStore]: to list what it keeps.
// Export leaves the answers of checksum databases out of a bundle if a store lacks it.
type SumDBLister interface {
	// AllSumDB yields the names that GetSumDB knows, in any order.
	AllSumDB(ctx context.Context) iter.Seq2[string, error]
}

// MarkLister is an optional ability of an [athens.Remover]: to list its marks. Without it
// Export finds those of modules that have a version left.
type MarkLister interface {
	// AllMarks yields the marks of all modules, in any order.
	AllMarks(ctx context.Context) iter.Seq2[athens.BlockedError, error]
}

// ZipHasher is an optional ability of an [athens.Storage]: to know the h1 of a zip without
// reading it. Without it Import reads the zips that are held and in the bundle too.
type ZipHasher interface {
	// ZipHash returns the h1 of the zip of m that is held. If none is, the error is
	// [fs.ErrNotExist].
	ZipHash(ctx context.Context, m module.Version) (string, error)
}

// Progress says how far an export or import has come.
type Progress struct {
	Versions   int   // versions that are done
	Of         int   // versions there are
	Bytes      int64 // of the bundle's content that are done
	Verified   bool  // an import has verified the bundle and stores now
	TotalBytes int64 // of the bundle's content; 0 if that is not known yet
}

// Summary says what an export has written, or an import has stored.
type Summary struct {
	Versions int   // versions in the bundle
	Zips     int   // of them, those with a zip
	SumDB    int   // answers of checksum databases in the bundle
	Removed  int   // versions that the bundle marks as removed
	Hidden   int   // versions that the bundle marks as hidden
	Before   int   // versions and answers that the manifest leaves to an earlier bundle
	Bytes    int64 // of the content, unpacked
	SignedBy []string

	// Of an import

	Stored      int // versions and zips that were stored; the others were held
	StoredSumDB int // answers of checksum databases that were stored
	Marked      int // marks that were set or lifted
	RemovedHere int // versions of the bundle that this store has removed, and not taken
	Lacking     int // versions that an earlier bundle has brought and that are not held
	// OnlyMod counts the versions of which [ImportFolder] has found the .mod alone, as a go command
	// keeps it of most versions. They are not stored, and not damaged.
	OnlyMod int
	// KeptHeads names the checksum databases whose newer tree in the bundle could not be
	// shown to continue the stored one, because a tile is in neither. The stored one stays.
	KeptHeads []string

	// Of an export

	// LeftOut is why versions that are held are not in the bundle: a file is damaged, or
	// the .info is lacking.
	LeftOut []error
}

// FormatError says that a file is no bundle, or one that must not be used.
type FormatError struct{ Err error }

func (e *FormatError) Error() string { return "bundle: " + e.Err.Error() }

// Unwrap returns Err.
func (e *FormatError) Unwrap() error { return e.Err }

// bad is a [*FormatError].
func bad(format string, args ...any) error { return &FormatError{fmt.Errorf(format, args...)} }

// errNewer says that a bundle was made by a later version of this package.
var errNewer = errors.New("the bundle has a newer format than this program reads: use the version that made it")

// Sizes in bytes.
const (
	maxInfo  = 1 << 20
	maxMod   = 32 << 20
	maxZip   = modzip.MaxZipFile
	maxSum   = 1 << 20
	maxLine  = 64 << 10  // of a manifest
	maxNote  = 64 << 10  // the note with its signatures
	maxFrame = 8 << 20   // the window of a zstd frame
	small    = 256 << 10 // what is passed to another goroutine, and not handled at once
)

// defaultManifestBytes is enough for about a million versions.
const defaultManifestBytes = 256 << 20
