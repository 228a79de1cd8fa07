package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
)

// loaded is a version that was read and checked.
type loaded struct {
	*version
	c       content
	problem error // why it, or its zip, is left out
}

// written reports whether it has a line in the manifest.
func (l *loaded) written() bool { return l.state != notHeld || l.mark != noMark }

// load reads what the bundle carries of a version. Its error ends the export.
func (x *exporter) load(ctx context.Context, v *version) (*loaded, error) {
	l := &loaded{version: v}
	if v.state == notHeld {
		return l, nil
	}
	info, _, err := read(ctx, x.store, v.m, athens.InfoFile, maxInfo)
	if err == nil {
		_, err = parseInfo(v.m, info)
	}
	if err != nil {
		return l, l.without(ctx, err, "its .info")
	}
	mod, at, err := read(ctx, x.store, v.m, athens.ModFile, maxMod)
	if err == nil {
		err = modcheck.Mod(mod, maxMod)
	}
	if err != nil {
		return l, l.without(ctx, err, "its .mod")
	}
	zip, err := x.store.Open(ctx, v.m, athens.ZipFile)
	if err == nil {
		defer zip.Body.Close()
		v.hasZip = true
		if zip.ModTime.IsZero() || zip.ModTime.After(at) {
			at = zip.ModTime
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		if err := l.withoutZip(ctx, err); err != nil {
			return l, err
		}
	}
	was := x.former[v.m]
	earlier := was.state != notHeld && (was.hasZip || !v.hasZip)
	if !x.opts.SinceTime.IsZero() && !at.IsZero() && at.Before(x.opts.SinceTime) {
		earlier = true
	}
	if earlier {
		return l, nil
	}
	v.state = carried
	v.info, v.mod, l.c.info, l.c.mod = partOf(info), partOf(mod), info, mod
	if v.hasZip {
		if err := l.readZip(ctx, x.store, zip); err != nil {
			return l, l.withoutZip(ctx, err)
		}
	}
	return l, nil
}

// without notes that the version can't be in the bundle.
func (l *loaded) without(ctx context.Context, err error, what string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.state, l.hasZip = notHeld, false
	if l.mark == restored {
		l.mark = noMark
	}
	l.problem = fmt.Errorf("left out, %s can't be read: %w", what, err)
	return nil
}

// withoutZip notes that the version is in the bundle without its zip.
func (l *loaded) withoutZip(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.hasZip = false
	l.problem = fmt.Errorf("its zip is left out: %w", err)
	return nil
}

// readZip checks the zip, and keeps a small one.
func (l *loaded) readZip(ctx context.Context, store athens.Storage, zip *athens.Object) (err error) {
	r := modcheck.ReaderAt(zip.Body)
	if zip.Size <= small {
		if l.c.zip, err = limit.ReadAll(zip.Body, small); err != nil {
			return err
		}
		if int64(len(l.c.zip)) != zip.Size {
			return fmt.Errorf("it has %d bytes, not %d", len(l.c.zip), zip.Size)
		}
		r = bytes.NewReader(l.c.zip)
		l.zip = partOf(l.c.zip)
	}
	l.h1, err = modcheck.ZipAlone(r, zip.Size, l.m, maxZip)
	if err != nil {
		return err
	}
	if hasher, ok := store.(ZipHasher); ok {
		recorded, err := hasher.ZipHash(ctx, l.m)
		if err == nil && recorded != l.h1 {
			err = fmt.Errorf("it is damaged: its hash is %s, not %s", l.h1, recorded)
		}
		return err
	}
	return nil
}

// write writes a version and its line, after that of the module if it is the first.
func (x *exporter) write(l *loaded, first bool) error {
	if l.problem != nil {
		x.leaveOut(l.m, l.problem)
	}
	if !l.written() {
		return nil
	}
	if l.state == carried {
		dir, err := escaped(l.m.Path)
		if err != nil {
			return err
		}
		v, err := module.EscapeVersion(l.m.Version)
		if err != nil {
			return err
		}
		err = x.w.file(dir+v+".info", l.info.size, bytes.NewReader(l.c.info))
		if err == nil {
			err = x.w.file(dir+v+".mod", l.mod.size, bytes.NewReader(l.c.mod))
		}
		if err == nil && l.hasZip {
			err = x.writeZip(dir+v+".zip", l)
		}
		if err != nil {
			return err
		}
	}
	if first {
		x.manifest.text = append(append(append(x.manifest.text, "module "...), l.m.Path...), '\n')
	}
	x.manifest.text = l.append(x.manifest.text)
	x.manifest.count(l.version)
	if x.opts.Progress != nil {
		x.opts.Progress(Progress{Versions: x.manifest.versions, Bytes: x.manifest.bytes})
	}
	return nil
}

// writeZip writes a zip that was checked.
func (x *exporter) writeZip(name string, l *loaded) error {
	if l.c.zip != nil {
		return x.w.file(name, l.zip.size, bytes.NewReader(l.c.zip))
	}
	zip, err := x.store.Open(x.ctx, l.m, athens.ZipFile)
	if err != nil {
		return err
	}
	defer zip.Body.Close()
	sum := sha256.New()
	l.zip.size = zip.Size
	if err := x.w.file(name, zip.Size, io.TeeReader(zip.Body, sum)); err != nil {
		return err
	}
	sum.Sum(l.zip.sum[:0])
	return nil
}

// list writes the list of a module.
func (x *exporter) list(versions []*version) error {
	list := listOf(versions)
	if len(list) == 0 {
		return nil
	}
	dir, err := escaped(versions[0].m.Path)
	if err != nil {
		return err
	}
	return x.w.file(dir+"list", int64(len(list)), bytes.NewReader(list))
}

// read reads a whole file of a version.
func read(ctx context.Context, store athens.Storage, m module.Version, f athens.File, most int64) ([]byte, time.Time, error) {
	o, err := store.Open(ctx, m, f)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer o.Body.Close()
	data, err := limit.ReadAll(o.Body, most)
	if err == nil && int64(len(data)) != o.Size {
		err = fmt.Errorf("the stored .%s has %d bytes, not %d", f, len(data), o.Size)
	}
	return data, o.ModTime, err
}

// parseInfo reads an .info, which must be that of m.
func parseInfo(m module.Version, data []byte) (*athens.Info, error) {
	info := &athens.Info{}
	if err := json.Unmarshal(data, info); err != nil {
		return nil, err
	}
	if info.Version != m.Version {
		return nil, fmt.Errorf("it is of the version %.100q", strings.ToValidUTF8(info.Version, "?"))
	}
	info.Raw = data
	return info, nil
}
