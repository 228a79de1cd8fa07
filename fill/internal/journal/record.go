package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/backoff"
)

// A journal is lines of text. Each has the whole state of one fill, so that only the
// latest line of a version counts:
//
//	5d2f1b0c {"state":"pending","module":"example.com/mod","version":"v1.0.0","zip":true,…}
//
// In front is the CRC-32C of the rest, in hex. A line that is torn, damaged or of an
// unknown kind is ignored, and harms no other.

// MaxName bounds the path and the version of a fill together, in bytes, so that a limit
// on fills is a limit on memory too. No file system stores a longer name.
const MaxName = 4096

// maxLine bounds a line, in bytes: JSON needs at most six bytes for one byte of a name
// or a reason.
const maxLine = 6*(MaxName+backoff.MaxReason) + 1024

// recordBytes is more than what a [Record] takes in memory beside its strings.
const recordBytes = 256

// State is what has become of a fill.
type State string

// The states of a fill.
const (
	Pending State = "pending" // or running
	Done    State = "done"
	Failed  State = "failed"
)

// Record is the state of one fill, and one line of a journal. Its fields are those of
// fill.Entry.
type Record struct {
	State     State     `json:"state"`
	Path      string    `json:"module"`
	Version   string    `json:"version"`
	Zip       bool      `json:"zip"`
	Attempts  int       `json:"attempts"`
	Scheduled time.Time `json:"scheduled"`
	Due       time.Time `json:"due,omitzero"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Reason    string    `json:"reason,omitempty"`
	First     time.Time `json:"first,omitzero"` // when the first run started
}

// Module returns the version that r is about.
func (r *Record) Module() module.Version {
	return module.Version{Path: r.Path, Version: r.Version}
}

// bytes returns what r takes in memory, at most.
func (r *Record) bytes() int {
	return recordBytes + len(r.Path) + len(r.Version) + len(r.Reason)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine appends r as a line of a journal to b.
func appendLine(b []byte, r *Record) ([]byte, error) {
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
func parseLine(line []byte) (Record, error) {
	var r Record
	sum, text, _ := bytes.Cut(line, []byte{' '})
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || crc32.Checksum(text, castagnoli) != uint32(want) {
		return r, errLine
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, err
	}
	switch r.State {
	case Pending, Done, Failed:
	default:
		return r, errLine
	}
	r.Attempts = max(r.Attempts, 0)
	if r.Path == "" || r.Version == "" || len(r.Path)+len(r.Version) > MaxName || len(r.Reason) > backoff.MaxReason+len(backoff.Cut) {
		return r, errLine
	}
	return r, nil
}

// Contents is the final state of all fills of a journal.
type Contents struct {
	Pending map[module.Version]Record
	Failed  []Record // each version once, the latest last

	ignored int // lines that are torn, damaged or unknown
	over    int // pending fills beyond the limit
}

// read reads a journal: at most limit pending fills, and the latest recent failed ones.
// It ignores what lies beyond maxBytes(limit, recent). An error says that r could not
// be read.
func read(r io.Reader, limit, recent int) (*Contents, error) {
	c := &Contents{Pending: make(map[module.Version]Record)}
	lines := bufio.NewReaderSize(io.LimitReader(r, maxBytes(limit, recent)), maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			c.add(line[:len(line)-1], limit, recent)
		case errors.Is(err, bufio.ErrBufferFull):
			c.ignored++
			for errors.Is(err, bufio.ErrBufferFull) { // skip the rest of the line
				_, err = lines.ReadSlice('\n')
			}
		case errors.Is(err, io.EOF) && len(line) > 0:
			c.ignored++ // torn
		}
		switch {
		case errors.Is(err, io.EOF):
			return c, nil
		case err != nil:
			return nil, err
		}
	}
}

// add applies a line.
func (c *Contents) add(line []byte, limit, recent int) {
	r, err := parseLine(line)
	if err != nil {
		c.ignored++
		return
	}
	m := r.Module()
	switch _, known := c.Pending[m]; {
	case r.State == Done:
		delete(c.Pending, m)
		c.removeFailed(m)
	case r.State == Failed:
		delete(c.Pending, m)
		c.removeFailed(m)
		if len(c.Failed) == recent {
			c.Failed = slices.Delete(c.Failed, 0, 1)
		}
		c.Failed = append(c.Failed, r)
	case !known && len(c.Pending) >= limit:
		c.over++
	default:
		c.Pending[m] = r
	}
}

func (c *Contents) removeFailed(m module.Version) {
	c.Failed = slices.DeleteFunc(c.Failed, func(r Record) bool { return r.Module() == m })
}
