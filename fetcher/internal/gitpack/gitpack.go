// Package gitpack does what "git index-pack" and "git cat-file" do: it checks a
// pack that a server sent, computes the hashes of its objects, writes the pack's
// index, and reads the objects. It works on files, so its memory depends
// on the number of objects and not on their sizes. A [budget.Job] counts all its
// work.
//
// It is written by hand because go-git's packfile parser keeps whole objects in
// memory: 831 MB for a file of 150 MB and a delta of it, where this package
// takes 20 MB. go-git's reader keeps a pack's index in memory too, and neither
// can be stopped.
//
//   - unpack.go reads a pack once from start to end (scan.go) and
//     hashes the objects that are not deltas;
//   - resolve.go resolves the deltas (delta.go), one chain after the other;
//   - index.go writes the index of the objects that stay in the pack;
//   - store.go finds objects in packs (lookup.go) and loose ones, and
//     object.go reads them.
package gitpack

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// An Error says what is wrong with a pack. Fetching the same pack again does not
// help.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

func errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// ErrBase is wrapped by errors about a base that [Bases] returned: the base is damaged
// and not the pack.
var ErrBase = errors.New("a delta's base can't be read")

// Bases are objects fetched earlier. A thin pack has deltas against
// them.
type Bases interface {
	// Base opens an object. If there is none, the error is
	// [plumbing.ErrObjectNotFound]. The caller must close content.
	Base(hash plumbing.Hash) (kind plumbing.ObjectType, size int64, content io.ReadCloser, err error)
}

// Limits bound what a pack may cost beside its job's memory and steps.
type Limits struct {
	ObjectBytes int64 // of one object
	MemoryBytes int64 // of the bases of deltas that are kept in memory
	LargeBytes  int64 // objects with more than these are never held in memory
	ChainBytes  int64 // of all objects that a delta is made from, one after the other
	// Disk is called with the number of bytes written beside the pack, or with a
	// negative number when they are removed. Nil means no limit.
	Disk func(n int64) error
}

// DefaultLimits returns the limits that a [Store] expects of the packs it reads.
func DefaultLimits() Limits {
	return Limits{ObjectBytes: 4 << 30, MemoryBytes: 8 << 20, LargeBytes: largeBytes, ChainBytes: 128 << 20}
}

// largeBytes is the size of the largest object that a Store makes from a delta,
// and of the largest base.
const largeBytes = 8 << 20

// The steps and the memory charged to a job for work that is not measured in
// bytes.
const (
	objectSteps = 4 << 10  // for each object that is looked at: it is found and inflated
	fileSteps   = 32 << 10 // for each file that is made
	opSteps     = 64       // for each operation of a delta
	entryBytes  = 64       // of memory, for each object of a pack
	refBytes    = 24       // of memory, for each delta whose base has a name
	fileBytes   = 4 << 10  // of disk, for each file beside its content
)

// minObjectBytes is what the smallest object has in a pack: a byte of head, and
// nothing deflated.
const minObjectBytes = 9

// A Pack is a checked pack whose objects are all hashed.
type Pack struct{ u *unpacker }

// Unpack checks a pack of size bytes, as a part of job, which is also charged
// for the Pack that is returned. Objects that readers would have to hold in
// memory to make more than Limits.LargeBytes, or to make in too many steps, are
// written below dir, an objects folder, one by one. If held is not nil, the pack
// may be thin, and every object is written there. The files that a failed Unpack
// has written stay; the caller removes dir.
func Unpack(job *budget.Job, pack *os.File, size int64, dir string, held Bases, limits Limits) (*Pack, error) {
	u := &unpacker{job: job, limits: limits, pack: pack, size: size, dir: dir, held: held, thin: held != nil}
	if err := u.run(); err != nil {
		return nil, err
	}
	return &Pack{u}, nil
}

// Sum returns the pack's checksum, after which git names its files.
func (p *Pack) Sum() []byte { return p.u.packSum }

// WriteIndex writes the index, version 2, of those objects that are not written
// one by one.
func (p *Pack) WriteIndex(name string) error {
	n := int64(len(p.u.list))
	if err := p.u.job.Step(n * objectSteps / 4); err != nil {
		return err
	}
	if err := p.u.space(fileBytes + n*32); err != nil {
		return err
	}
	return writePackIndex(name, p.u.list, p.u.packSum)
}
