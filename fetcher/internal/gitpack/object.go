package gitpack

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// An Object is an object that is being read. Reading fails if the content is not
// exactly Size bytes long.
type Object struct {
	Kind plumbing.ObjectType
	Size int64

	store *Store
	r     io.Reader
	left  int64
	close func()
}

// Read implements [io.Reader].
func (o *Object) Read(p []byte) (int, error) {
	n, err := o.r.Read(p[:min(int64(len(p)), o.left+1)])
	if o.left -= int64(n); o.left < 0 || err == io.EOF && o.left > 0 {
		return 0, fmt.Errorf("an object does not have its %d bytes", o.Size)
	}
	if err := o.store.job.Step(int64(n)); err != nil {
		return n, err
	}
	return n, err
}

// Close implements [io.Closer].
func (o *Object) Close() error {
	if o.close != nil {
		o.close()
		o.close = nil
	}
	return nil
}

// Object opens an object. If there is none, the error is
// [plumbing.ErrObjectNotFound].
func (s *Store) Object(name plumbing.Hash) (*Object, error) {
	if err := s.job.Step(objectSteps); err != nil {
		return nil, err
	}
	p, offset, err := s.find(name)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return s.loose(name)
	}
	return s.packed(p, offset)
}

// Size returns the size of an object.
func (s *Store) Size(name plumbing.Hash) (int64, error) {
	if err := s.job.Step(objectSteps); err != nil {
		return 0, err
	}
	p, offset, err := s.find(name)
	if err != nil {
		return 0, err
	}
	if p == nil {
		o, err := s.loose(name)
		if err != nil {
			return 0, err
		}
		return o.Size, o.Close()
	}
	scan := s.scanner()
	defer s.put(scan)
	h, err := s.at(scan, p, offset)
	if err != nil || !h.kind.IsDelta() {
		return h.size, err
	}
	content, err := scan.inflate()
	if err != nil {
		return 0, err
	}
	d, err := newPackDelta(bufio.NewReaderSize(content, 32))
	if err != nil {
		return 0, err
	}
	return d.size, nil
}

// loose opens a loose object.
func (s *Store) loose(name plumbing.Hash) (*Object, error) {
	f, err := os.Open(s.loosePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plumbing.ErrObjectNotFound
	}
	if err != nil {
		return nil, err
	}
	o, err := s.looseObject(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("object %s: %w", name, err)
	}
	return o, nil
}

var errLoose = errors.New("its file is damaged")

