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

// incoming counts what all fetches under way have written to disk, before it is
// known to be good. Together they may write as much as Options.MaxCacheBytes.
type incoming struct {
	limit int64
	trim  func() // removes what is not in use, to make room

	mu        sync.Mutex
	used      int64
	untrimmed int64 // written since the last trim
}

// An arrival is what one fetch has written.
type arrival struct {
	in   *incoming
	own  int64 // that one fetch may write beside its pack
	pack int64 // bytes of the pack
	rest int64 // bytes beside it
}

// trimParts says how often room is made: after this part of all that may be kept.
const trimParts = 32

var errDiskBusy = errors.New("other fetches have written as much as MaxCacheBytes allows")

// take counts n bytes that are about to be written, or were removed.
func (a *arrival) take(n int64) error {
	in := a.in
	if a.pack+a.rest+n > in.limit {
		return brokenf("the pack and what is made of it need more than %d bytes of disk; MaxCacheBytes sets this limit", in.limit)
	}
	in.mu.Lock()
	if n > 0 && in.used+n > in.limit {
		in.mu.Unlock()
		return &athens.UnavailableError{Source: "this server", RetryAfter: retryAfter, Err: errDiskBusy}
	}
	in.used += n
	in.untrimmed += max(0, n)
	trim := in.untrimmed > in.limit/trimParts
	if trim {
		in.untrimmed = 0
	}
	in.mu.Unlock()
	if trim {
		in.trim()
	}
	return nil
}

// beside counts what is written beside the pack.
func (a *arrival) beside(n int64) error {
	if a.rest+n > a.own {
		return brokenf("the pack needs more than %d bytes when it is unpacked; MaxFetchBytes sets this limit", a.own)
	}
	if err := a.take(n); err != nil {
		return err
	}
	a.rest += n
	return nil
}

// end says that what was written is removed, or is a part of the bare repository.
func (a *arrival) end() {
	a.in.mu.Lock()
	defer a.in.mu.Unlock()
	a.in.used -= a.pack + a.rest
	a.pack, a.rest = 0, 0
}

// counted returns a pack whose bytes are counted as they come.
func (a *arrival) counted(pack io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		n, err := pack.Read(p)
		if takeErr := a.take(int64(n)); takeErr != nil {
			return 0, takeErr
		}
		a.pack += int64(n)
		return n, err
	})
}

// lockFile is locked as long as the process lives that writes into a folder.
const lockFile = "lock"

// newIncoming makes a folder for what one fetch receives. The caller calls
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
		return "", nil, fmt.Errorf("make a folder for what comes in: %w", err)
	}
	return dir, remove, nil
}

// sweep removes what fetches that were killed left behind: folders that nobody
// has locked, and bare repositories that nothing was received for.
func (f *Fetcher) sweep() {
	for _, pattern := range []string{gonePrefix + "*", filepath.Join("*", incomingPrefix+"*")} {
		names, err := filepath.Glob(filepath.Join(f.dir, pattern))
		if err != nil {
			return // only of a folder's name that is a bad pattern
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

// abandoned reports whether a folder is of a process that is gone.
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

// discard removes a bare repository that nothing was received for: what a fetch
// that failed leaves. One that another process is receiving into stays.
func (f *Fetcher) discard(dir string) {
	if _, err := os.Stat(filepath.Join(dir, holdingFile)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if left, err := filepath.Glob(filepath.Join(dir, incomingPrefix+"*")); len(left) > 0 || err != nil {
		return
	}
	_ = f.erase(dir) // the next start tries again
}
