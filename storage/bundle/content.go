package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash"
	"io"

	"golang.org/x/mod/module"
)

// visitor takes what is in a bundle, in its order. An error ends the reading.
type visitor struct {
	answer  func(a *answer, data []byte) error
	version func(v *version, c *content) error
	// other is called for a version that this bundle does not carry.
	other func(v *version) error
}

// content is what a bundle carries of a version. A small zip is in memory; another one is read
// before the function that got it returns.
type content struct {
	info, mod []byte
	zip       []byte    // nil if it is large, or there is none
	stream    io.Reader // of a large zip; its last Read fails if the hash is wrong
}

// small reports whether all of it may be handed to another goroutine.
func (c *content) small() bool {
	return c.stream == nil && len(c.info)+len(c.mod)+len(c.zip) <= 3*small
}

// escaped returns the name of a module's folder in the bundle.
func escaped(path string) (string, error) {
	esc, err := module.EscapePath(path)
	return esc + "/@v/", err
}

// listOf is a module's list file: its versions that are held and not hidden.
func listOf(versions []*version) []byte {
	var b bytes.Buffer
	for _, v := range versions {
		if v.state != notHeld && v.mark != hidden {
			b.WriteString(v.m.Version)
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// each reads the content of a bundle and compares each file with the manifest.
func (f *file) each(ctx context.Context, to visitor) error {
	// A header, padding and, for long names, a header of the header.
	const perFile = 8 << 10
	m := f.manifest
	files := int64(m.sums) + 4*int64(m.versions+m.before+m.removed)
	e, err := newEntries(&untilDone{ctx, io.NewSectionReader(f.r, 0, f.content)}, m.bytes+(files+int64(len(m.text))/16)*perFile+1<<20)
	if err != nil {
		return err
	}
	defer e.close()
	answers := func(a *answer) error {
		if !a.carried {
			return nil
		}
		data, err := e.part("sumdb/"+a.name, a.part)
		if err != nil {
			return err
		}
		return to.answer(a, data)
	}
	for versions, err := range m.modules(answers) {
		if err == nil {
			err = e.module(versions, to)
		}
		if err != nil {
			return err
		}
	}
	return e.end()
}

// module reads the files of one module.
func (e *entries) module(versions []*version, to visitor) error {
	dir, err := escaped(versions[0].m.Path)
	if err != nil {
		return bad("%w", err)
	}
	for _, v := range versions {
		if v.state == carried {
			err = e.version(dir, v, to)
		} else {
			err = to.other(v)
		}
		if err != nil {
			return err
		}
	}
	if list := listOf(versions); len(list) > 0 {
		_, err = e.part(dir+"list", partOf(list))
	}
	return err
}

// version reads the files of one version.
func (e *entries) version(dir string, v *version, to visitor) error {
	esc, err := module.EscapeVersion(v.m.Version)
	if err != nil {
		return bad("%w", err)
	}
	base, c := dir+esc, &content{}
	if c.info, err = e.part(base+".info", v.info); err != nil {
		return err
	}
	if c.mod, err = e.part(base+".mod", v.mod); err != nil {
		return err
	}
	var zip *hashing
	if v.hasZip && v.zip.size <= small {
		if c.zip, err = e.part(base+".zip", v.zip); err != nil {
			return err
		}
	} else if v.hasZip {
		size, err := e.open(base + ".zip")
		if err != nil {
			return err
		}
		if err := (part{size, v.zip.sum}).is(base+".zip", v.zip); err != nil {
			return err
		}
		zip = &hashing{r: e.tar, name: base + ".zip", want: v.zip, sum: sha256.New()}
		c.stream = zip
	}
	if err := to.version(v, c); err != nil || zip == nil {
		return err
	}
	_, err = io.Copy(io.Discard, zip) // what nobody wanted is checked, too
	return err
}

// hashing reads a file of the bundle. At its end it fails if that is not the one of the
// manifest.
type hashing struct {
	r    io.Reader
	name string
	want part
	sum  hash.Hash
	n    int64
	err  error
}

func (h *hashing) Read(p []byte) (int, error) {
	if h.err != nil {
		return 0, h.err
	}
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	switch {
	case err == io.EOF: //nolint:errorlint // a Reader returns it as it is
		got := part{size: h.n}
		h.sum.Sum(got.sum[:0])
		if err := h.want.is(h.name, got); err != nil {
			h.err = err
			return 0, err
		}
		h.err = io.EOF
	case err != nil:
		h.err = unreadable(h.name, err)
	}
	return n, h.err
}

// untilDone reads until ctx is done.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (r *untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
