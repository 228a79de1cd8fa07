package gitattr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"
)

// A Conversion is what git does to a file's bytes on the way out of a
// repository, by the file's attributes. Its zero value changes nothing.
type Conversion struct {
	ident    bool   // "$Id$" is expanded
	crlf     bool   // lines end in CR LF
	auto     bool   // … but only if it looks like text with plain line ends
	encoding string // working-tree-encoding; empty is UTF-8
	Refused  bool   // git makes no archive that has the file
}

// None reports whether nothing changes.
func (c Conversion) None() bool { return c == Conversion{} }

// Conversion returns what happens to a file, given by its path. The go command
// asks git for line ends as they are stored, so that only an explicit eol=crlf
// changes them.
func (a *Attributes) Conversion(file string) Conversion {
	if len(a.rules) == 0 {
		return Conversion{}
	}
	v := a.of(file, "text", "crlf", "eol", "ident", "working-tree-encoding")
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
			c.encoding = upper
		}
	}
	return c
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

// Apply converts a file's content; blob is its hash.
func (c Conversion) Apply(data []byte, blob string) ([]byte, error) {
	if c.ident {
		data = expandIdent(data, blob)
	}
	if c.crlf && wantsCRLF(data, c.auto) {
		data = toCRLF(data)
	}
	if c.encoding != "" && len(data) > 0 {
		return encode(data, c.encoding)
	}
	return data, nil
}

// expandIdent writes a file's hash into each "$Id$" and "$Id: …$", but not into
// one with a line end, or with a space that some other system wrote.
func expandIdent(data []byte, blob string) []byte {
	var out []byte
	for {
		i := bytes.IndexByte(data, '$')
		if i < 0 {
			return append(out, data...)
		}
		out = append(out, data[:i+1]...)
		data = data[i+1:]
		if len(data) < 3 || string(data[:2]) != "Id" {
			continue
		}
		switch data[2] {
		case '$':
			data = data[3:]
		case ':':
			end := bytes.IndexByte(data[3:], '$')
			if end < 0 {
				return append(out, data...)
			}
			value := data[3 : 3+end]
			if bytes.IndexByte(value, '\n') >= 0 {
				continue
			}
			if len(value) > 1 {
				if space := bytes.IndexByte(value[1:], ' '); space >= 0 && space < len(value)-2 {
					continue
				}
			}
			data = data[3+end+1:]
		default:
			continue
		}
		out = append(out, "Id: "+blob+" $"...)
	}
}

// wantsCRLF reports whether line ends are to be changed: there must be bare
// ones, and with auto nothing may hint at a binary file, or at a file that has
// CR LF already.
func wantsCRLF(data []byte, auto bool) bool {
	var bareLF, crlf, bareCR, nul, printable, other int
	for i, c := range data {
		switch {
		case c == '\r' && i+1 < len(data) && data[i+1] == '\n':
			crlf++
		case c == '\r':
			bareCR++
		case c == '\n':
			if i == 0 || data[i-1] != '\r' {
				bareLF++
			}
		case c == 0:
			nul++
			other++
		case c == '\b', c == '\t', c == '\033', c == '\014':
			printable++
		case c < ' ', c == 0x7f:
			other++
		default:
			printable++
		}
	}
	if len(data) > 0 && data[len(data)-1] == 0x1a {
		other-- // an end-of-file mark of old is no hint
	}
	if bareLF == 0 {
		return false
	}
	return !auto || crlf == 0 && bareCR == 0 && nul == 0 && printable>>7 >= other
}

func toCRLF(data []byte) []byte {
	out := make([]byte, 0, len(data)+bytes.Count(data, []byte{'\n'}))
	for i, c := range data {
		if c == '\n' && (i == 0 || data[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// encode turns UTF-8 into another encoding. Where the text does not fit, git
// keeps it as it is; an encoding that is not known here is an error.
func encode(data []byte, encoding string) ([]byte, error) {
	unit, ok := encodings[encoding]
	switch {
	case ok:
	case strings.HasSuffix(encoding, "-BOM"):
		return data, nil // a name of git's own, for UTF-16 only
	default:
		return nil, errorf("the working-tree-encoding %q is not supported: %w", encoding, errors.ErrUnsupported)
	}
	if !utf8.Valid(data) {
		return data, nil
	}
	out := make([]byte, 0, 2*len(data))
	if unit.bom {
		out = unit.add(out, 0xfeff)
	}
	for _, r := range string(data) {
		next := unit.add(out, r)
		if next == nil {
			return data, nil
		}
		out = next
	}
	return out, nil
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
