package gocmd

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// prefix begins the names of temporary folders.
const prefix = "athens-gocmd-"

// staleAfter is how much older than a folder in use can be a folder must be to count
// as left behind by a process that has ended.
const staleAfter = 24 * time.Hour

// maxCached bounds how many versions are cached, and maxCachedMods their .mod files in
// memory, in bytes.
const (
	maxCached     = 1000
	maxCachedMods = 32 << 20
)

// newFolder creates the folder of one request, with two subfolders: work, where the
// command starts, which has no go.mod, and tmp for temporary files. The command creates
// the rest.
func (f *Fetcher) newFolder() (string, error) {
	dir, err := os.MkdirTemp(f.opts.Dir, prefix)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"work", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			f.remove(dir)
			return "", err
		}
	}
	return dir, nil
}

// remove removes a folder. It tries twice, because a tool that was just killed may still
// write a last file.
func (f *Fetcher) remove(dir string) {
	err := os.RemoveAll(dir)
	if err != nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		f.opts.Logger.Warn("could not remove a temporary folder", "dir", dir, "error", err)
	}
}

// sweep removes the folders that killed processes left behind.
func (f *Fetcher) sweep() {
	names, err := filepath.Glob(filepath.Join(f.opts.Dir, prefix+"*"))
	if err != nil {
		return
	}
	limit := staleAfter + f.opts.Timeout + f.opts.KeepTTL
	for _, name := range names {
		if info, err := os.Lstat(name); err == nil && info.IsDir() && time.Since(info.ModTime()) > limit {
			f.remove(name)
		}
	}
}

// version is a fetched version with its folder, which exists while it is referenced or
// cached.
type version struct {
	module module.Version
	dir    string
	info   *athens.Info
	mod    []byte
	modErr error // why there is no .mod

	// The Fetcher's mu guards these.
	zip      string // its file, once created
	refs     int
	retired  bool // not cached any more
	size     int64
	cachedAt time.Time
	expiry   *time.Timer
}

// cache keeps a version for Options.KeepTTL.
func (f *Fetcher) cache(v *version) {
	v.size = sizeOf(v.dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	v.cachedAt = time.Now()
	v.expiry = time.AfterFunc(f.opts.KeepTTL, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.retire(v)
	})
	f.cached[v.module] = v
	f.trim(v)
}

// setZip records the zip of a version, which the caller has acquired.
func (f *Fetcher) setZip(v *version, zip string) {
	size := sizeOf(v.dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	v.zip, v.size = zip, size
	f.trim(v)
}

// lookup returns a cached version, or nil.
func (f *Fetcher) lookup(m module.Version) *version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cached[m]
}

// acquire prevents a version's folder from being removed until release, and reports
// whether it still exists.
func (f *Fetcher) acquire(v *version) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.retired {
		return false
	}
	v.refs++
	return true
}

// release undoes acquire.
func (f *Fetcher) release(v *version) {
	f.mu.Lock()
	v.refs--
	f.discard(v)
	f.trim(v)
	f.mu.Unlock()
}

// retire removes a version from the cache. The caller holds mu.
func (f *Fetcher) retire(v *version) {
	if v.retired {
		return
	}
	v.retired = true
	v.expiry.Stop()
	delete(f.cached, v.module)
	f.discard(v)
}

// discard removes a folder that is no longer needed. The caller holds mu.
func (f *Fetcher) discard(v *version) {
	switch {
	case !v.retired || v.refs > 0:
	case f.closed:
		f.remove(v.dir) // Close does not wait any more
	default:
		f.removing.Go(func() { f.remove(v.dir) })
	}
}

// trim retires the oldest unreferenced versions until the cache is within its limits.
// It never retires the latest, whose zip is probably requested next. The caller holds
// mu.
func (f *Fetcher) trim(latest *version) {
	for {
		var total, memory int64
		var oldest *version
		for _, v := range f.cached {
			if v.refs > 0 {
				continue
			}
			total += v.size
			memory += int64(cap(v.mod))
			if v == latest {
				continue
			}
			if oldest == nil || v.cachedAt.Before(oldest.cachedAt) {
				oldest = v
			}
		}
		if oldest == nil || total <= f.opts.MaxKeptBytes && len(f.cached) <= maxCached && memory <= maxCachedMods {
			return
		}
		f.retire(oldest)
	}
}
