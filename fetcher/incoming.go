package fetcher

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flock"
)

// incoming counts what all running fetches have written to disk and not yet verified.
// A fetch that is the only one to have written anything is bounded
// by Options.MaxFetchBytes alone. Two or more together are bounded by
// Options.MaxCacheBytes.
type incoming struct {
	limit int64
	trim  func() // removes unused repositories to make room

	mu        sync.Mutex
	used      int64 // by all fetches
	untrimmed int64 // written since the last trim
}

// An incomingFetch counts what one fetch has written.
type incomingFetch struct {
	in    *incoming
	own   int64 // limit of extra
	pack  int64 // bytes of the pack, guarded by in.mu
	extra int64 // bytes beside the pack, guarded by in.mu
}

const (
	// trimParts says how often unused repositories are removed: after each such
	// fraction of the limit has been written.
	trimParts = 32
	// minTrimBytes is the least that is written between two such removals, since
	// each reads all folders.
	minTrimBytes = 1 << 20
)

var errDiskBusy = errors.New("other fetches have written as much as Options.MaxCacheBytes allows")

// take adds n bytes, which are about to be written (or were removed if n is negative),
// to part, which is a field of a.
func (a *incomingFetch) take(part *int64, n int64) error {
	trim, err := a.count(part, n)
	if trim {
		a.in.trim()
	}
	return err
}

// count does the counting for take, and reports whether it is time to make room.
func (a *incomingFetch) count(part *int64, n int64) (trim bool, err error) {
	in := a.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if part == &a.extra && a.extra+n > a.own {
		return false, invalidf("the pack needs more than %d bytes when it is unpacked; Options.MaxFetchBytes sets this limit", a.own)
	}
	alone := in.used == a.pack+a.extra
	if n > 0 && in.used+n > in.limit && !alone {
		return false, &athens.UnavailableError{Source: "this server", RetryAfter: retryAfter, Err: errDiskBusy}
	}
	*part += n
	in.used += n
	in.untrimmed += max(0, n)
	if in.untrimmed <= max(in.limit/trimParts, minTrimBytes) {
		return false, nil
	}
	in.untrimmed = 0
	return true, nil
}

// takeExtra counts n bytes that are written beside the pack.
func (a *incomingFetch) takeExtra(n int64) error { return a.take(&a.extra, n) }

// end ends the counting: the files were removed or moved into the bare repository.
func (a *incomingFetch) end() {
	a.in.mu.Lock()
	defer a.in.mu.Unlock()
	a.in.used -= a.pack + a.extra
	a.pack, a.extra = 0, 0
}

// counted returns a reader of pack that counts its bytes as they arrive.
func (a *incomingFetch) counted(pack io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		n, err := pack.Read(p)
		if takeErr := a.take(&a.pack, int64(n)); takeErr != nil {
			return 0, takeErr
		}
		return n, err
	})
}

// lockFile is locked while the process that writes into a folder is alive.
const lockFile = "lock"

// newIncoming creates a folder for what one fetch receives. The caller must call
// remove.
func (r *repo) newIncoming() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(r.dir, incomingPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := os.Create(filepath.Join(dir, lockFile))
	if err == nil {
		_, err = flock.Try(lock)
	}
	remove = func() {
		os.RemoveAll(dir)
		if lock != nil {
			flock.Release(lock)
		}
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("create a folder for incoming objects: %w", err)
	}
	return dir, remove, nil
}

// sweep removes what killed fetches left behind: folders that no process
// has locked, and bare repositories into which nothing was received.
func (f *Fetcher) sweep() {
	for _, pattern := range []string{gonePrefix + "*", filepath.Join("*", incomingPrefix+"*")} {
		names, err := filepath.Glob(filepath.Join(f.dir, pattern))
		if err != nil {
			return // the folder's name is a bad pattern
		}
		for _, name := range names {
			if abandoned(name) {
				os.RemoveAll(name)
			}
		}
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(f.dir, e.Name())
		if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil && old(dir) {
			f.discard(dir)
		}
	}
}

// abandoned reports whether the process that created a folder has ended.
func abandoned(dir string) bool {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if err != nil || !flock.Supported {
		if lock != nil {
			lock.Close()
		}
		return old(dir)
	}
	free, err := flock.Try(lock)
	if !free || err != nil {
		lock.Close()
		return false
	}
	flock.Release(lock)
	return true
}

func old(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && time.Since(info.ModTime()) > staleAfter
}

// discard removes a bare repository into which nothing was received, which a failed
// fetch leaves. It keeps one that another process is receiving into.
func (f *Fetcher) discard(dir string) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if left, err := filepath.Glob(filepath.Join(dir, incomingPrefix+"*")); len(left) > 0 || err != nil {
		return
	}
	_ = f.erase(dir) // the next start tries again
}
