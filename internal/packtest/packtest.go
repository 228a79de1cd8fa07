// Package packtest makes git packs by hand, for tests: sound ones, and such as
// no git makes. Its packs are small; what is made of them need not be.
//
//   - packtest.go puts objects and deltas into a pack;
//   - corpus.go makes packs that cost a server as much as they can.
package packtest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
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

// Name returns the name of an object.
func Name(kind int, content []byte) [20]byte {
	name := map[int]string{Commit: "commit", Tree: "tree", Blob: "blob", Tag: "tag"}[kind]
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", name, len(content))
	h.Write(content)
	return [20]byte(h.Sum(nil))
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

func (p *Maker) deflate(content []byte) {
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
	out := append([]byte("PACK\x00\x00\x00\x02"), binary.BigEndian.AppendUint32(nil, count)...)
	out = append(out, p.body.Bytes()...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
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
