package storage

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
	"github.com/spf13/afero"
)

// Files that are being written are in the stage folder. The name of a small file begins with the
// number of a lock, NN-…, which its process holds as long as the file is there; a note (see
// listNote) may stay longer. Writing a zip takes longer than a module may be locked: its name
// begins with zipPrefix, and its writer locks the file itself.
const zipPrefix = "zip-"

// sweepEvery is how often a store that stages looks for files of dead processes.
const sweepEvery = time.Hour

// create makes a new file in the stage folder.
func (s *Store) create(prefix string) (afero.File, string, error) {
	f, name, err := durable.Create(s.fs, s.inside(stageDir), prefix)
	if isAbsent(err) {
		if err := s.makeInside(stageDir); err != nil {
			return nil, "", err
		}
		f, name, err = durable.Create(s.fs, s.inside(stageDir), prefix)
	}
	if err != nil {
		return nil, "", err
	}
	return unwrap(f), name, nil
}

// writeFile replaces dst by data, durably, for a caller that has lock n.
func (s *Store) writeFile(n int, dst string, data []byte) error {
	if err := s.replaceFile(n, dst, data); err != nil {
		return err
	}
	return durable.SyncDir(s.fs, filepath.Dir(dst))
}

// replaceFile is writeFile for a caller that then syncs the folder.
func (s *Store) replaceFile(n int, dst string, data []byte) error {
	f, tmp, err := s.create(s.locks.prefix[n])
	if err != nil {
		return err
	}
	if err := durable.Fill(s.fs, f, tmp, data); err != nil {
		return err
	}
	err = s.fs.Rename(tmp, dst)
	if err != nil {
		_ = s.fs.Remove(tmp)
	}
	return err
}

// createZip makes the file of a new stage and locks it.
func (s *Store) createZip() (afero.File, string, error) {
	for {
		f, name, err := s.create(zipPrefix)
		if err != nil || !s.shared {
			return f, name, err
		}
		ok, err := s.own(f, name)
		if ok {
			return f, name, nil
		}
		f.Close()
		if err != nil {
			_ = s.fs.Remove(name)
			return nil, "", err
		}
	}
}

// own locks the new file f, and reports whether that came before the sweep of
// another process, which may have taken it for a dead one's in between.
func (s *Store) own(f afero.File, name string) (bool, error) {
	file, ok := f.(*os.File)
	if !ok {
		return true, nil
	}
	if ok, err := flock.Try(file); !ok || err != nil {
		return false, err
	}
	_, err := s.fs.Stat(name)
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}

// sweep removes the unfinished files of dead processes. A file that can't be removed stays for
// the next sweep, so that a read-only store can be opened too.
func (s *Store) sweep() {
	s.swept.Store(time.Now().UnixNano())
	names, err := s.names(s.inside(stageDir))
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, zipPrefix) {
			s.sweepZip(filepath.Join(s.inside(stageDir), name))
		} else if n, ok := lockIn(name); ok && !s.sweepSmall(filepath.Join(s.inside(stageDir), name), n) && isNote(name) {
			s.noted.Store(true)
		}
	}
}

// sweepLater sweeps again if the last sweep was long ago. Without locks no other process writes
// here, and the sweep when the store was opened found everything.
func (s *Store) sweepLater() {
	was := s.swept.Load()
	now := time.Now().UnixNano()
	if s.shared && now-was >= int64(sweepEvery) && s.swept.CompareAndSwap(was, now) {
		s.sweep()
	}
}

// lockIn returns the number in front of a small file's name.
func lockIn(name string) (n int, ok bool) {
	number, _, ok := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	return n, ok && err == nil && n >= 0 && n < lockCount
}

// sweepSmall removes a small file of a dead process; if it is a note, it first repairs the list.
// It reports whether the file is gone, which it is not if its lock is taken.
func (s *Store) sweepSmall(name string, n int) bool {
	unlock, err := s.locks.tryLock(n)
	if unlock == nil || err != nil {
		return false
	}
	defer unlock()
	if isNote(filepath.Base(name)) {
		return s.repairList(n, name) == nil
	}
	return s.fs.Remove(name) == nil
}

func (s *Store) sweepZip(name string) {
	if !s.shared {
		_ = s.fs.Remove(name)
		return
	}
	f, err := s.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if file, ok := osFile(f); ok {
		if ok, err := flock.Try(file); ok && err == nil {
			_ = s.fs.Remove(name)
		}
	}
}
