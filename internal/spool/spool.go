// Package spool lets any number of readers follow a file while it is written, so that
// they do not wait for its last byte before they get the first.
//
// A [Spool] has one writer and many readers, its users; the last one that leaves closes
// the file. The writer ends the file with a verdict when it has checked the whole, and
// readers get that verdict at the end: an error, if they must not take what they have
// read for a good file.
package spool

import (
	"context"
	"io"
	"sync"
)

// File is what a [Spool] writes to and reads from. ReadAt is called while other
// goroutines call Write.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// Spool is a file that readers follow while it is written. Make one with [New].
type Spool struct {
	file File

	mu    sync.Mutex
	grown sync.Cond // size or ended changed
	size  int64     // bytes that can be read
	ended bool      // nothing more comes, and err is the verdict
	err   error
	users int // the writer and the readers
}

// New returns a spool with one user, its writer, who has to call [Spool.Leave].
func New(file File) *Spool {
	s := &Spool{file: file, users: 1}
	s.grown.L = &s.mu
	return s
}

// ReadError says that the file could not be read.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "read spool: " + e.Err.Error() }

// Unwrap returns Err.
func (e *ReadError) Unwrap() error { return e.Err }

// Write adds to the file and wakes the readers. Only one goroutine may write.
func (s *Spool) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.mu.Lock()
	s.size += int64(n)
	s.mu.Unlock()
	s.grown.Broadcast()
	return n, err
}

// End tells the readers the verdict; nil says that the file is good.
func (s *Spool) End(err error) {
	s.mu.Lock()
	s.ended, s.err = true, err
	s.mu.Unlock()
	s.grown.Broadcast()
}

// Use adds a reader. It reports false if the last user has left and the file is closed.
func (s *Spool) Use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return false
	}
	s.users++
	return true
}

// Leave removes a user. The last one closes the file.
func (s *Spool) Leave() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if last {
		_ = s.file.Close() // the store cleans up what Close leaves
	}
}

// Await waits until the file has more than off bytes, or for the verdict. It returns
// the number of bytes.
func (s *Spool) Await(ctx context.Context, off int64) (size int64, ended bool, err error) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock() // so that a reader that is about to wait does not miss it
		defer s.mu.Unlock()
		s.grown.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.size <= off && !s.ended {
		if err := ctx.Err(); err != nil {
			return s.size, false, err
		}
		s.grown.Wait()
	}
	return s.size, s.ended, s.err
}

// behind reports whether a reader at off can go on without waiting.
func (s *Spool) behind(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size > off || s.ended
}

// buffers are what readers copy with.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// CopyTo writes the file to w while it grows, and calls flush before it waits for more.
// It returns nil only if the verdict is that the file is good. If the file can't be
// read, the error is a [*ReadError].
func (s *Spool) CopyTo(ctx context.Context, w io.Writer, flush func() error) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var off int64
	for {
		if !s.behind(off) {
			if err := flush(); err != nil {
				return err
			}
		}
		size, ended, err := s.Await(ctx, off)
		if err != nil {
			return err
		}
		for off < size {
			n, err := s.file.ReadAt((*buf)[:min(int64(len(*buf)), size-off)], off)
			if n == 0 && err == nil {
				err = io.ErrNoProgress
			}
			if n == 0 {
				return &ReadError{err}
			}
			if _, err := w.Write((*buf)[:n]); err != nil {
				return err
			}
			off += int64(n)
		}
		if ended {
			return nil
		}
	}
}
