package gitpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// A storedPack is a pack with its index. The index is read from its file when
// needed; in memory it would take 28 bytes for each object.
type storedPack struct {
	name   string // without .pack and .idx
	index  *os.File
	pack   *os.File
	size   int64
	fanout [256]uint32 // how many objects have a name whose first byte is at most this
}

const (
	indexHead  = 8
	indexNames = indexHead + 256*4 // where the names begin
	nameBytes  = 20
)

var errIndex = errors.New("a pack's index is damaged")

// open opens the files.
func (p *storedPack) open() (err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.index, err = os.Open(p.name + ".idx"); err != nil {
		return err
	}
	if p.pack, err = os.Open(p.name + ".pack"); err != nil {
		return err
	}
	info, err := p.pack.Stat()
	if err != nil {
		return err
	}
	p.size = info.Size()
	var head [indexNames]byte
	if _, err := p.index.ReadAt(head[:], 0); err != nil {
		return errIndex
	}
	if !bytes.Equal(head[:indexHead], []byte("\xfftOc\x00\x00\x00\x02")) {
		return errIndex
	}
	for i := range p.fanout {
		p.fanout[i] = binary.BigEndian.Uint32(head[indexHead+4*i:])
	}
	if !slices.IsSorted(p.fanout[:]) {
		return errIndex
	}
	return nil
}

func (p *storedPack) close() {
	for _, f := range []*os.File{p.index, p.pack} {
		if f != nil {
			f.Close()
		}
	}
	p.index, p.pack = nil, nil
}

// bucket returns which names begin with a byte.
func (p *storedPack) bucket(first byte) (from, to int64) {
	if first > 0 {
		from = int64(p.fanout[first-1])
	}
	return from, int64(p.fanout[first])
}

func (p *storedPack) name20(i int64) (name plumbing.Hash, err error) {
	_, err = p.index.ReadAt(name[:], indexNames+nameBytes*i)
	return name, err
}

// search returns the first object whose name is not less than the given one.
func (p *storedPack) search(name plumbing.Hash) (int64, error) {
	from, to := p.bucket(name[0])
	for from < to {
		middle := (from + to) / 2
		other, err := p.name20(middle)
		if err != nil {
			return 0, errIndex
		}
		if bytes.Compare(other[:], name[:]) < 0 {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, nil
}

// find returns where in the pack an object is.
func (p *storedPack) find(name plumbing.Hash) (offset int64, ok bool, err error) {
	i, err := p.search(name)
	if err != nil {
		return 0, false, err
	}
	if _, to := p.bucket(name[0]); i >= to {
		return 0, false, nil
	}
	other, err := p.name20(i)
	if err != nil || other != name {
		return 0, false, err
	}
	count := int64(p.fanout[255])
	offsets := indexNames + (nameBytes+4)*count
	var buf [8]byte
	if _, err := p.index.ReadAt(buf[:4], offsets+4*i); err != nil {
		return 0, false, errIndex
	}
	offset = int64(binary.BigEndian.Uint32(buf[:4]))
	if offset&(1<<31) == 0 {
		return offset, true, nil
	}
	if _, err := p.index.ReadAt(buf[:], offsets+4*count+8*(offset&^(1<<31))); err != nil {
		return 0, false, errIndex
	}
	offset = int64(binary.BigEndian.Uint64(buf[:]))
	return offset, offset >= 0, nil
}

// withPrefix adds the names that begin with prefix to list, up to a number.
func (p *storedPack) withPrefix(prefix []byte, list []plumbing.Hash, most int) ([]plumbing.Hash, error) {
	var first plumbing.Hash
	copy(first[:], prefix)
	i, err := p.search(first)
	for ; err == nil && i < int64(p.fanout[255]) && len(list) < most; i++ {
		var name plumbing.Hash
		if name, err = p.name20(i); err == nil && !bytes.HasPrefix(name[:], prefix) {
			return list, nil
		}
		list = append(list, name)
	}
	if errors.Is(err, io.EOF) {
		err = errIndex
	}
	return list, err
}
