package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/athens-go/athens/internal/sumlog"
)

// A record in the file is a header and its text: the text's length, its time in
// nanoseconds since 1970, and a checksum (CRC-32C) of the two and the text, each in
// little endian. The checksum tells a record that is half written from a whole one;
// that it is the right one, the tree tells.
const headerBytes = 4 + 8 + 4

// errTorn says that there is no whole record at some place.
var errTorn = errors.New("incomplete record")

// record is one entry of the log.
type record struct {
	text []byte
	time int64 // nanoseconds since 1970
}

// encode appends the record as it is in the file.
func (r record) encode(b []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.text)))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.time))
	b = binary.LittleEndian.AppendUint32(b, checksum(b[start:start+12], r.text))
	return append(b, r.text...)
}

func checksum(header, text []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by crc32
	return crc32.Update(crc32.Update(0, table, header), table, text)
}

// decode reads the record that b begins with, and returns its length in the file. If
// b is too short for it, more is how many bytes it takes.
func decode(b []byte) (r record, size, more int, err error) {
	if len(b) < headerBytes {
		return r, 0, headerBytes, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > sumlog.MaxText {
		return r, 0, 0, errTorn
	}
	size = headerBytes + int(n)
	if len(b) < size {
		return r, 0, size, nil
	}
	r = record{b[headerBytes:size:size], int64(binary.LittleEndian.Uint64(b[4:]))}
	if binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12], r.text) {
		return record{}, 0, 0, errTorn
	}
	return r, size, 0, nil
}

// recordFile is the file of all records.
type recordFile struct{ f *os.File }

// at reads the record at an offset, and returns the offset of the next.
func (f *recordFile) at(off int64) (record, int64, error) {
	b := make([]byte, 512) // most have less
	for {
		n, err := f.f.ReadAt(b, off)
		if err != nil && err != io.EOF {
			return record{}, 0, err
		}
		r, size, more, err := decode(b[:n])
		if err == nil && more > len(b) {
			b = make([]byte, more)
			continue
		}
		if err == nil && more > 0 {
			err = errTorn
		}
		return r, off + int64(size), err
	}
}

// scan reads the records from an offset on, n of them, and calls each with its
// offset. It returns the offset behind the last one.
func (f *recordFile) scan(off, n int64, each func(off int64, r record) error) (int64, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(f.f, off, 1<<62), 1<<18)
	for range n {
		need := headerBytes
		var r record
		var size int
		for {
			b, err := in.Peek(need)
			if err != nil && err != io.EOF {
				return off, err
			}
			var more int
			r, size, more, err = decode(b)
			if err == nil && more > need {
				need = more
				continue
			}
			if err == nil && more > 0 {
				err = errTorn
			}
			if err != nil {
				return off, err
			}
			break
		}
		if err := each(off, r); err != nil {
			return off, err
		}
		off += int64(size)
		if _, err := in.Discard(size); err != nil {
			return off, err
		}
	}
	return off, nil
}
