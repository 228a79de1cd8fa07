package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// batch is how many entries of a folder a walk reads at a time: a host's folder
// may have any number of them.
const batch = 256

// All walks over the held versions, as [athens.Lister] says. It keeps one
// folder open for each element of the path it is at, and follows no symbolic
// link to a folder.
func (s *Store) All(ctx context.Context) iter.Seq2[module.Version, error] {
	return func(yield func(module.Version, error) bool) {
		w := walk{Store: s, ctx: ctx}
		w.fail = func(modPath string, err error) bool { return yield(module.Version{Path: modPath}, err) }
		w.visit = func(modPath, dir string) bool { return w.heldIn(modPath, dir, yield) }
		w.folder("")
	}
}

// walk is one way through the folders of a store. Its functions and methods report
// whether to go on.
type walk struct {
	*Store
	ctx   context.Context
	visit func(modPath, dir string) bool       // a module's @v folder
	fail  func(modPath string, err error) bool // in place of what could not be read
}

// folder walks over the folder of the escaped path, which is a module's, or
// leads to some.
func (w *walk) folder(escaped string) bool {
	f, err := w.fs.Open(w.at(escaped))
	if isAbsent(err) {
		if err = w.alive(); err == nil {
			return true // removed meanwhile
		}
	}
	if err != nil {
		return w.failed("", err)
	}
	defer f.Close()
	for more := true; more; {
		if err := w.ctx.Err(); err != nil {
			w.fail("", err)
			return false
		}
		var names []string
		if names, more, err = w.folders(f); err != nil && !w.failed("", err) {
			return false
		}
		for _, name := range names {
			if !w.below(escaped, name) {
				return false
			}
		}
	}
	return true
}

func (w *walk) at(escaped string) string {
	return filepath.Join(w.dir, filepath.FromSlash(escaped))
}

// below walks over one folder in that of the escaped path.
func (w *walk) below(escaped, name string) bool {
	switch {
	case name == "@v":
		return w.module(escaped)
	case strings.HasPrefix(name, "."), strings.ContainsAny(name, "@ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
		return true // this store's own, or the module cache's: no element of a path
	case escaped == "" && !strings.Contains(name, "."):
		return true // no host; the module cache keeps its checksum database here
	}
	return w.folder(path.Join(escaped, name))
}

// module visits the folder of one module.
func (w *walk) module(escaped string) bool {
	modPath, err := module.UnescapePath(escaped)
	if err != nil {
		return true
	}
	return w.visit(modPath, w.at(path.Join(escaped, "@v")))
}

// heldIn yields the versions of one module.
func (w *walk) heldIn(modPath, dir string, yield func(module.Version, error) bool) bool {
	list, err := w.versions(modPath, dir)
	if err != nil && !isAbsent(err) && !w.failed(modPath, err) {
		return false
	}
	for _, v := range list {
		if err := w.ctx.Err(); err != nil {
			w.fail("", err)
			return false
		}
		if !yield(module.Version{Path: modPath, Version: v}, nil) {
			return false
		}
	}
	return true
}

// failed tells of an error in place of what could not be read.
func (w *walk) failed(modPath string, err error) bool {
	return w.fail(modPath, fault("walk", module.Version{Path: modPath}, err))
}

// folders returns the next names of folders in f, and whether there may be more.
// A folder that is not the operating system's is read at once: its position
// would shift with what others add.
func (w *walk) folders(f afero.File) (names []string, more bool, err error) {
	var entries []fs.DirEntry
	d, ok := unwrap(f).(fs.ReadDirFile)
	switch {
	case ok && w.real:
		entries, err = d.ReadDir(batch)
		more = err == nil
	case ok:
		entries, err = d.ReadDir(-1)
	default:
		var infos []fs.FileInfo
		infos, err = f.Readdir(-1)
		for _, info := range infos {
			entries = append(entries, fs.FileInfoToDirEntry(info))
		}
	}
	if errors.Is(err, io.EOF) || isAbsent(err) {
		err = nil
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, more, err
}
