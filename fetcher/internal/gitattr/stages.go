package gitattr

import (
	"bufio"
	"bytes"
	"io"
	"unicode/utf8"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// textStats are the counts that decide whether line ends are converted.
type textStats struct {
	bareLF, crlf, bareCR, nul, printable, other int
	last                                        byte
	any                                         bool
}

// add counts the next part of a text; it always returns true.
func (s *textStats) add(p []byte) bool {
	for _, c := range p {
		if s.any && s.last == '\r' {
			if c == '\n' {
				s.crlf++
			} else {
				s.bareCR++
			}
		}
		switch {
		case c == '\r':
		case c == '\n':
			if !s.any || s.last != '\r' {
				s.bareLF++
			}
		case c == 0:
			s.nul++
			s.other++
		case c == '\b', c == '\t', c == '\033', c == '\014':
			s.printable++
		case c < ' ', c == 0x7f:
			s.other++
		default:
			s.printable++
		}
		s.last, s.any = c, true
	}
	return true
}

// wantsCRLF reports whether line ends are to be changed: there must be bare
// ones, and with auto nothing may hint at a binary file, or at a file that has
// CR LF already.
func (s textStats) wantsCRLF(auto bool) bool {
	if s.any && s.last == '\r' {
		s.bareCR++
	}
	if s.any && s.last == 0x1a {
		s.other-- // a trailing Ctrl-Z, DOS's end-of-file mark, does not count
	}
	if s.bareLF == 0 {
		return false
	}
	return !auto || s.crlf == 0 && s.bareCR == 0 && s.nul == 0 && s.printable>>7 >= s.other
}

// A crlfReader puts a CR before each LF that has none.
type crlfReader struct {
	r     *bufio.Reader
	last  byte
	lacks bool // an LF is still to be returned
}

func (c *crlfReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if c.lacks {
			p[n], c.last, c.lacks = '\n', '\n', false
			n++
			continue
		}
		b, err := c.r.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		if b == '\n' && c.last != '\r' {
			c.lacks = true
			b = '\r'
		}
		p[n], c.last = b, b
		n++
	}
	return n, nil
}

// runes finds characters in parts of a text that may end within one.
type runes struct{ rest []byte }

// each calls visit for each character until that returns false; it returns
// false then, and where the text is not UTF-8.
func (r *runes) each(p []byte, visit func(rune) bool) bool {
	p = append(r.rest, p...)
	for len(p) > 0 && utf8.FullRune(p) {
		c, size := utf8.DecodeRune(p)
		if c == utf8.RuneError && size == 1 || !visit(c) {
			return false
		}
		p = p[size:]
	}
	r.rest = bytes.Clone(p)
	return true
}

// An encodeReader turns UTF-8 that fits into another encoding.
type encodeReader struct {
	r     io.Reader
	unit  unit
	text  runes
	out   []byte
	begun bool
	buf   [4 << 10]byte
	err   error
}

func (e *encodeReader) Read(p []byte) (int, error) {
	for len(e.out) == 0 && e.err == nil {
		var n int
		n, e.err = e.r.Read(e.buf[:])
		if n > 0 && !e.begun && e.unit.bom {
			e.out = e.unit.add(e.out, 0xfeff)
		}
		e.begun = e.begun || n > 0
		e.text.each(e.buf[:n], func(r rune) bool {
			e.out = e.unit.add(e.out, r)
			return true
		})
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	if n == 0 && len(p) > 0 {
		return 0, e.err
	}
	return n, nil
}

// An identReader writes a file's hash into each "$Id$" and "$Id: …$", but not
// into one with a line end, or with a space that some other system wrote.
type identReader struct {
	job  *budget.Job
	r    io.Reader
	blob string

	buf []byte
	in  []byte // read and not looked at; the end of what buf is used for
	out []byte // decided; a part of buf, or what stands for "$Id$"
	eof error

	charged int64 // bytes of memory that buf has beyond identBytes
}

func newIdentReader(job *budget.Job, r io.Reader, blob string) *identReader {
	return &identReader{job: job, r: r, blob: blob, buf: make([]byte, identBytes)}
}

// identBytes is what is read at once. A "$Id:" without an end needs more.
const identBytes = 8 << 10

func (i *identReader) Read(p []byte) (int, error) {
	for len(i.out) == 0 {
		if !i.decide() {
			if i.eof != nil {
				i.job.Shrink(i.charged)
				i.charged, i.buf = 0, nil
				return 0, i.eof
			}
			if err := i.more(); err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, i.out)
	i.out = i.out[n:]
	return n, nil
}

// more reads more of the text, when nothing is left that was decided.
func (i *identReader) more() error {
	rest := len(i.in)
	if rest == len(i.buf) {
		if err := i.job.Grow(int64(rest)); err != nil {
			return err
		}
		i.charged += int64(rest)
		i.buf = append(i.buf, make([]byte, rest)...)
	} else {
		copy(i.buf, i.in)
	}
	// Examine all of it, so that a long text is examined only once for each doubling.
	n, err := io.ReadFull(i.r, i.buf[rest:])
	i.in = i.buf[:rest+n]
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	i.eof = err
	return nil
}

// decide moves something from in to out. It returns false if it needs more.
func (i *identReader) decide() bool {
	at := bytes.IndexByte(i.in, '$')
	switch {
	case len(i.in) == 0:
		return false
	case at < 0:
		at = len(i.in)
	case at == 0:
		n, found := identAt(i.in, i.eof != nil)
		if n == 0 {
			return false
		}
		if found {
			i.in, i.out = i.in[n:], []byte("$Id: "+i.blob+" $")
			return true
		}
		at = n
	}
	i.out, i.in = i.in[:at], i.in[at:]
	return true
}

// identAt looks at a text that begins with "$". It returns how many bytes of it
// are an "$Id$" or "$Id: …$", or how many are not; zero if that can't be said
// yet. A text that ends here is whole.
func identAt(text []byte, ends bool) (n int, found bool) {
	const begin = "$Id"
	if len(text) <= len(begin) {
		if !ends && bytes.HasPrefix([]byte(begin), text) {
			return 0, false
		}
		return 1, false
	}
	if !bytes.HasPrefix(text, []byte(begin)) {
		return 1, false
	}
	switch text[len(begin)] {
	case '$':
		return len(begin) + 1, true
	case ':':
	default:
		return 1, false
	}
	value := text[len(begin)+1:]
	end := bytes.IndexByte(value, '$')
	whole := end >= 0
	if whole {
		value = value[:end]
	}
	if bytes.IndexByte(value, '\n') >= 0 {
		return 1, false
	}
	if len(value) > 1 {
		if space := bytes.IndexByte(value[1:], ' '); space >= 0 && space < len(value)-2 {
			return 1, false
		}
	}
	switch {
	case whole:
		return len(begin) + 1 + end + 1, true
	case ends:
		return 1, false
	}
	return 0, false
}
