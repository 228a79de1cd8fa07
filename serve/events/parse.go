package events

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of a stream that is read.
const (
	maxLine  = 16 << 10 // bytes
	maxBlock = 32 << 10 // bytes, of the lines between two empty ones
)

// block is what stands between two empty lines of a stream.
type block struct {
	id    int64 // zero if it has none
	hasID bool
	epoch string // in a comment
	data  []byte
}

// blocks reads a stream of server-sent events, as far as a [Feed] uses what they can have.
type blocks struct {
	in   *bufio.Reader
	line func() // called for each line
	read int64  // bytes
}

func newBlocks(r io.Reader, line func()) *blocks {
	return &blocks{in: bufio.NewReaderSize(r, maxLine), line: line}
}

var errLine = fmt.Errorf("a line has more than %d bytes", maxLine)

// next returns the next block. What it returns is valid until the next call.
func (b *blocks) next() (one block, err error) {
	size, any := 0, false
	for {
		line, err := b.in.ReadSlice('\n')
		b.read += int64(len(line))
		if errors.Is(err, bufio.ErrBufferFull) {
			err = errLine
		}
		if err != nil {
			return block{}, err
		}
		b.line()
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			if any {
				return one, nil
			}
			continue
		}
		any = true
		if size += len(line); size > maxBlock {
			return block{}, fmt.Errorf("an event has more than %d bytes", maxBlock)
		}
		if err := one.field(line); err != nil {
			return block{}, err
		}
	}
}

// field reads one line.
func (one *block) field(line []byte) (err error) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "":
		if epoch, ok := bytes.CutPrefix(value, []byte("epoch ")); ok && len(epoch) <= 64 {
			one.epoch = string(epoch)
		}
	case "id":
		one.hasID = true
		if one.id, err = strconv.ParseInt(string(value), 10, 64); err != nil || one.id < 0 {
			return fmt.Errorf("%.40q is not the number of an event", value)
		}
	case "data":
		if one.data != nil {
			one.data = append(one.data, '\n')
		}
		one.data = append(one.data, value...)
	}
	return nil // other fields mean nothing here
}
