// Package storage keeps module versions as files, in the layout that the go
// command gives its own download cache and that GOPROXY=file://DIR serves:
//
//	DIR/example.com/!mod/@v/list            the versions held
//	DIR/example.com/!mod/@v/taken           which versions were removed or hidden
//	DIR/example.com/!mod/@v/v1.0.0.info     metadata
//	DIR/example.com/!mod/@v/v1.0.0.mod      go.mod; where it is, the version is held
//	DIR/example.com/!mod/@v/v1.0.0.ziphash  the zip's h1
//	DIR/example.com/!mod/@v/v1.0.0.zip      source
//	DIR/example.com/!mod/@v/v1.0.0.record   checksums that these files must match
//	DIR/sumdb/sum.example.com/…             answers of a checksum database
//	DIR/.athens/                            locks, files that are being written,
//	                                        and in quarantine damaged files
//
// [NewDisk] opens such a folder, [NewMemory] makes a store in memory, and [New]
// works on any afero.Fs. Opening a store reads none of its versions, and listing
// a module reads that module's folder only. A walk over all versions
// ([Store.All]) reads part of a folder at a time.
//
// # Life of a version
//
// Put writes the .info, then the .mod: a version is held from the instant that
// its .mod has its name. A [Store.Stage] is a file in DIR/.athens that Commit
// syncs and renames to the .zip, after the .ziphash. Each file is on the medium
// before it gets its name, and its name before the next step, so a process that
// is killed at any time leaves a version absent, held without its zip, or complete.
// The record is written after the files that it describes, so that it never binds a
// version that was not held. The list is written last. If a kill or a full disk leaves
// it outdated, the next New or the next successful write repairs it (a note in
// DIR/.athens/stage says where). After a power cut it can lack one version until the
// next Put to the module. This matters to users of file:// only; Verify reports the
// list as outdated.
//
// # Bit rot
//
// [Store.Verify] compares each version with its record. It can move damaged files to
// DIR/.athens/quarantine, under their path in the tree; the version is then no longer
// held. The record stays, so that Put and Commit accept the same content only, and
// otherwise fail with an [athens.ConflictError]. If the record itself is damaged, they
// fail until it is in quarantine too.
//
// # Versions taken back
//
// [Store.Remove] deletes the files of a version, and Open, Put and Commit refuse it until
// [Store.Restore]. [Store.Hide] takes a version out of the list. The marks are in one file
// of the module's folder, which all processes read. A process that had a file in memory
// serves it for a tenth of a second more. [Store.Evict] deletes a version without a mark.
//
// # Several processes
//
// Several processes can share a real folder: file locks (flock) guard a module while
// it changes, and distinguish a dead process's files from a live one's. This works on
// Linux, macOS, the BSDs and illumos. On other systems, and on any afero.Fs that is not
// the operating system's, a folder belongs to one Store. On a network file system it
// works if flock does between its clients. Reading takes no lock.
//
// # Adopting a module cache
//
// A store can open a copy of a go command's cache/download, or that folder itself, and
// serves its versions. A .mod without an .info is a version whose .info is a miss until
// it is Put. The go command does not sync its files, so a power cut may have damaged
// some. The store ignores an .info that does not parse or names another version, an
// empty .mod or .zip (Versions, which reads names, still lists the empty .mod) and a
// .ziphash that is not a hash. The answers of checksum databases in sumdb/ have the same
// names. Files of other kinds are ignored.
package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
	"github.com/spf13/afero"
)

// Options adjusts a [Store]. A nil *Options is the same as a zero one.
type Options struct {
	// Memory

	// VersionCacheBytes is how many bytes of memory the store spends on
	// remembering which versions it holds, so that opening a file of one costs
	// a single open and a single fstat. A version takes about 300 bytes. Zero
	// means 6 MiB; a negative value means none.
	VersionCacheBytes int64
	// FileCacheBytes is how many bytes of memory the store spends on the
	// content of small files (.info and .mod up to 16 KiB), so that opening one
	// costs at most a stat. A file that is taken away is served for a tenth of
	// a second more. Zero means 32 MiB; a negative value means none.
	FileCacheBytes int64

	// Disk

	// MaxSumDBBytes bounds what the store keeps of all checksum databases
	// together, in bytes of whole 4 KiB blocks; it refuses more. It counts when
	// the first answer is put, and again each hour: processes that share a
	// folder can exceed the bound by what they put meanwhile. Zero means 1 GiB,
	// enough for about 80,000 versions; a negative value means none is kept.
	MaxSumDBBytes int64
}

