package sumcheck

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Limits of what is read, in bytes. Real answers are below one kilobyte.
const (
	maxLookup = 64 << 10
	maxNote   = 16 << 10
)

// maxTree is the largest accepted tree, in records. It keeps the arithmetic of tlog far from
// overflow.
const maxTree = 1 << 48

// Error says that a database's answer is wrong. It is no outage.
type Error struct {
	// Err is what is wrong.
	Err error
	// Alarm is set if the answer contradicts a signed one, so that one of them is forged.
	Alarm bool
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...)}
}

// Record is the answer to a lookup: a version's record, and a signed tree that
// has it.
type Record struct {
	ID   int64  // its number in the tree
	Text []byte // lines of go.sum
	Note []byte // the signed tree
}

// ParseLookup reads the answer to a lookup of m. What it accepts has one
// spelling, but for the note, which [ParseTree] reads.
func ParseLookup(body []byte, m module.Version) (Record, error) {
	if len(body) > maxLookup {
		return Record{}, malformed("the record has %d bytes, more than %d", len(body), maxLookup)
	}
	id, text, rest, err := tlog.ParseRecord(body)
	if err != nil {
		return Record{}, &Error{Err: err}
	}
	if id < 0 || !bytes.HasPrefix(body, append(strconv.AppendInt(nil, id, 10), '\n')) {
		return Record{}, malformed("malformed record number")
	}
	if !about(text, m) {
		return Record{}, malformed("the record does not speak of %s", m)
	}
	return Record{ID: id, Text: text, Note: rest}, nil
}

// about reports whether a line of text is one that a go command would take for
// m's zip or go.mod.
func about(text []byte, m module.Version) bool {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(m.Path+" "+m.Version))
		if ok && (bytes.HasPrefix(rest, []byte(" h")) || bytes.HasPrefix(rest, []byte("/go.mod h"))) {
			return true
		}
	}
	return false
}

// Answer returns the answer to a lookup with another signed tree that has the
// record, too.
func (r Record) Answer(signed []byte) []byte {
	b := append(strconv.AppendInt(nil, r.ID, 10), '\n')
	b = append(b, r.Text...)
	b = append(b, '\n')
	return append(b, signed...)
}

// ParseTree reads a signed tree of the database of that name. With a verifier
// its signature must be there and right; without, one that claims to be of that
// name must be there.
func ParseTree(signed []byte, name string, verifier note.Verifier) (tlog.Tree, error) {
	if len(signed) > maxNote {
		return tlog.Tree{}, malformed("the signed tree has %d bytes, more than %d", len(signed), maxNote)
	}
	var known []note.Verifier
	if verifier != nil {
		known = []note.Verifier{verifier}
	}
	n, err := note.Open(signed, note.VerifierList(known...))
	if e, ok := errors.AsType[*note.UnverifiedNoteError](err); ok && verifier == nil {
		for _, sig := range e.Note.UnverifiedSigs {
			if sig.Name == name {
				n, err = e.Note, nil
			}
		}
	}
	if err != nil {
		return tlog.Tree{}, malformed("the tree is not signed by %s: %w", name, err)
	}
	tree, err := tlog.ParseTree([]byte(n.Text))
	if err == nil && tree.N > maxTree {
		err = fmt.Errorf("a tree of %d records is too large", tree.N)
	}
	if err != nil {
		return tlog.Tree{}, &Error{Err: err}
	}
	return tree, nil
}
