package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
)

// hidden is the store's own folder in the tree. No element of a module path
// begins with a dot.
const hidden = ".athens"

// Names in the hidden folder.
const (
	stageDir = "stage" // files on their way in
	lockDir  = "lock"  // one file a lock, never removed
	badDir   = "quarantine"
)

// hashExt is the extension of the file that holds a zip's h1.
const hashExt = ".ziphash"

func ext(f athens.File) string {
	switch f {
	case athens.InfoFile:
		return ".info"
	case athens.ModFile:
		return ".mod"
	case athens.ZipFile:
		return ".zip"
	}
	return ""
}

// folder returns the @v folder of a module.
func (s *Store) folder(path string) (string, error) {
	esc, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	return filepath.Join(s.dir, filepath.FromSlash(esc), "@v"), nil
}

// base returns the name of a version's files, without their extension.
func (s *Store) base(m module.Version) (string, error) {
	if err := check(m); err != nil {
		return "", err
	}
	dir, err := s.folder(m.Path)
	if err != nil {
		return "", err
	}
	esc, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, esc), nil
}

// versionOf returns the version whose file has this name in the @v folder of
// path, a valid one, if it is a version with that extension.
func versionOf(path, name, ext string) (string, bool) {
	esc, ok := strings.CutSuffix(name, ext)
	if !ok {
		return "", false
	}
	v, err := module.UnescapeVersion(esc)
	if err != nil || module.CanonicalVersion(v) != v {
		return "", false
	}
	_, major, ok := module.SplitPathVersion(path)
	return v, ok && module.CheckPathMajor(v, major) == nil
}

// check is module.Check, which lets a version such as v1 pass.
func check(m module.Version) error {
	if err := module.Check(m.Path, m.Version); err != nil {
		return err
	}
	if module.CanonicalVersion(m.Version) != m.Version {
		return &module.InvalidVersionError{Version: m.Version, Err: errors.New("not canonical")}
	}
	return nil
}

// isAbsent reports whether err says that the very file asked for is not there.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// exists reports whether name is a file. An empty one counts as none: the store
// writes none, and they are what a power cut leaves of files that the go
// command wrote.
func (s *Store) exists(name string) (bool, error) {
	info, err := s.fs.Stat(name)
	switch {
	case err == nil && info.Mode().IsRegular():
		return info.Size() > 0, nil
	case err == nil:
		return false, notRegular(name)
	case isAbsent(err):
		return false, s.alive()
	}
	return false, err
}

// alive returns an error if the whole store has vanished, for then nothing can
// be said of a file that is not there.
func (s *Store) alive() error {
	_, err := s.fs.Stat(s.dir)
	return opaque(err)
}

func notRegular(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
}

// opaque hides that err may be fs.ErrNotExist, where that would be taken for
// "this version is not held" although something else is missing.
func opaque(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return hiding{err}
	}
	return err
}

type hiding struct{ err error }

func (h hiding) Error() string { return h.err.Error() }

func (h hiding) Is(target error) bool { return target != fs.ErrNotExist && errors.Is(h.err, target) }

func (h hiding) As(target any) bool { return errors.As(h.err, target) }

// fault is the error of an operation that failed for another reason than that
// m is not held.
func fault(op string, m module.Version, err error) error {
	if m.Path == "" {
		return fmt.Errorf("storage: %s: %w", op, opaque(err))
	}
	return fmt.Errorf("storage: %s %s: %w", op, m, opaque(err))
}

// absent is the error for what is not held.
func absent(m module.Version, f athens.File) error {
	return &fs.PathError{Op: "open", Path: m.String() + ext(f), Err: fs.ErrNotExist}
}
