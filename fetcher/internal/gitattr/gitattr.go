// Package gitattr implements the part of gitattributes(5) that applies when files leave
// a repository: it reads .gitattributes files, finds the attributes of a
// file, and converts the file's content as "git archive" does for the go
// command.
//
// It is written by hand because go-git matches patterns with
// [path/filepath.Match] and converts nothing, so a module's zip would have a
// different hash.
//
//   - attributes.go reads the files and finds a file's attributes;
//   - wildmatch.go matches git's patterns;
//   - convert.go changes line ends, "$Id$" and encodings.
package gitattr

import "fmt"

// An Error means that a file can't be converted, although its commit is complete.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

func errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }
