// Package durable replaces files so that a crash leaves the old content or the
// new one, and what a function has returned nil for survives a power cut.
//
// These are the system calls expected of it on Linux; a test of storage/ reads
// them off strace:
//
//	Create    openat(O_CREAT|O_EXCL)
//	Fill      write…, fsync, close
//	Write     Fill, then Publish
//	Publish   renameat, then SyncDir of the folder
//	SyncDir   openat, fsync, close
//	SyncFile  openat, fsync, close
//	MkdirAll  mkdirat for what is missing, then SyncDir of each parent
//
// A file reaches its name only with its content on the medium, and the name is
// on the medium on return. A writer that fails leaves its temporary file out of
// the way where it can, and a dead one leaves it for its owner to sweep.
//
// BUG(durable): fsync is believed. A disk that acknowledges a write it only
// caches, and a file system mounted without barriers, can lose it.
//
// BUG(durable): on macOS the os package asks for F_FULLFSYNC, but not every
// external or network volume honors it.
//
// BUG(durable): a file system that refuses to fsync a folder (EINVAL, ENOTSUP:
// some FUSE and SMB mounts), and Windows, which has no such call, are trusted
// to keep renames in order.
//
// BUG(durable): rename replaces what has the new name without a word. Whoever
// must not replace anything holds a lock around the look and the rename.
package durable

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// File is what is needed of an open file.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// FS is what is needed of a file system. An afero.Fs is an FS[afero.File].
type FS[F File] interface {
	OpenFile(name string, flag int, perm fs.FileMode) (F, error)
	Mkdir(name string, perm fs.FileMode) error
	Rename(oldname, newname string) error
	Remove(name string) error
	Stat(name string) (fs.FileInfo, error)
}

// Create makes a new, empty file in the folder dir and opens it for reading
// and writing. Its name is prefix and something random: a process id would not
// do, because in containers every process is number 1.
func Create[F File](fsys FS[F], dir, prefix string) (f F, name string, err error) {
	random := strings.ToLower(rand.Text())
	if name = dir + string(filepath.Separator) + prefix + random; dir == "" || strings.HasSuffix(dir, string(filepath.Separator)) {
		name = filepath.Join(dir, prefix+random)
	}
	f, err = fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	return f, name, err
}

// Fill fills f, which [Create] opened as tmp, with data, so that a rename is all
// that is missing. It closes f in any case, and removes tmp if it fails.
func Fill[F File](fsys FS[F], f F, tmp string, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = fsys.Remove(tmp)
	}
	return err
}

// Write fills f, which [Create] opened as tmp, with data and gives it the name
// dst. It closes f in any case, and removes tmp if it fails.
func Write[F File](fsys FS[F], f F, tmp, dst string, data []byte) error {
	err := Fill(fsys, f, tmp, data)
	if err != nil {
		return err
	}
	if err = Publish(fsys, tmp, dst); err != nil {
		_ = fsys.Remove(tmp) // gone already if only the last step failed
	}
	return err
}

// Replace gives the file dst the content data, at once: it is [Create] in dir, with a name
// that begins with prefix, and [Write].
func Replace[F File](fsys FS[F], dir, prefix, dst string, data []byte) error {
	f, tmp, err := Create(fsys, dir, prefix)
	if err != nil {
		return err
	}
	return Write(fsys, f, tmp, dst, data)
}

// Publish gives the file tmp, whose content is on the medium already, the name
// dst. After an error, dst may exist or not.
func Publish[F File](fsys FS[F], tmp, dst string) error {
	if err := fsys.Rename(tmp, dst); err != nil {
		return err
	}
	return SyncDir(fsys, filepath.Dir(dst))
}

// SyncFile puts the content of the named file on the medium, whichever process wrote it.
func SyncFile[F File](fsys FS[F], name string) error {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// SyncDir puts the names in the folder dir on the medium.
func SyncDir[F File](fsys FS[F], dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	err := SyncFile(fsys, dir)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// MkdirAll makes the folder dir and its missing parents, and puts all folders from root down on
// the medium: the process that made an existing folder may have died before it was there. Root
// must exist, and dir must be root or below it.
func MkdirAll[F File](fsys FS[F], root, dir string) error {
	if dir == root || len(dir) < len(root) {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := MkdirAll(fsys, root, parent); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(fsys, parent)
}

// Existing returns the longest part of the path dir that exists.
func Existing[F File](fsys FS[F], dir string) (string, error) {
	for {
		_, err := fsys.Stat(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return dir, err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return dir, err
		}
		dir = parent
	}
}
