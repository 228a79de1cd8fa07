package fill

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"

	"golang.org/x/mod/module"
)

// A journal is lines of text. Each says what has become of one fill, in full, so
// that the latest of a version is all there is to know of it:
//
//	5d2f1b0c {"state":"pending","module":"example.com/mod","version":"v1.0.0","zip":true,…}
//
// In front is the CRC-32C of the rest, in hex. A line that is torn, was damaged
// or is of another kind counts for nothing, and harms no other.

// maxLine bounds a line, in bytes: JSON spells one byte of a name or a reason
// with six at most.
const maxLine = 6*(maxName+maxReason) + 1024

// What has become of a fill.
const (
	statePending = "pending" // or running
	stateDone    = "done"
	stateFailed  = "failed"
)

// record is one line of a journal.
type record struct {
	State string `json:"state"`
	Entry
	First time.Time `json:"first,omitzero"` // the first run's start
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine appends r as a line of a journal to b.
func appendLine(b []byte, r *record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return b, err
	}
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(text, castagnoli))
	b = append(b, text...)
	return append(b, '\n'), nil
}

var errLine = errors.New("not a line of a journal")

// parseLine reads a line of a journal, without its end.
func parseLine(line []byte) (record, error) {
	var r record
	sum, text, _ := bytes.Cut(line, []byte{' '})
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || crc32.Checksum(text, castagnoli) != uint32(want) {
		return r, errLine
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, err
	}
	switch r.State {
	case statePending, stateDone, stateFailed:
	default:
		return r, errLine
	}
	r.Attempts = max(r.Attempts, 0)
	if len(r.Reason) > maxReason+len("…") {
		return r, errLine
	}
	return r, checkName(r.version())
}

func (r *record) version() module.Version {
	return module.Version{Path: r.Path, Version: r.Version}
}

// contents is what a journal says in the end.
type contents struct {
	pending map[module.Version]record
	failed  history
	bad     int // lines that count for nothing
	over    int // pending fills beyond the limit
}

// readJournal reads a journal: limit fills that are pending at most, and the
// latest recent that failed. What lies behind maxBytes(limit, recent) is not looked at.
// An error says that r could not be read.
func readJournal(r io.Reader, limit, recent int) (*contents, error) {
	c := &contents{pending: make(map[module.Version]record), failed: history{keep: recent}}
	lines := bufio.NewReaderSize(io.LimitReader(r, maxBytes(limit, recent)), maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			c.add(line[:len(line)-1], limit)
		case errors.Is(err, bufio.ErrBufferFull):
			c.bad++
			for errors.Is(err, bufio.ErrBufferFull) { // to the end of the line
				_, err = lines.ReadSlice('\n')
			}
		case errors.Is(err, io.EOF) && len(line) > 0:
			c.bad++ // torn
		}
		switch {
		case errors.Is(err, io.EOF):
			return c, nil
		case err != nil:
			return nil, err
		}
	}
}

// add takes a line into account.
func (c *contents) add(line []byte, limit int) {
	r, err := parseLine(line)
	if err != nil {
		c.bad++
		return
	}
	m := r.version()
	switch _, known := c.pending[m]; {
	case r.State == stateDone:
		delete(c.pending, m)
		c.failed.remove(m)
	case r.State == stateFailed:
		delete(c.pending, m)
		c.failed.add(r.Entry)
	case !known && len(c.pending) >= limit:
		c.over++
	default:
		c.pending[m] = r
	}
}
