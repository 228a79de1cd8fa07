package gitpack

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// An unpacker checks a pack, hashes its objects, and makes its
// index. It needs memory for a packEntry of each object, and for the bases of the deltas
// that it is resolving.
type unpacker struct {
	job    *budget.Job
	limits Limits
	pack   *os.File
	size   int64
	dir    string // of the objects
	held   Bases  // where bases may be that are not in the pack; nil if not thin
	thin   bool

	list    []packEntry
	refs    []refDelta // deltas whose bases are given by name, sorted by it
	packSum []byte

	scan    *packScanner // for one object at a time
	buffer  *bufio.Reader
	deflate *zlib.Writer

	granted int64 // bytes of memory that contents may have
	memory  int64 // bytes of contents in memory
	files   int   // contents in files
}

// A refDelta is a delta whose base is given by name.
type refDelta struct {
	base  plumbing.Hash
	entry int32
}

// startBytes of memory are for contents from the beginning.
const startBytes = 256 << 10

// run does all of the work. Files that it has written stay in dir, even if it fails.
func (u *unpacker) run() error {
	if err := u.job.Grow(startBytes); err != nil {
		return err
	}
	u.granted = startBytes
	u.scan = newPackScanner(16<<10, nil)
	u.buffer = bufio.NewReader(nil)
	if err := u.first(); err != nil {
		return err
	}
	slices.SortFunc(u.refs, func(a, b refDelta) int { return bytes.Compare(a.base[:], b.base[:]) })
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
	s.reset(io.NewSectionReader(u.pack, 0, u.size), 0)
	n, err := s.count()
	if err != nil {
		return err
	}
	if int64(n) > u.size/minObjectBytes {
		return errorf("the pack says that it has %d objects, more than fit into %d bytes", n, u.size)
	}
	if err := u.job.Grow(int64(n) * entryBytes); err != nil {
		return err
	}
	u.list = make([]packEntry, 0, n)
	for range n {
		if err := u.firstEntry(s); err != nil {
			if damaged := (*damage)(nil); errors.As(err, &damaged) {
				return fmt.Errorf("the pack ends early or is damaged: %w", damaged.error)
			}
			return err
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

// A damage is an error of reading the pack itself.
type damage struct{ error }

func (u *unpacker) firstEntry(s *packScanner) error {
	if err := u.job.Step(objectSteps); err != nil {
		return err
	}
	s.settle()
	s.crc = 0
	e := packEntry{offset: s.offset(), child: -1, next: -1}
	h, err := s.head()
	if err != nil {
		return asDamage(err)
	}
	if h.size > u.limits.ObjectBytes {
		return errorf("an object has %d bytes", h.size)
	}
	e.kind, e.size = h.kind, h.size
	content, err := s.inflate()
	if err != nil {
		return asDamage(err)
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
	n, err := u.copy(sink, content, h.size)
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

func asDamage(err error) error {
	if errors.As(err, new(*Error)) {
		return err
	}
	return &damage{err}
}

// copy copies an object's content, and at most one byte more.
func (u *unpacker) copy(w io.Writer, content io.Reader, size int64) (n int64, err error) {
	buf := u.scan.copyBuffer()
	for n <= size {
		part, err := content.Read(buf[:min(int64(len(buf)), size+1-n)])
		n += int64(part)
		if err := u.job.Step(int64(part)); err != nil {
			return n, err
		}
		if _, err := w.Write(buf[:part]); err != nil {
			return n, err
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, &damage{err}
		}
	}
	return n, nil
}

// add records an object and its base.
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
		if err := u.addRef(refDelta{h.base, self}); err != nil {
			return err
		}
	}
	u.list = append(u.list, e)
	return nil
}

func (u *unpacker) addRef(r refDelta) error {
	if old := cap(u.refs); len(u.refs) == old {
		size := max(64, 2*old)
		if err := u.job.Grow(int64(size) * refBytes); err != nil {
			return err
		}
		more := make([]refDelta, len(u.refs), size)
		copy(more, u.refs)
		u.refs = more
		u.job.Shrink(int64(old) * refBytes)
	}
	u.refs = append(u.refs, r)
	return nil
}

// refsTo returns the deltas whose base has a name.
func (u *unpacker) refsTo(base plumbing.Hash) []refDelta {
	if len(u.refs) == 0 {
		return nil
	}
	find := func(from []refDelta, after bool) int {
		i, _ := slices.BinarySearchFunc(from, base, func(r refDelta, base plumbing.Hash) int {
			if c := bytes.Compare(r.base[:], base[:]); c != 0 || !after {
				return c
			}
			return -1
		})
		return i
	}
	first := u.refs[find(u.refs, false):]
	return first[:find(first, true)]
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
	if u.limits.Disk == nil {
		return nil
	}
	return u.limits.Disk(n)
}

// An objectWriter hashes an object and, if requested, stores it as a loose one.
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
	err := u.job.Step(fileSteps)
	if err == nil {
		err = u.space(fileBytes)
	}
	if err != nil {
		return nil, err
	}
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

// drop removes an unfinished file.
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
