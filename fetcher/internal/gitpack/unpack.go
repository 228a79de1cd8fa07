package gitpack

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxChain bounds how many deltas lead to an object. Git makes no longer ones.
const maxChain = 4096

// An unpacker checks a pack, finds what its objects are called, and makes its
// index, in memory that depends on the number of objects only. Large objects
// that the pack has as deltas are written out one by one, because readers of
// deltas keep whole objects in memory. So is every object of a thin pack.
type unpacker struct {
	ctx    context.Context
	limits Limits
	pack   *os.File
	size   int64
	dir    string // of the objects
	held   Bases  // where bases may be that are not in the pack; nil if not thin
	thin   bool

	list    []packEntry
	waiting map[plumbing.Hash][]int32 // deltas, by the base that is not known yet
	packSum []byte

	scan    *packScanner // for one object at a time
	buffer  *bufio.Reader
	deflate *zlib.Writer
	disk    int64 // bytes written beside the pack
}

// run does all of the work. What was written stays in dir.
func (u *unpacker) run() error {
	u.waiting = make(map[plumbing.Hash][]int32)
	u.scan = newPackScanner(16<<10, nil)
	u.buffer = bufio.NewReader(nil)
	if err := u.first(); err != nil {
		return err
	}
	for i := range u.list {
		if u.list[i].known {
			if err := u.resolve(int32(i)); err != nil {
				return err
			}
		}
	}
	if err := u.resolveHeld(); err != nil {
		return err
	}
	for i := range u.list {
		if !u.list[i].known {
			return errorf("the pack has a delta without its base")
		}
	}
	return nil
}

// first reads the pack from its beginning to its end.
func (u *unpacker) first() error {
	s := newPackScanner(64<<10, sha1.New())
	s.reset(&contextReader{u.ctx, io.NewSectionReader(u.pack, 0, u.size)}, 0)
	n, err := s.count()
	if err != nil {
		return err
	}
	if int64(n) > int64(u.limits.Objects) {
		return errorf("the pack has %d objects, more than %d", n, u.limits.Objects)
	}
	for range n {
		if err := u.firstEntry(s); err != nil {
			if u.ctx.Err() != nil || errors.As(err, new(*Error)) {
				return err
			}
			return fmt.Errorf("the pack ends early or is damaged: %w", err)
		}
	}
	s.settle()
	u.packSum = s.sum.Sum(nil)
	var sum [sha1.Size]byte
	if _, err := io.ReadFull(s, sum[:]); err != nil || !bytes.Equal(sum[:], u.packSum) {
		return errors.New("the pack's checksum is wrong")
	}
	if _, err := s.ReadByte(); !errors.Is(err, io.EOF) {
		return errorf("something follows the pack")
	}
	return nil
}

func (u *unpacker) firstEntry(s *packScanner) error {
	s.settle()
	s.crc = 0
	e := packEntry{offset: s.offset(), child: -1, next: -1}
	h, err := s.head()
	if err != nil {
		return err
	}
	if h.size > u.limits.ObjectBytes {
		return errorf("an object has %d bytes", h.size)
	}
	e.kind, e.size = h.kind, h.size
	content, err := s.inflate()
	if err != nil {
		return err
	}
	sink := io.Discard
	var named *objectWriter
	if !h.kind.IsDelta() {
		if named, err = u.newObject(h.kind, h.size, u.thin); err != nil {
			return err
		}
		defer named.drop()
		sink = named
	}
	n, err := io.Copy(sink, io.LimitReader(content, h.size+1))
	if err != nil {
		return err
	}
	if n != h.size {
		return errorf("an object has not the size that is given for it")
	}
	s.settle()
	e.crc = s.crc
	if named != nil {
		e.known, e.single = true, u.thin
		if e.hash, err = named.done(); err != nil {
			return err
		}
	}
	return u.add(e, h)
}

