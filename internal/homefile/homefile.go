// Package homefile reads the optional files of a home folder, such as .netrc or
// .ssh/known_hosts.
//
// A process often runs with a home that is not its own: the file belongs to another
// user, a folder or a pipe stands in its place, or a path leads through a file. Such
// a file is reported once and is otherwise treated as absent, so that it never stops
// a server that may not need it.
package homefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Warn reports a file that is there and can't be used. A nil Warn reports nothing.
type Warn func(name string, err error)

// Report calls w, unless it is nil.
func (w Warn) Report(name string, err error) {
	if w != nil {
		w(name, err)
	}
}

// Read returns the content of a file of at most maxBytes bytes. Its error wraps
// [fs.ErrNotExist] if there is no such file.
func Read(name string, maxBytes int64) ([]byte, error) {
	// A pipe would block when it is opened.
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
	case info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && int64(len(data)) > maxBytes {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it is longer than %d bytes", maxBytes)}
	}
	return data, err
}

// Optional returns the content of a file, or nil if there is none. A file that can't
// be read is reported to warn and has no content either.
func Optional(name string, maxBytes int64, warn Warn) []byte {
	data, err := Read(name, maxBytes)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			warn.Report(name, err)
		}
		return nil
	}
	return data
}
