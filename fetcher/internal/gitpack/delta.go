package gitpack

import (
	"bufio"
	"errors"
	"io"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// A packDelta is an object stored as a delta to its base.
type packDelta struct {
	r              *bufio.Reader
	baseSize, size int64
}

var errDelta error = &Error{errors.New("the pack contains a malformed delta")}

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
func (d *packDelta) apply(job *budget.Job, base *packContent, w io.Writer) error {
	if base.size != d.baseSize {
		return errDelta
	}
	var written int64
	var insert [0x7f]byte
	for {
		op, err := d.r.ReadByte()
		if errors.Is(err, io.EOF) && written == d.size {
			return nil
		}
		if err != nil || op == 0 {
			return errDelta
		}
		var offset int64
		n := int64(op)
		if op&0x80 != 0 {
			if offset, n, err = d.span(op); err != nil {
				return err
			}
		}
		if written += n; written > d.size {
			return errDelta
		}
		if err := job.Step(n + opSteps); err != nil {
			return err
		}
		switch {
		case op&0x80 == 0:
			if _, err := io.ReadFull(d.r, insert[:n]); err != nil {
				return errDelta
			}
			_, err = w.Write(insert[:n])
		case offset+n > base.size:
			return errDelta
		default:
			err = base.copyTo(w, offset, n)
		}
		if err != nil {
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
