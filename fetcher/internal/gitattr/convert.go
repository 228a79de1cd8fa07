package gitattr

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// A Conversion is what git does to a file's bytes on checkout, according to
// the file's attributes. Its zero value changes nothing.
type Conversion struct {
	ident    bool   // "$Id$" is expanded
	crlf     bool   // lines end in CR LF
	auto     bool   // … but only if it looks like text with plain line ends
	encoding string // working-tree-encoding; empty is UTF-8
	Refused  bool   // git refuses to archive the file
}

// None reports whether nothing changes.
func (c Conversion) None() bool { return c == Conversion{} }

// Conversion returns the conversion of a file, given its path. The go command
// runs git with core.autocrlf=input, so only an explicit eol=crlf
// changes line ends.
func (a *Attributes) Conversion(file string) (Conversion, error) {
	if len(a.rules) == 0 {
		return Conversion{}, nil
	}
	v, err := a.of(file, "text", "crlf", "eol", "ident", "working-tree-encoding")
	if err != nil {
		return Conversion{}, err
	}
	c := Conversion{ident: v["ident"].state == '+'}
	text := textAction(v["text"])
	if text == textUnknown {
		text = textAction(v["crlf"])
	}
	if text != textBinary && v["eol"] == (attributeValue{'=', "crlf"}) {
		c.crlf, c.auto = true, text == textAuto
	}
	switch e := v["working-tree-encoding"]; e.state {
	case '+':
		c.Refused = true
	case '=':
		if upper := strings.ToUpper(e.value); upper != "UTF-8" && upper != "UTF8" {
			c.encoding = strings.Clone(upper)
		}
	}
	return c, nil
}

// What the attribute "text", or its old name "crlf", says.
const (
	textUnknown = iota
	textSet     // also "input", which only matters on the way in
	textBinary
	textAuto
)

func textAction(v attributeValue) int {
	switch {
	case v.state == '+', v == attributeValue{'=', "input"}:
		return textSet
	case v.state == '-':
		return textBinary
	case v == attributeValue{'=', "auto"}:
		return textAuto
	}
	return textUnknown
}

// A Source opens a file's content as it is stored. It is called more than once
// if the conversion depends on the whole content.
type Source func() (io.ReadCloser, error)

// Open returns a reader that converts a file's content; blob is
// the file's hash. Its work and memory are charged to job.
func (c Conversion) Open(job *budget.Job, open Source, blob string) (io.ReadCloser, error) {
	stages := make([]stage, 0, 3)
	if c.ident {
		stages = append(stages, func(r io.Reader) io.Reader { return newIdentReader(job, r, blob) })
	}
	if c.crlf {
		var found textStats
		if err := scan(job, open, stages, found.add); err != nil {
			return nil, err
		}
		if found.wantsCRLF(c.auto) {
			stages = append(stages, func(r io.Reader) io.Reader { return &crlfReader{r: bufio.NewReader(r)} })
		}
	}
	if c.encoding != "" {
		encode, err := c.encoder(job, open, stages)
		if err != nil {
			return nil, err
		}
		if encode != nil {
			stages = append(stages, encode)
		}
	}
	rd, err := open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{through(job, rd, stages), rd}, nil
}

// A stage converts what it reads.
type stage func(io.Reader) io.Reader

func through(job *budget.Job, r io.Reader, stages []stage) io.Reader {
	for _, s := range stages {
		r = &steppingReader{job, s(r)}
	}
	return r
}

// convertSteps are the steps of converting one byte.
const convertSteps = 4

// A steppingReader counts the work of making what it reads.
type steppingReader struct {
	job *budget.Job
	r   io.Reader
}

func (s *steppingReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if stepErr := s.job.Step(convertSteps * int64(n+1)); stepErr != nil {
		return 0, stepErr
	}
	return n, err
}

