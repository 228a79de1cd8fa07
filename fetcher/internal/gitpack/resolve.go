package gitpack

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// A link is an object on the way from a whole object to a delta of a delta of
// it: what is being resolved.
type link struct {
	entry   int32        // -1 if it is not in the pack
	content *packContent // nil while it is dropped
	todo    []int32      // deltas of which it is the base
}

// resolve finds out what all deltas are that lead to a whole object.
func (u *unpacker) resolve(root int32) error {
	todo := u.children(root)
	if len(todo) == 0 {
		return nil
	}
	base, err := u.whole(root)
	if err != nil {
		return err
	}
	e := u.list[root]
	return u.chain(&link{root, base, todo}, e.kind, e.single || e.size > u.limits.LargeBytes)
}

// resolveHeld does so for whole objects that are not in the pack.
func (u *unpacker) resolveHeld() error {
	for u.thin && len(u.waiting) > 0 {
		progress := false
		for hash, todo := range u.waiting {
			kind, size, content, err := u.held.Base(hash)
			if errors.Is(err, plumbing.ErrObjectNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBase, err)
			}
			progress = true
			delete(u.waiting, hash)
			base, err := u.fill(content, size)
			content.Close()
			if err != nil {
				return err
			}
			if err := u.chain(&link{-1, base, todo}, kind, true); err != nil {
				return err
			}
		}
		if !progress {
			return nil
		}
	}
	return nil
}

// whole reads the content of an object that is no delta.
func (u *unpacker) whole(i int32) (*packContent, error) {
	rd, err := u.open(i)
	if err != nil {
		return nil, err
	}
	return u.fill(rd, u.list[i].size)
}

func (u *unpacker) fill(rd io.Reader, size int64) (*packContent, error) {
	c, err := u.newContent(size)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(c, &contextReader{u.ctx, rd})
	if err == nil && n != size {
		err = fmt.Errorf("%w: it has %d bytes instead of %d", ErrBase, n, size)
	}
	if err != nil {
		u.release(c)
		return nil, err
	}
	return c, nil
}

// chain goes through all deltas behind one whole object, to the end of each
// chain first.
func (u *unpacker) chain(root *link, kind plumbing.ObjectType, single bool) error {
	links := []*link{root}
	defer func() {
		for _, l := range links {
			u.release(l.content)
		}
	}()
	for len(links) > 0 {
		top := links[len(links)-1]
		if len(top.todo) == 0 {
			u.release(top.content)
			links = links[:len(links)-1]
			continue
		}
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		i := top.todo[0]
		top.todo = top.todo[1:]
		if top.content == nil {
			if err := u.regain(links); err != nil {
				return err
			}
		}
		e := &u.list[i]
		e.single = single || top.content.size > u.limits.LargeBytes || top.entry >= 0 && u.list[top.entry].single
		content, err := u.make(i, top.content, kind)
		if err != nil {
			return err
		}
		next := &link{i, content, u.children(i)}
		links = append(links, next)
		if len(links) > maxChain {
			return errorf("the pack has a chain of more than %d deltas", maxChain)
		}
		u.spare(links)
	}
	return nil
}

// spare drops the contents nearest to the beginning of a chain until the rest
// fits into memory. They can be made again.
func (u *unpacker) spare(links []*link) {
	var memory int64
	files := 0
	for i := len(links) - 1; i >= 0; i-- {
		c := links[i].content
		if c == nil || links[i].entry < 0 {
			continue // what is not in the pack can't be made again from it
		}
		if c.file != nil {
			files++
		} else {
			memory += c.size
		}
		if i < len(links)-1 && (files > maxBaseFiles || memory > u.limits.MemoryBytes || len(links[i].todo) == 0) {
			u.release(c)
			links[i].content = nil
		}
	}
}

// maxBaseFiles bounds how many contents of a chain are kept in files.
const maxBaseFiles = 2

// regain makes the content of the last link again.
func (u *unpacker) regain(links []*link) error {
	last := len(links) - 1
	from := last
	for from > 0 && links[from].content == nil {
		from--
	}
	at := links[from].content
	borrowed := at != nil
	if at == nil {
		var err error
		if at, err = u.whole(links[0].entry); err != nil {
			return err
		}
	}
	for i := from + 1; i <= last; i++ {
		next, err := u.patch(links[i].entry, at, io.Discard)
		if !borrowed {
			u.release(at)
		}
		if err != nil {
			return err
		}
		at, borrowed = next, false
	}
	links[last].content = at
	return nil
}

// make finds out what a delta of base is, and returns its content.
func (u *unpacker) make(i int32, base *packContent, kind plumbing.ObjectType) (*packContent, error) {
	size, err := u.resultSize(i)
	if err != nil {
		return nil, err
	}
	e := &u.list[i]
	e.single = e.single || size > u.limits.LargeBytes
	named, err := u.newObject(kind, size, e.single)
	if err != nil {
		return nil, err
	}
	defer named.drop()
	content, err := u.patch(i, base, named)
	if err != nil {
		return nil, err
	}
	e.kind, e.size, e.known = kind, size, true
	if e.hash, err = named.done(); err != nil {
		u.release(content)
		return nil, err
	}
	return content, nil
}

func (u *unpacker) delta(i int32) (*packDelta, error) {
	rd, err := u.open(i)
	if err != nil {
		return nil, err
	}
	u.buffer.Reset(rd)
	d, err := newPackDelta(u.buffer)
	if err == nil && d.size > u.limits.ObjectBytes {
		err = errorf("an object has %d bytes", d.size)
	}
	return d, err
}

func (u *unpacker) resultSize(i int32) (int64, error) {
	d, err := u.delta(i)
	if err != nil {
		return 0, err
	}
	return d.size, nil
}

// patch makes a delta's object of its base, and writes it to w too.
func (u *unpacker) patch(i int32, base *packContent, w io.Writer) (*packContent, error) {
	d, err := u.delta(i)
	if err != nil {
		return nil, err
	}
	content, err := u.newContent(d.size)
	if err != nil {
		return nil, err
	}
	if err := d.apply(u.ctx, base, io.MultiWriter(content, w)); err != nil {
		u.release(content)
		return nil, err
	}
	return content, nil
}
