package gitpack

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxChain bounds the length of a chain of deltas. Git does not make longer ones.
const maxChain = 4096

// A link is an object in the chain from a whole object to a delta that is based on it
// indirectly. Its own deltas are resolved one after the other.
type link struct {
	entry   int32        // -1 if it is not in the pack
	content *packContent // nil while it is dropped
	chain   int64        // bytes of this object and of all before it
	child   int32        // next of the deltas of which it is the base, by offset; or -1
	refs    []refDelta   // those by name
}

func (l *link) done() bool { return l.child < 0 && len(l.refs) == 0 }

// newLink takes an object's deltas over, so that no other link has them.
func (u *unpacker) newLink(i int32, content *packContent, before int64) *link {
	e := &u.list[i]
	l := &link{entry: i, content: content, chain: before + e.size, child: e.child, refs: u.refsTo(e.hash)}
	e.child = -1
	return l
}

// next returns a link's next delta that is not resolved yet.
func (u *unpacker) next(l *link) (i int32, ok bool) {
	for l.child >= 0 {
		i, l.child = l.child, u.list[l.child].next
		if !u.list[i].known {
			return i, true
		}
	}
	for len(l.refs) > 0 {
		i, l.refs = l.refs[0].entry, l.refs[1:]
		if !u.list[i].known {
			return i, true
		}
	}
	return 0, false
}

// resolve resolves all deltas whose chains begin with a whole object of the pack.
func (u *unpacker) resolve(root int32) error {
	l := u.newLink(root, nil, 0)
	if l.done() {
		return nil
	}
	if err := u.job.Step(objectSteps); err != nil {
		return err
	}
	var err error
	if l.content, err = u.whole(root); err != nil {
		return err
	}
	e := u.list[root]
	return u.chain(l, e.kind, e.single || e.size > u.limits.LargeBytes)
}

// resolveHeld resolves those whose chains begin with an object that is not in the pack.
func (u *unpacker) resolveHeld() error {
	for progress := u.thin; progress; {
		progress = false
		for at := 0; at < len(u.refs); {
			refs := u.refsTo(u.refs[at].base)
			at += len(refs)
			l := &link{entry: -1, child: -1, refs: refs}
			if _, ok := u.next(l); !ok {
				continue
			}
			l.refs = refs
			found, err := u.resolveBase(l)
			if err != nil {
				return err
			}
			progress = progress || found
		}
	}
	return nil
}

// resolveBase resolves the deltas of a base that is not in the pack, if Bases has it.
func (u *unpacker) resolveBase(l *link) (found bool, err error) {
	if err := u.job.Step(objectSteps); err != nil {
		return false, err
	}
	kind, size, content, err := u.held.Base(l.refs[0].base)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrBase, err)
	}
	l.content, err = u.fill(content, size)
	content.Close()
	if err != nil {
		return false, err
	}
	return true, u.chain(l, kind, true)
}

// whole reads the content of an object that is not a delta.
func (u *unpacker) whole(i int32) (*packContent, error) {
	rd, err := u.open(i)
	if err != nil {
		return nil, err
	}
	return u.fill(rd, u.list[i].size)
}

// chain resolves all deltas that are based on one whole object, depth first.
func (u *unpacker) chain(root *link, kind plumbing.ObjectType, single bool) error {
	links := []*link{root}
	defer func() {
		for _, l := range links {
			u.release(l.content)
		}
	}()
	for len(links) > 0 {
		top := links[len(links)-1]
		i, ok := u.next(top)
		if !ok {
			u.release(top.content)
			links = links[:len(links)-1]
			continue
		}
		if err := u.job.Step(2 * objectSteps); err != nil {
			return err
		}
		if top.content == nil {
			if err := u.regain(links); err != nil {
				return err
			}
		}
		e := &u.list[i]
		e.single = single || top.content.size > u.limits.LargeBytes || top.entry >= 0 && u.list[top.entry].single
		content, err := u.make(i, top, kind)
		if err != nil {
			return err
		}
		links = append(links, u.newLink(i, content, top.chain))
		if len(links) > maxChain {
			return errorf("the pack has a chain of more than %d deltas", maxChain)
		}
		if err := u.spare(links); err != nil {
			return err
		}
	}
	return nil
}

// spare drops contents from the beginning of a chain until the rest
// fits into memory. They can be reconstructed, except one that is not in the pack.
func (u *unpacker) spare(links []*link) error {
	drop := func(l *link) {
		if l.content != nil && l.entry >= 0 {
			u.release(l.content)
			l.content = nil
		}
	}
	last := len(links) - 1
	if before := links[last-1]; before.done() {
		drop(before)
	}
	if !u.crowded() {
		return nil
	}
	for _, l := range links[:last] {
		if !u.crowded() {
			break
		}
		drop(l)
	}
	return u.job.Step(int64(last) * opSteps)
}

// crowded reports whether contents take more memory or files than they should.
func (u *unpacker) crowded() bool {
	return u.files > maxBaseFiles || u.memory > min(u.limits.MemoryBytes, u.granted)
}

// maxBaseFiles bounds how many contents of a chain are kept in files.
const maxBaseFiles = 2

// regain reconstructs the content of the last link.
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

// make resolves a delta of a link and returns its content.
func (u *unpacker) make(i int32, base *link, kind plumbing.ObjectType) (*packContent, error) {
	size, err := u.resultSize(i)
	if err != nil {
		return nil, err
	}
	e := &u.list[i]
	e.single = e.single || size > u.limits.LargeBytes || base.chain+size > u.limits.ChainBytes
	named, err := u.newObject(kind, size, e.single)
	if err != nil {
		return nil, err
	}
	defer named.drop()
	content, err := u.patch(i, base.content, named)
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

// patch applies a delta to its base and also writes the result to w.
func (u *unpacker) patch(i int32, base *packContent, w io.Writer) (*packContent, error) {
	if err := u.job.Step(objectSteps); err != nil {
		return nil, err
	}
	d, err := u.delta(i)
	if err != nil {
		return nil, err
	}
	content, err := u.newContent(d.size)
	if err != nil {
		return nil, err
	}
	if err := d.apply(u.job, base, io.MultiWriter(content, w)); err != nil {
		u.release(content)
		return nil, err
	}
	return content, nil
}