// add takes over an object, and says who its base is.
func (u *unpacker) add(e packEntry, h packHead) error {
	self := int32(len(u.list))
	switch h.kind {
	case plumbing.OFSDeltaObject:
		at, ok := slices.BinarySearchFunc(u.list, e.offset-h.back, func(e packEntry, offset int64) int {
			return cmp.Compare(e.offset, offset)
		})
		if !ok {
			return errorf("the pack has a delta without its base")
		}
		e.next = u.list[at].child
		u.list[at].child = self
	case plumbing.REFDeltaObject:
		u.waiting[h.base] = append(u.waiting[h.base], self)
	}
	u.list = append(u.list, e)
	return nil
}

// children returns the deltas of which an object is the base, once.
func (u *unpacker) children(i int32) []int32 {
	list := u.waiting[u.list[i].hash]
	delete(u.waiting, u.list[i].hash)
	for c := u.list[i].child; c >= 0; c = u.list[c].next {
		list = append(list, c)
	}
	u.list[i].child = -1
	return list
}

// open reads an object's content, as the pack has it.
func (u *unpacker) open(i int32) (io.Reader, error) {
	offset := u.list[i].offset
	u.scan.reset(io.NewSectionReader(u.pack, offset, u.size-offset), offset)
	if _, err := u.scan.head(); err != nil {
		return nil, err
	}
	return u.scan.inflate()
}

// space counts bytes that are kept beside the pack.
func (u *unpacker) space(n int64) error {
	if u.disk+n > u.limits.DiskBytes {
		return errorf("the pack needs more than %d bytes when it is unpacked", u.limits.DiskBytes)
	}
	u.disk += n
	return nil
}

// newContent makes the place for an object's content.
func (u *unpacker) newContent(size int64) (*packContent, error) {
	c := &packContent{size: size}
	if size <= u.limits.LargeBytes {
		c.memory = make([]byte, 0, size)
		return c, nil
	}
	if err := u.space(size); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(u.dir, "base-")
	c.file = f
	return c, err
}

func (u *unpacker) release(c *packContent) {
	if c != nil && c.file != nil {
		c.file.Close()
		os.Remove(c.file.Name())
		u.disk -= c.size
	}
}

// An objectWriter finds an object's name, and keeps it on its own if wanted.
type objectWriter struct {
	plumbing.Hasher
	u    *unpacker
	file *os.File
}

func (u *unpacker) newObject(kind plumbing.ObjectType, size int64, keep bool) (*objectWriter, error) {
	w := &objectWriter{Hasher: plumbing.NewHasher(kind, size), u: u}
	if !keep {
		return w, nil
	}
	var err error
	if w.file, err = os.CreateTemp(u.dir, "object-"); err != nil {
		return nil, err
	}
	if u.deflate == nil {
		u.deflate, _ = zlib.NewWriterLevel(nil, zlib.BestSpeed)
	}
	u.deflate.Reset(boundedWriter{u, w.file})
	_, err = fmt.Fprintf(u.deflate, "%s %d\x00", kind, size)
	return w, err
}

// Write implements [io.Writer].
func (w *objectWriter) Write(p []byte) (int, error) {
	w.Hasher.Write(p)
	if w.file == nil {
		return len(p), nil
	}
	return w.u.deflate.Write(p)
}

// done ends the object and gives it its name.
func (w *objectWriter) done() (plumbing.Hash, error) {
	hash := w.Sum()
	if w.file == nil {
		return hash, nil
	}
	tmp := w.file.Name()
	err := w.u.deflate.Close()
	if err = cmp.Or(err, w.file.Close()); err != nil {
		return hash, err
	}
	w.file = nil
	name := hash.String()
	folder := filepath.Join(w.u.dir, name[:2])
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return hash, err
	}
	return hash, os.Rename(tmp, filepath.Join(folder, name[2:]))
}

// drop removes what is not done.
func (w *objectWriter) drop() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
	}
}

// boundedWriter counts what is written as space.
type boundedWriter struct {
	u *unpacker
	w io.Writer
}

func (b boundedWriter) Write(p []byte) (int, error) {
	if err := b.u.space(int64(len(p))); err != nil {
		return 0, err
	}
	return b.w.Write(p)
}

// A contextReader fails as soon as its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
