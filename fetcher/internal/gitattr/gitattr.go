// Package gitattr does what gitattributes(5) says about files on their way out
// of a repository: it reads .gitattributes files, finds the attributes of a
// file, and converts the file's content as "git archive" does for the go
// command.
//
// It is written by hand because go-git matches patterns with
// [path/filepath.Match] and converts nothing, so that a module's zip would have
// another hash.
//
//   - attributes.go reads the files and finds a file's attributes;
//   - wildmatch.go matches git's patterns;
//   - convert.go changes line ends, "$Id$" and encodings.
package gitattr

import "fmt"

// An Error says that a file can't be converted, although its commit is whole.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

func errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }
