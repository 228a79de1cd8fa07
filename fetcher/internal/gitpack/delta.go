package gitpack

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
)

// A packContent is an object's content at hand: in memory, or in a temporary
// file that has no name any more.
type packContent struct {
	memory []byte
	file   *os.File
	size   int64
}

// copyTo writes a part of the content to w.
func (c *packContent) copyTo(w io.Writer, offset, n int64) error {
	if c.file == nil {
		_, err := w.Write(c.memory[offset : offset+n])
		return err
	}
	_, err := io.Copy(w, io.NewSectionReader(c.file, offset, n))
	return err
}

// Write implements [io.Writer].
func (c *packContent) Write(p []byte) (int, error) {
	if c.file == nil {
		c.memory = append(c.memory, p...)
		return len(p), nil
	}
	return c.file.Write(p)
}

// A packDelta is an object given as a difference to its base.
type packDelta struct {
	r              *bufio.Reader
	baseSize, size int64
}

var errDelta = &Error{errors.New("a delta in the pack makes no sense")}

func newPackDelta(r *bufio.Reader) (*packDelta, error) {
	d := &packDelta{r: r}
	var err error
	if d.baseSize, err = d.number(); err != nil {
		return nil, err
	}
	d.size, err = d.number()
	return d, err
}

// number reads a size: seven bits a byte, the lowest first.
func (d *packDelta) number() (n int64, err error) {
	for shift := 0; ; shift += 7 {
		b, err := d.r.ReadByte()
		if err != nil || shift > 56 {
			return 0, errDelta
		}
		n |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			return n, nil
		}
	}
}

// apply writes the object to w.
func (d *packDelta) apply(ctx context.Context, base *packContent, w io.Writer) error {
	if base.size != d.baseSize {
		return errDelta
	}
	var written int64
	for {
		op, err := d.r.ReadByte()
		if errors.Is(err, io.EOF) && written == d.size {
			return nil
		}
		if err != nil || op == 0 {
			return errDelta
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if op&0x80 == 0 {
			if written += int64(op); written > d.size {
				return errDelta
			}
			if _, err := io.CopyN(w, d.r, int64(op)); errors.Is(err, io.EOF) {
				return errDelta
			} else if err != nil {
				return err
			}
			continue
		}
		offset, n, err := d.span(op)
		if err != nil {
			return err
		}
		if written += n; written > d.size || offset+n > base.size {
			return errDelta
		}
		if err := base.copyTo(w, offset, n); err != nil {
			return err
		}
	}
}

// span reads which part of the base comes next.
func (d *packDelta) span(op byte) (offset, n int64, err error) {
	for bit := range 7 {
		if op&(1<<bit) == 0 {
			continue
		}
		b, err := d.r.ReadByte()
		if err != nil {
			return 0, 0, errDelta
		}
		if bit < 4 {
			offset |= int64(b) << (8 * bit)
		} else {
			n |= int64(b) << (8 * (bit - 4))
		}
	}
	if n == 0 {
		n = 1 << 16
	}
	return offset, n, nil
}
