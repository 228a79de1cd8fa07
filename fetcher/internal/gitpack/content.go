package gitpack

import (
	"fmt"
	"io"
	"os"
)

// A packContent is an object's content in memory or in a temporary file.
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
		if len(c.memory)+len(p) > cap(c.memory) {
			return 0, errDelta // larger than it said
		}
		c.memory = append(c.memory, p...)
		return len(p), nil
	}
	return c.file.Write(p)
}

// modestBytes is the size up to which content is always kept in memory.
const modestBytes = 64 << 10

// newContent allocates an object's content: in memory if enough is free, and otherwise
// in a file, so that no job that holds memory waits for more.
func (u *unpacker) newContent(size int64) (*packContent, error) {
	c := &packContent{size: size}
	if size <= modestBytes || size <= u.limits.LargeBytes && u.fits(size) {
		u.memory += size
		c.memory = make([]byte, 0, size)
		return c, nil
	}
	if err := u.job.Step(fileSteps); err != nil {
		return nil, err
	}
	if err := u.space(size); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(u.dir, "base-")
	if err != nil {
		return nil, err
	}
	c.file = f
	u.files++
	return c, nil
}

// fits reports whether there is memory for size bytes more.
func (u *unpacker) fits(size int64) bool {
	lacking := u.memory + size - u.granted
	if lacking <= 0 {
		return true
	}
	if u.granted+lacking > u.limits.MemoryBytes+2*u.limits.LargeBytes || !u.job.TryGrow(lacking) {
		return false
	}
	u.granted += lacking
	return true
}

func (u *unpacker) release(c *packContent) {
	switch {
	case c == nil:
	case c.file != nil:
		c.file.Close()
		os.Remove(c.file.Name())
		u.files--
		_ = u.space(-c.size)
	default:
		u.memory -= c.size
		c.memory = nil
	}
}

// fill reads the content of an object that is not a delta.
func (u *unpacker) fill(rd io.Reader, size int64) (*packContent, error) {
	c, err := u.newContent(size)
	if err != nil {
		return nil, err
	}
	n, err := u.copy(c, rd, size)
	if err == nil && n != size {
		err = fmt.Errorf("%w: it has %d bytes instead of %d", ErrBase, n, size)
	}
	if err != nil {
		u.release(c)
		return nil, err
	}
	return c, nil
}
