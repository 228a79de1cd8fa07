package athens

import (
	"context"
	"io"
	"sync"
)

// spool is a stage that any number of readers follow while it is written, so
// that the first byte does not wait for the last. What they may take as the end
// is decided when the whole has been checked.
type spool struct {
	stage Stage

	mu    sync.Mutex
	grown sync.Cond // size or ended changed
	size  int64     // bytes that can be read
	ended bool      // nothing more comes, and err is the verdict
	err   error
	users int // whoever writes, and the readers; the last one closes the stage
}

// newSpool returns a spool with one user, its writer.
func newSpool(stage Stage) *spool {
	s := &spool{stage: stage, users: 1}
	s.grown.L = &s.mu
	return s
}

// Write adds to the stage and wakes the readers. Only one goroutine writes.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.stage.Write(p)
	s.mu.Lock()
	s.size += int64(n)
	s.mu.Unlock()
	s.grown.Broadcast()
	return n, err
}

// end tells the readers the verdict.
func (s *spool) end(err error) {
	s.mu.Lock()
	s.ended, s.err = true, err
	s.mu.Unlock()
	s.grown.Broadcast()
}

// use adds a user, unless the last one has left.
func (s *spool) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return false
	}
	s.users++
	return true
}

// leave ends a use. What was not committed is gone with the last one.
func (s *spool) leave() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if last {
		_ = s.stage.Close() // a leftover file is the store's to sweep
	}
}

// await waits until there is more than off bytes, or the verdict. It returns the
// bytes there are.
func (s *spool) await(ctx context.Context, off int64) (size int64, ended bool, err error) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock() // or a reader who is about to wait would miss it
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

// behind reports whether a reader at off need not wait.
func (s *spool) behind(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size > off || s.ended
}

// buffers are those of readers.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// copyTo writes what there is and what comes, and flushes before it waits. It
// returns nil only when all of it was found good.
func (s *spool) copyTo(ctx context.Context, w io.Writer, flush func() error) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var off int64
	for {
		if !s.behind(off) {
			if err := flush(); err != nil {
				return err
			}
		}
		size, ended, err := s.await(ctx, off)
		if err != nil {
			return err
		}
		for off < size {
			n, err := s.stage.ReadAt((*buf)[:min(int64(len(*buf)), size-off)], off)
			if n == 0 && err == nil {
				err = io.ErrNoProgress
			}
			if n == 0 {
				return &storeError{err}
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

// firstWrite calls then when the first byte comes: a zip that does not exist
// costs no other question.
type firstWrite struct {
	w    io.Writer
	then func()
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.then != nil {
		f.then()
		f.then = nil
	}
	return f.w.Write(p)
}
