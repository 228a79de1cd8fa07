package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// sumDir is the folder of what checksum databases said, named as in a module
// cache. No module path begins so: its first element has a dot.
const sumDir = "sumdb"

// Limits of one answer of a checksum database, as [athens.SumDBStore] has them.
const (
	maxSumName = 4096
	maxSumData = 1 << 20
)

// sumBlock is the least space that a file takes on disk, in bytes.
const sumBlock = 4096

// countEvery is how long the store uses its own count of the stored bytes before it counts again:
// other processes store answers too.
const countEvery = time.Hour

// sums bounds the stored answers of checksum databases.
type sums struct {
	most int64 // bytes; 0 keeps nothing

	mu   sync.Mutex
	size int64     // bytes, as counted
	at   time.Time // when they were counted
}

// GetSumDB returns what is kept under name. An empty file counts as none: it is
// what a power cut leaves of files that the go command wrote.
func (s *Store) GetSumDB(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := s.sumFile(name)
	if err != nil {
		return nil, sumFault("read", name, err)
	}
	f, err := s.fs.Open(file)
	if isAbsent(err) {
		if err = s.alive(); err == nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
	}
	if err != nil {
		return nil, sumFault("read", name, err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = notRegular(file)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxSumData+1))
	}
	switch {
	case err != nil:
		return nil, sumFault("read", name, err)
	case len(data) == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case len(data) > maxSumData:
		return nil, sumFault("read", name, errors.New("it is too large"))
	}
	return data, nil
}

// PutSumDB keeps data under name, if [Options.MaxSumDBBytes] allows.
func (s *Store) PutSumDB(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := s.sumFile(name)
	if err == nil && (len(data) == 0 || len(data) > maxSumData) {
		err = fmt.Errorf("%d bytes, not between 1 and %d", len(data), maxSumData)
	}
	if err != nil {
		return sumFault("put", name, err)
	}
	n := lockOf(sumDir + "/" + name)
	unlock, err := s.locks.lock(ctx, n)
	if err != nil {
		return s.unlocked(ctx, "put", module.Version{}, err)
	}
	defer unlock()
	undo, err := s.reserve(file, int64(len(data)))
	if err != nil {
		return sumFault("put", name, err)
	}
	dir := filepath.Dir(file)
	err = s.makeFolder(module.Version{Path: dir}, dir)
	if err == nil {
		err = s.writeFile(n, file, data)
	}
	if err != nil {
		undo()
		return sumFault("put", name, err)
	}
	return nil
}

// sumFile returns the file for name.
func (s *Store) sumFile(name string) (string, error) {
	local, err := filepath.Localize(name)
	if err != nil || name == "." || len(name) > maxSumName {
		return "", errors.New("malformed name")
	}
	return filepath.Join(s.dir, sumDir, local), nil
}

// reserve counts a file that is about to be written, in place of what is there.
// It fails if that would be too much.
func (s *Store) reserve(file string, size int64) (undo func(), err error) {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	if err := s.countSums(); err != nil {
		return nil, err
	}
	more := blocks(size)
	if info, err := s.fs.Stat(file); err == nil {
		more -= blocks(info.Size())
	}
	if more > 0 && s.sums.size+more > s.sums.most {
		return nil, fmt.Errorf("the stored answers of checksum databases would exceed MaxSumDBBytes, %d bytes", s.sums.most)
	}
	s.sums.size += more
	return func() {
		s.sums.mu.Lock()
		defer s.sums.mu.Unlock()
		s.sums.size -= more
	}, nil
}

// countSums counts what is kept, unless that was done lately. The caller has the
// mutex.
func (s *Store) countSums() error {
	if now := time.Now(); s.sums.at.IsZero() || now.Sub(s.sums.at) > countEvery {
		size := int64(0)
		err := afero.Walk(s.fs, filepath.Join(s.dir, sumDir), func(_ string, info fs.FileInfo, err error) error {
			switch {
			case isAbsent(err):
				return nil // nothing kept, or replaced meanwhile
			case err == nil && info.Mode().IsRegular():
				size += blocks(info.Size())
			}
			return err
		})
		if err != nil {
			return err
		}
		s.sums.size, s.sums.at = size, now
	}
	return nil
}

// blocks rounds up to what a file takes of the medium.
func blocks(size int64) int64 { return (size + sumBlock - 1) / sumBlock * sumBlock }

// sumFault is the error of an operation that failed, which does not say that
// nothing is kept.
func sumFault(op, name string, err error) error {
	return fmt.Errorf("storage: %s %s/%.200q: %w", op, sumDir, name, opaque(err))
}
