package gitpack

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"io"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// writePackIndex writes the index, version 2, of those objects of a pack that
// are not stored as loose ones beside it.
func writePackIndex(name string, list []packEntry, packSum []byte) error {
	order := make([]int32, 0, len(list))
	for i := range list {
		if !list[i].single {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return bytes.Compare(list[a].hash[:], list[b].hash[:]) })
	order = slices.CompactFunc(order, func(a, b int32) bool { return list[a].hash == list[b].hash })

	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha1.New()
	w := bufio.NewWriter(io.MultiWriter(f, sum))
	number := func(n uint32) { w.Write(binary.BigEndian.AppendUint32(nil, n)) }
	w.WriteString("\xfftOc")
	number(2)
	for first, at := 0, 0; first < 256; first++ {
		for at < len(order) && list[order[at]].hash[0] == byte(first) {
			at++
		}
		number(uint32(at))
	}
	for _, i := range order {
		w.Write(list[i].hash[:])
	}
	for _, i := range order {
		number(list[i].crc)
	}
	var far []int64 // offsets that don't fit into 31 bits
	for _, i := range order {
		if offset := list[i].offset; offset < 1<<31 {
			number(uint32(offset))
		} else {
			number(1<<31 | uint32(len(far)))
			far = append(far, offset)
		}
	}
	for _, offset := range far {
		w.Write(binary.BigEndian.AppendUint64(nil, uint64(offset)))
	}
	w.Write(packSum)
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err := f.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return f.Close()
}

// A packEntry is one object of a pack.
type packEntry struct {
	hash   plumbing.Hash // zero until it is known
	crc    uint32
	offset int64 // of its head
	size   int64 // of the object; of the delta until that is resolved
	child  int32 // first of the deltas that have it as base, by offset; or -1
	next   int32 // next delta with the same base; or -1
	kind   plumbing.ObjectType
	known  bool // what it is, not only that it is a delta
	single bool // kept on its own instead of in the pack
}
