// Package packtest makes git packs by hand, for tests: sound ones, and such as
// no git makes. Its packs are small; what is made of them need not be.
//
//   - packtest.go puts objects and deltas into a pack;
//   - corpus.go makes packs that cost a server as much as they can;
//   - host.go serves them.
package packtest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"
	"os"
	"strconv"
)

// The kinds of objects, as a pack numbers them.
const (
	Commit      = 1
	Tree        = 2
	Blob        = 3
	Tag         = 4
	OffsetDelta = 6
	NamedDelta  = 7
)

// A Maker makes a pack.
type Maker struct {
	body  bytes.Buffer
	count uint32
	at    []int // offsets of the objects
	z     *zlib.Writer
}

// Add adds an object that says to have a size; back counts objects back to an offset
// delta's base: one is the object before it.
func (p *Maker) Add(kind, size int, content []byte, back int) {
	offset := p.head(kind, size)
	if kind == OffsetDelta {
		n := offset - p.at[len(p.at)-1-back]
		out := []byte{byte(n & 0x7f)}
		for n >>= 7; n > 0; n >>= 7 {
			n--
			out = append([]byte{byte(n&0x7f) | 0x80}, out...)
		}
		p.body.Write(out)
	}
	p.deflate(content)
}

// AddNamed adds a delta whose base has a name.
func (p *Maker) AddNamed(base [20]byte, delta []byte) {
	p.head(NamedDelta, len(delta))
	p.body.Write(base[:])
	p.deflate(delta)
}

// Object adds a whole object and returns its name.
func (p *Maker) Object(kind int, content []byte) [20]byte {
	p.Add(kind, len(content), content, 0)
	return Name(kind, content)
}

var kinds = [...]string{Commit: "commit", Tree: "tree", Blob: "blob", Tag: "tag"}

// Name returns the name of an object.
func Name(kind int, content []byte) (name [20]byte) {
	h := sha1.New()
	var head [32]byte
	h.Write(append(strconv.AppendInt(append(append(head[:0], kinds[kind]...), ' '), int64(len(content)), 10), 0))
	h.Write(content)
	h.Sum(name[:0])
	return name
}

// head writes what stands before an object's content, and returns its offset.
func (p *Maker) head(kind, size int) int {
	offset := 12 + p.body.Len()
	p.at = append(p.at, offset)
	p.count++
	b := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.body.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	p.body.WriteByte(b)
	return offset
}

// storedBytes is the size below which content is not compressed: that takes a
// hundredth of the time, and packs of millions of objects are to be made in seconds.
const storedBytes = 256

func (p *Maker) deflate(content []byte) {
	if len(content) < storedBytes {
		n := uint16(len(content))
		head := [7]byte{0x78, 0x01, 0x01, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)}
		p.body.Write(head[:])
		p.body.Write(content)
		sum := adler32.Checksum(content)
		p.body.Write([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
		return
	}
	if p.z == nil {
		p.z = zlib.NewWriter(nil)
	}
	p.z.Reset(&p.body)
	_, _ = p.z.Write(content)
	_ = p.z.Close()
}

// Pack returns the pack.
func (p *Maker) Pack() []byte { return p.PackOf(p.count) }

// PackOf returns a pack that says to have another number of objects.
func (p *Maker) PackOf(count uint32) []byte {
	var out bytes.Buffer
	_ = p.write(&out, count) // a buffer takes everything
	return out.Bytes()
}

// WriteFile writes the pack into a new file, without a copy of it in memory.
func (p *Maker) WriteFile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(p.write(f, p.count), f.Close())
}

func (p *Maker) write(w io.Writer, count uint32) error {
	sum := sha1.New()
	both := io.MultiWriter(w, sum)
	_, err := both.Write(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count))
	if err != nil {
		return err
	}
	if _, err := both.Write(p.body.Bytes()); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// Number writes a size as deltas have it.
func Number(n int) (out []byte) {
	for ; n > 0x7f; n >>= 7 {
		out = append(out, byte(n&0x7f)|0x80)
	}
	return append(out, byte(n))
}

// Bomb is a delta that repeats its base of 64 KiB.
func Bomb(times int) []byte {
	d := append(Number(1<<16), Number(times<<16)...)
	return append(d, bytes.Repeat([]byte{0x80}, times)...)
}
