// Package athens runs Go module proxies and registries inside any Go program.
//
// Two servers come out of one set of parts:
//
//   - a proxy serves the versions that it holds, redirects a miss to its upstream
//     and fills its own store later; it fetches private modules from version control;
//   - a registry has no upstream: it fetches a version that it does not hold from
//     version control, once, and never changes it.
//
// [NewHandler] speaks the GOPROXY protocol over four contracts, and each has a
// reference implementation in the folder beside it:
//
//   - [Storage] keeps versions (storage/, over any afero.Fs);
//   - [Fetcher] gets them from version control (fetcher/, with go-git);
//   - [Upstream] gets them from a registry, or sends clients there (redirect/);
//   - [FillScheduler] catches up in the background (fill/).
//
// The protocol is the one that "go help goproxy" and
// https://go.dev/ref/mod#goproxy-protocol describe.
package athens

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/module"
)

// File names one of the three files that a module version consists of.
type File uint8

// The files of a module version.
const (
	InfoFile File = iota + 1 // .info: the version's JSON metadata, see [Info]
	ModFile                  // .mod: its go.mod, or the one made up for it
	ZipFile                  // .zip: its source
)

// String returns the file's extension without the dot, as the GOPROXY
// protocol spells it: "info", "mod" or "zip".
func (f File) String() string {
	switch f {
	case InfoFile:
		return "info"
	case ModFile:
		return "mod"
	case ZipFile:
		return "zip"
	}
	return "unknown"
}

// Info is the content of a .info file.
type Info struct {
	Version string    // canonical version
	Time    time.Time // commit time, UTC
	Origin  *Origin   `json:",omitempty"` // where it came from, where that is known

	// Raw is the .info as a server sent it. It is stored and served byte for byte. If
	// it is nil, the fields were made from a commit. See [Info.Encode].
	Raw []byte `json:"-"`
}

// Origin is a version's provenance, field by field as the go command writes it
// (see "go help mod download" and Origin in cmd/go/internal/modfetch/codehost).
type Origin struct {
	VCS       string `json:",omitempty"` // version control system, such as "git"
	URL       string `json:",omitempty"` // URL of the repository, never with credentials
	Subdir    string `json:",omitempty"` // the module's folder in the repository
	Hash      string `json:",omitempty"` // commit
	TagPrefix string `json:",omitempty"` // the answer depends on tags with this prefix …
	TagSum    string `json:",omitempty"` // … which had this checksum
	Ref       string `json:",omitempty"` // the reference that named the commit, in full
	RepoSum   string `json:",omitempty"` // checksum of all references, for what does not exist
}

// Object is one stored file, open for reading.
type Object struct {
	// Body is the content, at its start. The caller that got the Object closes it. If
	// Body is an *os.File, the kernel copies it to the client. A remote store may send
	// its first request at the first Read, so that a Seek costs nothing.
	Body io.ReadSeekCloser
	// Size is the length of Body in bytes.
	Size int64
	// ModTime is when the file was stored; zero if that is not known.
	ModTime time.Time
	// ETag is a strong entity tag with its quotes. If it is empty, the
	// handler derives one from ModTime and Size.
	ETag string
}

// Storage holds module versions and never changes one.
//
// A version is held as soon as its .info and .mod are, and whole once its zip is too:
// a go command reads only the .mod of most versions of a module graph. Paths and
// versions are unescaped; a Storage escapes them for its own medium. Callers have
// checked them with [module.Check], and versions are canonical. An .info that names
// another version is an [*InvalidError].
//
// Concurrency: all methods may be called at once from many goroutines. The
// implementation documents whether several processes may share the medium.
//
// Cancellation: a method returns soon after its context is done, with its whole effect
// or none.
//
// Atomicity: readers see the whole effect of a Put or Commit or none of it, also after
// the process was killed or the machine lost power in the middle. A crash leaves a
// version absent, held without its zip, or whole.
//
// Errors: an error that is not described here means that the store failed; the
// handler answers it with 503, or 507 when the medium is full.
//
// storage/storagetest checks these promises on any implementation.
type Storage interface {
	// Open opens one file of a version. If the version, or its zip, is not
	// held, the error is [fs.ErrNotExist], and only then. The caller closes
	// the Object's Body; the context bounds the opening and, on remote
	// stores, the reading.
	Open(ctx context.Context, m module.Version, f File) (*Object, error)

	// Put stores .info, which is what info.Encode returns, and .mod. They become
	// visible together and are durable on return. If m is held, Put changes
	// nothing: it returns nil when mod has the held bytes, info the held Version,
	// where both have one the held Origin.Hash, and, unless it has Raw, the held
	// Time; otherwise a [*ConflictError]. An info with Raw is what a server says:
	// two honest servers may differ in all but the commit.
	// A medium that was adopted with the .mod alone is given the .info.
	Put(ctx context.Context, m module.Version, info *Info, mod []byte) error

	// Stage opens a place to write one zip to. The caller must Close it, even after
	// Commit. If the process dies first, a later process cleans up what it left.
	Stage(ctx context.Context) (Stage, error)

	// Versions lists the held versions of one module path, pseudo-versions
	// included, in semantic version order. None held is an empty list.
	Versions(ctx context.Context, path string) ([]string, error)
}

// Stage is a zip on its way into a [Storage]. One goroutine writes; beside it
// any number may call ReadAt for what has been written, until Close.
type Stage interface {
	io.Writer
	io.ReaderAt

	// Commit makes what was written the zip of m, durable on return. h1 is
	// its hash as [golang.org/x/mod/sumdb/dirhash.Hash1] defines it; the
	// caller has computed it from the written bytes. If m was not Put before, the error is
	// [fs.ErrNotExist]. If m has a zip, nothing changes: Commit returns nil
	// when its hash is h1, and otherwise a [*ConflictError]. Nothing is written
	// after Commit, but ReadAt still works.
	Commit(ctx context.Context, m module.Version, h1 string) error

	// Close ends the stage and discards what was not committed. A second
	// Close does nothing.
	Close() error
}