// Store is an [athens.Storage] over a file system.
type Store struct {
	fs     afero.Fs
	dir    string
	stage  string // the folder for files on their way in
	real   bool   // a folder of the operating system
	shared bool   // with other processes, by file locks
	locks  *locks
	known  memo
	small  *smallFiles  // nil: none are kept
	swept  atomic.Int64 // when, in Unix nanoseconds
	noted  atomic.Bool  // a note may lie in the stage folder that this store has left
	sums   sums
}

var (
	_ athens.Storage    = (*Store)(nil)
	_ athens.Lister     = (*Store)(nil)
	_ athens.Rechecker  = (*Store)(nil)
	_ athens.SumDBStore = (*Store)(nil)
	_ athens.Remover    = (*Store)(nil)
)

// NewDisk opens the store in a folder of the operating system and makes the
// folder if there is none. It fails if the folder can't be made or opened; that
// it can be written is for [Store.Writable] to say.
func NewDisk(dir string, opts *Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("storage: the folder's name is empty")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", dir, err)
	}
	return New(afero.NewOsFs(), abs, opts)
}

// NewMemory makes an empty store that lives as long as the process.
func NewMemory() *Store {
	s, err := New(afero.NewMemMapFs(), string(filepath.Separator), nil)
	if err != nil {
		panic("storage: the root of a new memory file system can't be opened: " + err.Error())
	}
	return s
}

// New opens the store in the folder dir of fsys, as [NewDisk] does. A file of
// an afero.BasePathFs is unwrapped, so that the body of an [athens.Object] is
// an *os.File wherever the bytes are on disk. What earlier processes left
// unfinished is swept away.
func New(fsys afero.Fs, dir string, opts *Options) (*Store, error) {
	if fsys == nil {
		return nil, errors.New("storage: New needs a file system; it is nil")
	}
	if dir == "" {
		return nil, errors.New("storage: the folder's name is empty")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.VersionCacheBytes == 0 {
		o.VersionCacheBytes = 6 << 20
	}
	if o.MaxSumDBBytes == 0 {
		o.MaxSumDBBytes = 1 << 30
	}
	s := &Store{fs: fsys, dir: filepath.Clean(dir), known: newMemo(o.VersionCacheBytes), sums: sums{most: max(o.MaxSumDBBytes, 0)}}
	s.stage = filepath.Join(s.dir, hidden, stageDir)
	var err error
	if s.real, err = s.prepare(); err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", dir, err)
	}
	if o.FileCacheBytes == 0 {
		o.FileCacheBytes = 32 << 20
	}
	if s.real && o.FileCacheBytes > 0 {
		s.small = newSmallFiles(o.FileCacheBytes)
	}
	s.shared = s.real && flock.Supported
	s.locks = newLocks(s)
	s.sweep()
	return s, nil
}

// prepare makes the store's folder and reports whether it is one of the
// operating system.
func (s *Store) prepare() (real bool, err error) {
	root, err := durable.Existing(s.fs, s.dir)
	if err != nil {
		return false, err
	}
	if err := durable.MkdirAll(s.fs, root, s.dir); err != nil {
		return false, err
	}
	// What is there may have been made by a process that died before it could
	// sync it. Where that is not allowed, it was not made by one like this.
	for dir := s.dir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		_ = durable.SyncDir(s.fs, filepath.Dir(dir))
	}
	f, err := s.fs.Open(s.dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, errors.New("not a directory")
	}
	_, real = unwrap(f).(*os.File)
	return real, nil
}

// unwrap returns the file that a BasePathFs hides: the kernel can copy an
// *os.File to a socket, and lock it.
func unwrap(f afero.File) afero.File {
	for {
		w, ok := f.(*afero.BasePathFile)
		if !ok {
			return f
		}
		f = w.File
	}
}
