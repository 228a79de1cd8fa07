package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
	"github.com/spf13/afero"
)

// lockCount is how many locks the modules of a store share. It belongs to the
// layout: processes with another number would not exclude each other.
const lockCount = 64

// The wait between two looks at a lock that another process has.
const (
	firstWait = 500 * time.Microsecond
	lastWait  = 16 * time.Millisecond
)

// locks guards the modules of one store while they change: within the process
// by channels, between processes by flock on lockCount files.
type locks struct {
	store  *Store
	here   [lockCount]chan struct{}
	files  [lockCount]string // their names
	prefix [lockCount]string // of names in the stage folder, NN-
}

func newLocks(s *Store) *locks {
	l := &locks{store: s}
	for i := range l.here {
		l.here[i] = make(chan struct{}, 1)
		number := fmt.Sprintf("%02d", i)
		l.files[i], l.prefix[i] = filepath.Join(s.inside(lockDir), number), number+"-"
	}
	return l
}

// lockOf returns which lock guards a module path.
func lockOf(path string) int {
	h := fnv.New32a()
	h.Write([]byte(path))
	return int(h.Sum32() % lockCount)
}

// lock waits for lock number n until ctx is done.
func (l *locks) lock(ctx context.Context, n int) (unlock func(), err error) {
	select {
	case l.here[n] <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	wait := firstWait
	for {
		unlock, err := l.flock(n)
		if unlock != nil || err != nil {
			return unlock, err
		}
		select {
		case <-time.After(wait):
			wait = min(2*wait, lastWait)
		case <-ctx.Done():
			<-l.here[n]
			return nil, ctx.Err()
		}
	}
}

// tryLock takes lock number n if it is free; otherwise unlock is nil.
func (l *locks) tryLock(n int) (unlock func(), err error) {
	select {
	case l.here[n] <- struct{}{}:
	default:
		return nil, nil
	}
	unlock, err = l.flock(n)
	if unlock == nil && err == nil {
		<-l.here[n]
	}
	return unlock, err
}

// flock tries the file lock, for a caller that has here[n]. After an error
// here[n] is free again; with neither an unlock nor an error it is not.
func (l *locks) flock(n int) (unlock func(), err error) {
	if !l.store.shared {
		return func() { <-l.here[n] }, nil
	}
	f, err := l.open(n)
	if err != nil {
		<-l.here[n]
		return nil, err
	}
	ok, err := flock.Try(f)
	if err != nil {
		f.Close()
		<-l.here[n]
		return nil, err
	}
	if !ok {
		f.Close()
		return nil, nil
	}
	return func() { flock.Release(f); <-l.here[n] }, nil
}

// open opens the file of lock number n, and makes it and its folder if need be.
func (l *locks) open(n int) (*os.File, error) {
	name := l.files[n]
	f, err := l.store.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if isAbsent(err) {
		if err = l.store.makeInside(lockDir); err == nil {
			f, err = l.store.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
		}
	}
	if err != nil {
		return nil, err
	}
	file, ok := osFile(f)
	if !ok {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, errors.ErrUnsupported)
	}
	return file, nil
}

// inside returns the path of a folder in the store's hidden one.
func (s *Store) inside(dir string) string {
	if dir == stageDir {
		return s.stage
	}
	return filepath.Join(s.dir, hidden, dir)
}

// makeInside makes that folder.
func (s *Store) makeInside(dir string) error {
	return durable.MkdirAll(s.fs, s.dir, s.inside(dir))
}

func osFile(f afero.File) (*os.File, bool) {
	file, ok := unwrap(f).(*os.File)
	return file, ok
}