// Fetcher gets modules from a source of truth.
//
// Missing: only a definite "there is no such module or version" is a
// [*MissingError], because it becomes a 404 that makes a go command ask elsewhere. In
// particular, an [fs.ErrNotExist] from a file, a socket or a command is an outage. An
// outage is best returned as an [*UnavailableError]; any other error counts as one. An
// error that a retry can't change satisfies [Final].
//
// Concurrency: all methods may be called at once from many goroutines; equal calls that
// run at once should share the work.
//
// Cancellation: a method returns soon after its context is done; work shared
// with other callers goes on for them.
//
// Nothing a Fetcher returns is trusted: the handler checks it before it is
// stored. fetcher/fetchertest checks these promises on any implementation.
type Fetcher interface {
	// Versions lists the tagged versions of a module, as
	// "go list -m -versions" would show them: canonical, without
	// pseudo-versions, in semantic version order. A module without tags has
	// an empty list.
	Versions(ctx context.Context, path string) ([]string, error)

	// Resolve turns a query into a version: "latest", a branch, a tag, a
	// commit hash, or a version prefix such as "v1" or "v1.2".
	// See https://go.dev/ref/mod#version-queries. The caller may change the
	// returned Info.
	Resolve(ctx context.Context, path, query string) (*Info, error)

	// Fetch prepares to read one canonical version. A Fetcher of version
	// control binds the Content to one commit here, so that its three parts
	// agree although a tag moves; an Upstream need not ask anything yet.
	Fetch(ctx context.Context, m module.Version) (Content, error)
}

// Content is one version at its source. The handler calls each method at most once, in
// any order, and several at the same time. There is nothing to close.
type Content interface {
	// Info returns the .info; the caller may change it.
	Info(ctx context.Context) (*Info, error)
	// Mod returns the .mod, which a version may lack although it has an
	// .info: then the error is a [*MissingError]. Nobody changes it afterwards.
	Mod(ctx context.Context) ([]byte, error)
	// Zip writes the .zip. After an error, what was written is worthless.
	Zip(ctx context.Context, w io.Writer) error
}

// Upstream is a server that speaks the GOPROXY protocol, such as a registry.
// As a [Fetcher] it is how this server gets modules; Location is how its
// clients do. Its requests carry the Via header in [RequestInfo].
type Upstream interface {
	Fetcher

	// Location returns the URL at which a client gets protocolPath, such as
	// "example.com/mod/@v/v1.0.0.info". An empty URL says that clients can't
	// be sent there (it holds credentials, for example): the handler then
	// fetches for them. If the upstream is known to be down, the error is an
	// [*UnavailableError]. Location is on the path of every redirected miss:
	// it does not ask the upstream about protocolPath.
	Location(ctx context.Context, protocolPath string) (string, error)
}

// Fill is a version that should be fetched into the store later.
type Fill struct {
	Module module.Version
	Zip    bool // fetch the zip too, not only .info and .mod
}

// FillScheduler runs fills later, with its own rules for delay, order and retry.
//
// Coalescing: while a fill is pending, scheduling it again adds nothing; a fill
// with Zip takes the place of one without.
//
// Durability: the implementation documents whether scheduled fills survive the process.
// A fill may run more than once; it has the same effect. The handler schedules a pending
// zip before it stores the .mod, so no zip is forgotten where fills survive from
// Schedule's return on.
//
// Errors: Schedule fails when the scheduler is full or closed; the next miss of the same
// version schedules the fill again.
//
// fill/filltest checks these promises on any implementation.
type FillScheduler interface {
	// Schedule asks for f to run, no sooner than after from now. It may be
	// called from many goroutines, before Run and during it; it does not
	// wait for the fill. The fill does not depend on ctx once Schedule has
	// returned nil. After Run has ended it fails, unless what is scheduled
	// survives for the next Run.
	Schedule(ctx context.Context, f Fill, after time.Duration) error

	// Run calls fill for each fill that is due, several at once, until ctx is done.
	// Then it waits for running fills, at most for a grace period of its own, and
	// returns nil. A fill that fails is retried later unless its error satisfies
	// [Final]. Run is called once.
	Run(ctx context.Context, fill func(context.Context, Fill) error) error
}

// Checksums looks up hashes in a checksum database.
// [*golang.org/x/mod/sumdb.Client] is one.
type Checksums interface {
	// Lookup returns the go.sum lines of a version; "/go.mod" at the end of
	// version asks for those of its go.mod. A version that the database does not
	// know is a [*MissingError]; a database that contradicts itself is an
	// [*InvalidError].
	Lookup(path, version string) (lines []string, err error)
}

// Encode returns the bytes of the .info file: Raw if it is set, which must be JSON that
// names i.Version, and otherwise what the go command would write.
func (i *Info) Encode() ([]byte, error) {
	if i.Raw != nil {
		var said struct{ Version string }
		if err := json.Unmarshal(i.Raw, &said); err != nil {
			return nil, fmt.Errorf("the .info is not the JSON of a version: %w", err)
		}
		if said.Version != i.Version {
			return nil, fmt.Errorf("the .info names version %.80q, not %.80q", said.Version, i.Version)
		}
		return i.Raw, nil
	}
	written := *i
	written.Time = i.Time.UTC()
	return json.Marshal(&written)
}
