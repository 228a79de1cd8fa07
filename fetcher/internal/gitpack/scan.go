package gitpack

import (
	"compress/zlib"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// A packScanner reads a pack byte by byte, so that inflating an object
// reads no byte beyond it. It computes the checksums of what was read.
type packScanner struct {
	r            io.Reader
	buf          []byte
	at, end      int   // what of buf is still to be read
	mark         int   // from here on it is not in the checksums
	start        int64 // offset of buf[0]
	crc          uint32
	sum          hash.Hash // nil where nobody asks for it
	inflater     io.ReadCloser
	inflaterFrom zlib.Resetter
	copying      []byte
}

func newPackScanner(size int, sum hash.Hash) *packScanner {
	return &packScanner{buf: make([]byte, size), sum: sum}
}

// reset goes on with r, which begins at an offset of the pack.
func (s *packScanner) reset(r io.Reader, offset int64) {
	s.r, s.start, s.at, s.end, s.mark, s.crc = r, offset, 0, 0, 0, 0
}

// copyBuffer returns a buffer for the copying of what is inflated.
func (s *packScanner) copyBuffer() []byte {
	if s.copying == nil {
		s.copying = make([]byte, 32<<10)
	}
	return s.copying
}

func (s *packScanner) offset() int64 { return s.start + int64(s.at) }

// settle adds what was read to the checksums.
func (s *packScanner) settle() {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, s.buf[s.mark:s.at])
	if s.sum != nil {
		s.sum.Write(s.buf[s.mark:s.at])
	}
	s.mark = s.at
}

func (s *packScanner) fill() error {
	if s.at < s.end {
		return nil
	}
	s.settle()
	s.start += int64(s.end)
	s.at, s.end, s.mark = 0, 0, 0
	n, err := s.r.Read(s.buf)
	s.end = n
	if n > 0 {
		return nil
	}
	return err
}

// ReadByte implements [io.ByteReader].
func (s *packScanner) ReadByte() (byte, error) {
	for s.at == s.end {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	b := s.buf[s.at]
	s.at++
	return b, nil
}

// Read implements [io.Reader].
func (s *packScanner) Read(p []byte) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.buf[s.at:s.end])
	s.at += n
	return n, nil
}

// inflate returns the inflated content of what follows.
func (s *packScanner) inflate() (io.Reader, error) {
	if s.inflater != nil {
		return s.inflater, s.inflaterFrom.Reset(s, nil)
	}
	rd, err := zlib.NewReader(s)
	if err != nil {
		return nil, err
	}
	s.inflater, s.inflaterFrom = rd, rd.(zlib.Resetter)
	return rd, nil
}

// count reads a pack's header and returns the number of objects in it.
func (s *packScanner) count() (uint32, error) {
	var head [12]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return 0, errorf("the pack has no head: %w", err)
	}
	version := binary.BigEndian.Uint32(head[4:])
	if string(head[:4]) != "PACK" || version != 2 && version != 3 {
		return 0, errorf("what the server sent is no pack")
	}
	return binary.BigEndian.Uint32(head[8:]), nil
}

// A packHead is the header of an object in a pack.
type packHead struct {
	kind plumbing.ObjectType
	size int64         // of the content when it is inflated
	back int64         // of an offset delta: how far before it its base is
	base plumbing.Hash // of a reference delta: its base
}

func (s *packScanner) head() (h packHead, err error) {
	b, err := s.ReadByte()
	if err != nil {
		return h, err
	}
	h.kind = plumbing.ObjectType(b >> 4 & 7)
	h.size = int64(b & 15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = s.ReadByte(); err != nil {
			return h, err
		}
		if shift > 53 {
			return h, errorf("an object's size is too large")
		}
		h.size |= int64(b&0x7f) << shift
	}
	switch h.kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return h, nil
	case plumbing.REFDeltaObject:
		_, err = io.ReadFull(s, h.base[:])
		return h, err
	case plumbing.OFSDeltaObject:
		h.back, err = s.distance()
		return h, err
	}
	return h, errorf("an object has the unknown type %d", h.kind)
}

// distance reads how far back an offset delta's base is. Each further byte
// adds one, so that no number can be written in two ways.
func (s *packScanner) distance() (int64, error) {
	b, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	n := int64(b & 0x7f)
	for b&0x80 != 0 {
		if b, err = s.ReadByte(); err != nil {
			return 0, err
		}
		if n > 1<<50 {
			return 0, errorf("a delta's base is too far away")
		}
		n = (n+1)<<7 | int64(b&0x7f)
	}
	return n, nil
}