func (s *Store) looseObject(f *os.File) (*Object, error) {
	z, err := zlib.NewReader(f)
	if err != nil {
		return nil, errLoose
	}
	r := bufio.NewReader(z)
	var head []byte
	for len(head) < 64 {
		b, err := r.ReadByte()
		if err != nil {
			return nil, errLoose
		}
		if b == 0 {
			break
		}
		head = append(head, b)
	}
	word, digits, _ := strings.Cut(string(head), " ")
	kind, err := plumbing.ParseObjectType(word)
	if err != nil {
		return nil, errLoose
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || size < 0 {
		return nil, errLoose
	}
	return &Object{Kind: kind, Size: size, store: s, r: r, left: size, close: func() { f.Close() }}, nil
}

// scanner returns a scanner for one object.
func (s *Store) scanner() *packScanner {
	if n := len(s.spare); n > 0 {
		scan := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return scan
	}
	return newPackScanner(16<<10, nil)
}

func (s *Store) put(scan *packScanner) {
	if len(s.spare) < 4 {
		s.spare = append(s.spare, scan)
	}
}

// at seeks to an object of a pack.
func (s *Store) at(scan *packScanner, p *storedPack, offset int64) (packHead, error) {
	if err := s.ready(p); err != nil {
		return packHead{}, err
	}
	if offset < 0 || offset >= p.size {
		return packHead{}, errIndex
	}
	scan.reset(io.NewSectionReader(p.pack, offset, p.size-offset), offset)
	return scan.head()
}

// packed opens an object of a pack. It streams the object if it is not a delta;
// otherwise it reconstructs it in memory.
func (s *Store) packed(p *storedPack, offset int64) (*Object, error) {
	scan := s.scanner()
	h, err := s.at(scan, p, offset)
	if err != nil {
		return nil, err
	}
	if h.kind.IsDelta() {
		s.put(scan)
		return s.made(p, offset)
	}
	content, err := scan.inflate()
	if err != nil {
		return nil, err
	}
	return &Object{Kind: h.kind, Size: h.size, store: s, r: content, left: h.size, close: func() { s.put(scan) }}, nil
}

// made reconstructs an object from its deltas.
func (s *Store) made(p *storedPack, offset int64) (*Object, error) {
	chain := []int64{} // deltas, the last one first
	var base *baseContent
	for at := offset; ; {
		if len(chain) > maxChain {
			return nil, errorf("an object has more than %d deltas", maxChain)
		}
		if err := s.job.Step(objectSteps); err != nil {
			return nil, err
		}
		if base = s.bases.get(p, at); base != nil {
			break
		}
		next, whole, err := s.follow(p, at)
		if err != nil {
			return nil, err
		}
		if whole != nil {
			base = whole
			s.bases.add(s.job, p, at, base)
			break
		}
		chain = append(chain, at)
		if next < 0 {
			base, err = s.named(p, at)
			if err != nil {
				return nil, err
			}
			break
		}
		at = next
	}
	for i := len(chain) - 1; i >= 0; i-- {
		next, err := s.patch(p, chain[i], base)
		s.free(base)
		if err != nil {
			return nil, err
		}
		s.bases.add(s.job, p, chain[i], next)
		base = next
	}
	n := int64(len(base.data))
	return &Object{
		Kind: base.kind, Size: n, store: s, r: bytes.NewReader(base.data), left: n, close: func() { s.free(base) },
	}, nil
}

// free returns a base's memory to the job.
func (s *Store) free(b *baseContent) {
	s.job.Shrink(b.charged)
	b.charged = 0
}

// follow returns the offset of a delta's base in the pack, or -1 if the base is given by
// name. For an object that is not a delta it returns the content.
func (s *Store) follow(p *storedPack, at int64) (next int64, whole *baseContent, err error) {
	scan := s.scanner()
	defer s.put(scan)
	h, err := s.at(scan, p, at)
	switch {
	case err != nil:
		return 0, nil, err
	case h.kind == plumbing.OFSDeltaObject:
		return at - h.back, nil, nil
	case h.kind == plumbing.REFDeltaObject:
		return -1, nil, nil
	}
	content, err := scan.inflate()
	if err != nil {
		return 0, nil, err
	}
	whole, err = s.read(&Object{Kind: h.kind, Size: h.size, store: s, r: content, left: h.size})
	return 0, whole, err
}

// named reads the base of a delta that gives its base by name.
func (s *Store) named(p *storedPack, at int64) (*baseContent, error) {
	scan := s.scanner()
	h, err := s.at(scan, p, at)
	s.put(scan)
	if err != nil {
		return nil, err
	}
	if s.nested++; s.nested > maxChain {
		return nil, errorf("an object has more than %d deltas", maxChain)
	}
	defer func() { s.nested-- }()
	o, err := s.Object(h.base)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return s.read(o)
}

// read reads a base into memory.
func (s *Store) read(o *Object) (*baseContent, error) {
	if o.Size > largeBytes {
		return nil, errorf("a delta's base has %d bytes", o.Size)
	}
	if err := s.job.Grow(o.Size); err != nil {
		return nil, err
	}
	b := &baseContent{kind: o.Kind, data: make([]byte, o.Size), charged: o.Size}
	if _, err := io.ReadFull(o, b.data); err != nil {
		s.free(b)
		return nil, err
	}
	return b, nil
}

// patch applies a delta to its base.
func (s *Store) patch(p *storedPack, at int64, base *baseContent) (*baseContent, error) {
	scan := s.scanner()
	defer s.put(scan)
	if _, err := s.at(scan, p, at); err != nil {
		return nil, err
	}
	content, err := scan.inflate()
	if err != nil {
		return nil, err
	}
	d, err := newPackDelta(bufio.NewReader(content))
	if err != nil {
		return nil, err
	}
	if d.size > largeBytes {
		return nil, errorf("a delta makes an object of %d bytes", d.size)
	}
	if err := s.job.Grow(d.size); err != nil {
		return nil, err
	}
	to := &packContent{memory: make([]byte, 0, d.size), size: d.size}
	from := &packContent{memory: base.data, size: int64(len(base.data))}
	if err := d.apply(s.job, from, to); err != nil {
		s.job.Shrink(d.size)
		return nil, err
	}
	return &baseContent{kind: base.kind, data: to.memory, charged: d.size}, nil
}
