package storage

import (
	"context"
	"iter"
	"maps"
	"path/filepath"
	"slices"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// AllMarks walks over the marks of all modules, those of a module in semantic version order.
// What can't be read is yielded as an error, with the module's path, and the walk goes on.
func (s *Store) AllMarks(ctx context.Context) iter.Seq2[athens.BlockedError, error] {
	return func(yield func(athens.BlockedError, error) bool) {
		w := walk{Store: s, ctx: ctx}
		w.fail = func(modPath string, err error) bool { return yield(athens.BlockedError{Path: modPath}, err) }
		w.visit = func(modPath, _ string) bool {
			marks, err := s.Marks(ctx, modPath)
			if err != nil {
				return w.failed(modPath, err)
			}
			versions := slices.Collect(maps.Keys(marks))
			semver.Sort(versions)
			for _, v := range versions {
				if !yield(marks[v], nil) {
					return false
				}
			}
			return true
		}
		w.folder("")
	}
}

// ModuleBytes returns how many bytes the files of a module's versions take, with those that
// this package keeps beside them. A module that is not held has none.
func (s *Store) ModuleBytes(ctx context.Context, path string) (bytes int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	dir, err := s.folder(path)
	var names []string
	if err == nil {
		names, err = s.names(dir)
	}
	if isAbsent(err) {
		err = s.alive()
	}
	if err != nil {
		return 0, fault("sizes", module.Version{Path: path}, err)
	}
	for _, name := range names {
		info, err := s.fs.Stat(filepath.Join(dir, name))
		switch {
		case isAbsent(err): // it went meanwhile
		case err != nil:
			return 0, fault("sizes", module.Version{Path: path}, err)
		case info.Mode().IsRegular():
			bytes += info.Size()
		}
	}
	return bytes, nil
}
