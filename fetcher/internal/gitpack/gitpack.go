// Package gitpack does what "git index-pack" does: it checks a pack that a
// server sent, finds the names of its objects and makes the pack's index. It
// reads the pack from a file, so that its memory depends on the number of
// objects and not on their sizes.
//
// It is written by hand because go-git's packfile parser keeps whole objects in
// memory: 831 MB for a file of 150 MB and a delta of it, where this package
// takes 20 MB.
//
//   - unpack.go reads a pack once from its beginning to its end (scan.go) and
//     names the objects that are stored whole;
//   - resolve.go goes through the deltas (delta.go), each chain to its end;
//   - index.go writes the index of what stays in the pack.
package gitpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// An Error says what is wrong with a pack. No other copy of the same pack would
// be accepted.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

func errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// ErrBase is wrapped by an error about a base that [Bases] returned: it is not
// the pack that is damaged.
var ErrBase = errors.New("a delta's base can't be read")

// Bases are the objects that are held already. A thin pack has deltas against
// them.
type Bases interface {
	// Base opens an object. If it is not held, the error is
	// [plumbing.ErrObjectNotFound]. The caller closes content.
	Base(hash plumbing.Hash) (kind plumbing.ObjectType, size int64, content io.ReadCloser, err error)
}

// Limits bound what a pack may cost.
type Limits struct {
	Objects     int   // in a pack
	ObjectBytes int64 // of one object
	DiskBytes   int64 // of what is kept beside the pack
	MemoryBytes int64 // of the bases of deltas that are kept in memory
	LargeBytes  int64 // objects with more than these are never held in memory
}

// A Pack is a pack whose objects are all known.
type Pack struct{ u *unpacker }

// Unpack checks a pack of size bytes. Objects larger than Limits.LargeBytes that
// the pack has as deltas are written below dir, an objects folder, one by one,
// because readers of deltas keep whole objects in memory. If held is not nil,
// the pack may be thin, and every object is written there. What an Unpack that
// fails has written stays; the caller removes dir.
func Unpack(ctx context.Context, pack *os.File, size int64, dir string, held Bases, limits Limits) (*Pack, error) {
	u := &unpacker{ctx: ctx, limits: limits, pack: pack, size: size, dir: dir, held: held, thin: held != nil}
	if err := u.run(); err != nil {
		return nil, err
	}
	return &Pack{u}, nil
}

// Sum returns the pack's checksum, after which git names its files.
func (p *Pack) Sum() []byte { return p.u.packSum }

// WriteIndex writes the index, version 2, of those objects that are not written
// one by one.
func (p *Pack) WriteIndex(name string) error { return writePackIndex(name, p.u.list, p.u.packSum) }
