package storage

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// Stage makes a file beside the tree, on the same file system, that Commit
// renames into it.
func (s *Store) Stage(ctx context.Context) (athens.Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.sweepLater()
	f, name, err := s.createZip()
	if err != nil {
		return nil, fault("stage", module.Version{}, err)
	}
	st := &stage{s: s, w: f, name: name}
	if _, ok := f.(*os.File); ok {
		st.r = f
	} else if err := st.openReader(); err != nil {
		_ = st.Close()
		return nil, fault("stage", module.Version{}, err)
	}
	return st, nil
}

// A stage is a zip that is being written. On disk one open file serves the writer and the
// readers. Elsewhere the readers have a second one, under a lock: the ReadAt of
// afero's memory files moves the offset that Write and Read use.
type stage struct {
	s    *Store
	size int64  // written so far; only the writer and Commit use it
	sum  uint32 // of that
	fail error  // why nothing more can be written or committed
	full bool   // a Write failed for want of room, and the next may write the rest

	mu     sync.RWMutex // held for reading while r is used
	w, r   afero.File   // the same on disk; w is nil once it was closed
	name   string       // where the file is
	mine   bool         // it has its final name, and Close leaves it
	closed bool
	turn   sync.Mutex // readers that share an offset take turns
}

// openReader opens the readers' own file.
func (st *stage) openReader() error {
	f, err := st.s.fs.Open(st.name)
	if err != nil {
		return err
	}
	st.r = unwrap(f)
	return nil
}

func (st *stage) Write(p []byte) (int, error) {
	if st.fail != nil && !st.full {
		return 0, st.fail
	}
	if st.w == nil {
		return 0, os.ErrClosed // by a Commit that failed late
	}
	n, err := st.w.Write(p)
	st.size += int64(n)
	st.sum = crc32.Update(st.sum, castagnoli, p[:n])
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		st.fail, st.full = fault("write stage", module.Version{}, err), errors.Is(err, syscall.ENOSPC)
		return n, st.fail
	}
	st.fail, st.full = nil, false
	return n, nil
}

func (st *stage) ReadAt(p []byte, off int64) (int, error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if st.closed || st.r == nil {
		return 0, os.ErrClosed
	}
	if _, ok := st.r.(*os.File); ok {
		return st.r.ReadAt(p, off)
	}
	st.turn.Lock()
	defer st.turn.Unlock()
	return readAt(st.r, p, off)
}

// readAt reads from a file that is not the system's. Memory files return
// less than asked for without saying that they end, and panic before their start,
// where a bad zip may lead.
func readAt(r io.ReaderAt, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read at a negative offset")
	}
	n, err := r.ReadAt(p, off)
	if n < len(p) && (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = io.EOF
	}
	return n, err
}

// Close ends the stage. What a Commit took stays.
func (st *stage) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil
	}
	st.closed = true
	st.fail, st.full = os.ErrClosed, false
	err := st.closeFiles()
	if st.mine {
		return err
	}
	if rerr := st.s.fs.Remove(st.name); rerr != nil && !isAbsent(rerr) {
		err = errors.Join(err, rerr)
	}
	return err
}

// closeFiles closes what is open.
func (st *stage) closeFiles() error {
	var err error
	if st.r != nil && st.r != st.w {
		err = st.r.Close()
	}
	if st.w != nil {
		err = errors.Join(err, st.w.Close())
	}
	st.w, st.r = nil, nil
	return err
}

// Commit gives the file its name in the tree, after the .ziphash has its own.
func (st *stage) Commit(ctx context.Context, m module.Version, h1 string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if st.fail != nil {
		return st.fail
	}
	base, err := st.s.base(m)
	switch {
	case err != nil:
		return fault("commit", m, err)
	case !isHash(h1):
		return fault("commit", m, errors.New("not an h1 hash: "+h1))
	case st.size == 0:
		return fault("commit", m, errors.New("nothing was written"))
	}
	c := commitment{stage: st, m: m, base: base, h1: h1}
	err = c.run(ctx)
	var conflict *athens.ConflictError
	switch {
	case err == nil:
		st.fail = errors.New("storage: the stage was committed")
		st.s.repairLists()
		return nil
	case errors.Is(err, errNotPut):
		if err := st.s.removal(m, base); err != nil {
			return st.s.refused("commit", m, err)
		}
		return absent(m, athens.ModFile)
	case errors.As(err, &conflict), isRemoved(err), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	}
	return fault("commit", m, err)
}

// errNotPut says that the version is not held.
var errNotPut = errors.New("not put")

// commitment is one Commit.
type commitment struct {
	*stage
	m    module.Version
	base string
	h1   string
}

func (c *commitment) run(ctx context.Context) error {
	has, err := c.look()
	if err != nil {
		return err
	}
	if !has {
		if err := c.sync(); err != nil {
			return err
		}
		if has, err = c.adopt(ctx); err != nil {
			return err
		}
	}
	if has {
		return c.s.verdict(ctx, c.m, c.base, c.h1)
	}
	return nil
}

// sync puts the file's content on the medium; outside the lock, for it takes
// long. What a failed fsync left unwritten is never written.
func (c *commitment) sync() error {
	if c.w == nil {
		return nil // an earlier Commit came further than this
	}
	err := c.w.Sync()
	if err != nil {
		c.fail, c.full = err, false
	}
	return err
}

// look reports whether m has a zip.
func (c *commitment) look() (bool, error) {
	held, err := c.s.exists(c.base + ext(athens.ModFile))
	if err != nil {
		return false, err
	}
	if !held {
		return false, errNotPut
	}
	return c.s.exists(c.base + ext(athens.ZipFile))
}

// adopt makes the file the zip of m, unless another stage was faster.
func (c *commitment) adopt(ctx context.Context) (has bool, err error) {
	n := lockOf(c.m.Path)
	unlock, err := c.s.locks.lock(ctx, n)
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := c.s.removal(c.m, c.base); err != nil {
		return false, err
	}
	if has, err := c.look(); has || err != nil {
		return has, err
	}
	rec, err := c.s.readRecord(c.m, c.base)
	if err != nil {
		return false, err
	}
	if rec.zip != "" && rec.zip != c.h1 { // it was quarantined, or lost
		return false, &athens.ConflictError{Module: c.m, File: athens.ZipFile, Held: rec.zip, Got: c.h1}
	}
	if err := c.s.writeFile(n, c.base+hashExt, []byte(c.h1)); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := c.publish(c.base + ext(athens.ZipFile)); err != nil {
		return false, err
	}
	// A zip that never had its name must bind nobody: its record comes after it.
	if _, err := c.s.addRecord(n, c.m, c.base, record{zip: c.h1, raw: rawSum(c.size, c.sum)}); err != nil {
		return false, err
	}
	return false, durable.SyncDir(c.s.fs, filepath.Dir(c.base))
}

// publish renames the file. What is locked and shared with other processes
// stays open meanwhile. Elsewhere it is closed first: Windows renames no open
// file, and a memory file would get another ModTime when it is closed later.
func (c *commitment) publish(dst string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.s.shared {
		if err := c.closeFiles(); err != nil {
			c.fail = err
			return err
		}
	}
	err := c.s.fs.Rename(c.name, dst)
	if err == nil {
		c.name, c.mine = dst, true
	}
	if !c.s.shared {
		if oerr := c.openReader(); err == nil {
			err = oerr
		}
	}
	return err
}
