package gitwire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A packet is a line of git's protocol, or one of the marks between them.
type packet int

const (
	line      packet = iota
	flush            // "0000": the end of a message
	delimiter        // "0001": the end of a section
	finished         // "0002": the end of an answer without connection
)

// maxPacket is the longest line that git sends, with its length.
const maxPacket = 65520

// packets reads lines, one at a time.
type packets struct {
	r     *bufio.Reader
	meter *meter
	buf   []byte
}

func newPackets(m *meter) *packets { return &packets{r: bufio.NewReaderSize(m, 16<<10), meter: m} }

// limit bounds the bytes that come from now on; zero is no bound.
func (p *packets) limit(most int64, what string) { p.meter.limit(most, what) }

// ask sends a request and goes on with its answer. A server that may look for
// something has as long for that as between two bytes.
func (p *packets) ask(conv Conversation, idle *idleTimer, version int, request []byte) error {
	defer idle.wait()()
	answer, err := conv.Ask(version, request)
	if answer != nil && err == nil {
		m := idle.reader(answer, 0, "")
		p.r, p.meter = bufio.NewReaderSize(m, 16<<10), m
	}
	return err
}

// next returns the next packet. The data are valid until the following call.
func (p *packets) next() (packet, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return line, nil, err // io.EOF if there is nothing
	}
	n := 0
	for _, c := range head {
		d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if d < 0 || c < '0' {
			return line, nil, ErrNotGit
		}
		n = n<<4 | d
	}
	switch {
	case n == 0:
		return flush, nil, nil
	case n == 1:
		return delimiter, nil, nil
	case n == 2:
		return finished, nil, nil
	case n < 4 || n > maxPacket:
		return line, nil, ErrNotGit
	}
	if p.buf == nil {
		p.buf = make([]byte, maxPacket)
	}
	data := p.buf[:n-4]
	if _, err := io.ReadFull(p.r, data); err != nil {
		return line, nil, unexpected(err)
	}
	return line, data, nil
}

// text is next for lines of text, without their end. What a server says in the place
// of an answer is a [RemoteError].
func (p *packets) text() (packet, []byte, error) {
	kind, data, err := p.next()
	if err != nil {
		return kind, nil, err
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	if words, ok := bytes.CutPrefix(data, []byte("ERR ")); ok {
		return kind, nil, &RemoteError{string(words)}
	}
	return kind, data, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendLine adds one line, with its length, to a request.
func appendLine(b []byte, format string, args ...any) []byte {
	at := len(b)
	b = append(b, "0000"...)
	b = fmt.Appendf(b, format, args...)
	copy(b[at:], fmt.Sprintf("%04x", len(b)-at))
	return b
}

// A band is the pack among the lines of a side band: 1 is the pack, 2 is what the
// server says of its progress, 3 is why it fails.
type band struct {
	in    *packets
	begun bool // there was some of the pack
	talk  int  // bytes before that
	left  []byte
	end   error
}

func (b *band) Read(p []byte) (int, error) {
	for len(b.left) == 0 && b.end == nil {
		b.left, b.end = b.more()
	}
	if len(b.left) == 0 {
		return 0, b.end
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

func (b *band) more() ([]byte, error) {
	kind, data, err := b.in.next()
	switch {
	case err != nil:
		return nil, unexpected(err)
	case kind != line:
		return nil, io.EOF
	case len(data) == 0:
		return nil, nil
	}
	switch data[0] {
	case 1:
		b.begun = true
		return data[1:], nil
	case 'N', 'A':
		// Another acknowledgment.
		if b.talk += len(data) + 4; b.talk > maxTalk {
			return nil, &TooLarge{talkWords}
		}
		if words := string(bytes.TrimSpace(data)); !b.begun && (words == "NAK" || strings.HasPrefix(words, "ACK ")) {
			return nil, nil
		}
	case 2:
		return nil, nil
	case 3:
		return nil, &RemoteError{string(data[1:])}
	}
	if words, ok := bytes.CutPrefix(data, []byte("ERR ")); ok {
		return nil, &RemoteError{string(words)}
	}
	return nil, errors.Join(ErrNotGit, errors.New("a line of a side band that does not exist"))
}