// scan passes the output of stages to look until look returns false.
func scan(job *budget.Job, open Source, stages []stage, look func([]byte) bool) error {
	rd, err := open()
	if err != nil {
		return err
	}
	defer rd.Close()
	r := through(job, rd, stages)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if stepErr := job.Step(convertSteps * int64(n)); stepErr != nil {
			return stepErr
		}
		if !look(buf[:n]) || err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// encoder returns the stage that converts UTF-8 to an encoding. Text that the encoding
// can't represent is left unchanged, as git does. An unknown encoding is an
// error.
func (c Conversion) encoder(job *budget.Job, open Source, stages []stage) (stage, error) {
	unit, ok := encodings[c.encoding]
	if !ok && strings.HasSuffix(c.encoding, "-BOM") {
		return nil, nil // a name of git's own, for UTF-16 only
	}
	fits, empty := true, true
	var check runes
	var place [8]byte
	err := scan(job, open, stages, func(p []byte) bool {
		empty = empty && len(p) == 0
		if !ok {
			return empty
		}
		fits = check.each(p, func(r rune) bool { return unit.add(place[:0], r) != nil })
		return fits
	})
	switch {
	case err != nil:
		return nil, err
	case empty:
		return nil, nil
	case !ok:
		return nil, errorf("the working-tree-encoding %q is not supported: %w", shown(c.encoding), errors.ErrUnsupported)
	case !fits || len(check.rest) > 0:
		return nil, nil
	}
	return func(r io.Reader) io.Reader { return &encodeReader{r: r, unit: unit} }, nil
}

// shown returns a name, shortened for an error.
func shown(name string) string {
	if len(name) > 40 {
		return strings.ToValidUTF8(name[:40], "") + "…"
	}
	return name
}

// A unit writes one character; it returns nil if it can't.
type unit struct {
	add func([]byte, rune) []byte
	bom bool // the text begins with a byte order mark
}

// encodings by git's names. Those without a byte order are little-endian with
// a mark, as on the machines that the go command mostly runs on.
var encodings = map[string]unit{
	"UTF-16":       {utf16Unit(binary.LittleEndian), true},
	"UTF16":        {utf16Unit(binary.LittleEndian), true},
	"UTF-16LE":     {utf16Unit(binary.LittleEndian), false},
	"UTF16LE":      {utf16Unit(binary.LittleEndian), false},
	"UTF-16LE-BOM": {utf16Unit(binary.LittleEndian), true},
	"UTF16LE-BOM":  {utf16Unit(binary.LittleEndian), true},
	"UTF-16BE":     {utf16Unit(binary.BigEndian), false},
	"UTF16BE":      {utf16Unit(binary.BigEndian), false},
	"UTF-16BE-BOM": {utf16Unit(binary.BigEndian), true},
	"UTF16BE-BOM":  {utf16Unit(binary.BigEndian), true},
	"UTF-32":       {utf32Unit(binary.LittleEndian), true},
	"UTF32":        {utf32Unit(binary.LittleEndian), true},
	"UTF-32LE":     {utf32Unit(binary.LittleEndian), false},
	"UTF32LE":      {utf32Unit(binary.LittleEndian), false},
	"UTF-32BE":     {utf32Unit(binary.BigEndian), false},
	"UTF32BE":      {utf32Unit(binary.BigEndian), false},
	"ISO-8859-1":   {byteUnit(0xff), false},
	"ISO8859-1":    {byteUnit(0xff), false},
	"LATIN1":       {byteUnit(0xff), false},
	"LATIN-1":      {byteUnit(0xff), false},
	"US-ASCII":     {byteUnit(0x7f), false},
	"ASCII":        {byteUnit(0x7f), false},
}

func utf16Unit(order binary.AppendByteOrder) func([]byte, rune) []byte {
	return func(b []byte, r rune) []byte {
		if r < 0x10000 {
			return order.AppendUint16(b, uint16(r))
		}
		r -= 0x10000
		return order.AppendUint16(order.AppendUint16(b, uint16(0xd800|r>>10)), uint16(0xdc00|r&0x3ff))
	}
}

func utf32Unit(order binary.AppendByteOrder) func([]byte, rune) []byte {
	return func(b []byte, r rune) []byte { return order.AppendUint32(b, uint32(r)) }
}

func byteUnit(max rune) func([]byte, rune) []byte {
	return func(b []byte, r rune) []byte {
		if r > max {
			return nil
		}
		return append(b, byte(r))
	}
}
