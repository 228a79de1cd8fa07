package fetcher

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// staleAfter is the age at which leftovers of a fetch must be from a process that has
// ended.
const staleAfter = 24 * time.Hour

// trim removes the least recently used bare repositories until all of them fit into
// Options.MaxCacheBytes. It does not remove keep, nor repositories in use.
func (f *Fetcher) trim(keep *repo) {
	f.trimming.Lock()
	defer f.trimming.Unlock()
	type kept struct {
		dir  string
		size int64
		used time.Time
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	var list []kept
	var total int64
	for _, e := range entries {
		dir := filepath.Join(f.dir, e.Name())
		size := folderSize(dir)
		total += size
		info, err := os.Stat(filepath.Join(dir, stateFile))
		if err != nil {
			continue // nothing but incoming objects
		}
		list = append(list, kept{dir, size, info.ModTime()})
	}
	slices.SortFunc(list, func(a, b kept) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, k := range list {
		if total <= f.opts.MaxCacheBytes {
			return
		}
		if (keep == nil || k.dir != keep.dir) && f.remove(k.dir) {
			total -= k.size
			f.opts.Logger.Info("removed a git repository", "dir", k.dir, "bytes", k.size)
		}
	}
}

func folderSize(dir string) int64 {
	var size int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file that vanishes meanwhile has no size
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// remove removes a bare repository unless it is in use.
func (f *Fetcher) remove(dir string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, r := range f.repos {
		if r.dir != dir {
			continue
		}
		if !r.closeUnused() {
			return false
		}
		delete(f.repos, key)
	}
	return f.erase(dir) == nil
}

// erase removes a bare repository. It renames it first, so that no reader sees
// a half-removed one.
func (f *Fetcher) erase(dir string) error {
	gone, err := os.MkdirTemp(f.dir, gonePrefix)
	if err != nil {
		return err
	}
	err = os.Rename(dir, filepath.Join(gone, "repository"))
	return errors.Join(err, os.RemoveAll(gone))
}

// gonePrefix begins the names of repositories that are being removed.
const gonePrefix = "gone-"

// repair removes a bare repository if err shows that it is damaged, for example by a
// lost write, so that the next request fetches it again.
func (f *Fetcher) repair(r *repo, err error) {
	if !errors.Is(err, errDamaged) {
		return
	}
	f.opts.Logger.Error("removed a damaged git repository", "url", r.name, "error", err)
	if err := f.erase(r.dir); err != nil {
		f.opts.Logger.Error("could not remove a git repository", "url", r.name, "error", err)
	}
	r.mu.Lock()
	r.generation++
	r.mu.Unlock()
	r.closeIdle()
}
