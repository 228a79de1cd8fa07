package gocmd

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// errRemoved means that a version's folder was removed meanwhile.
var errRemoved = errors.New("the fetched files were removed meanwhile")

// version returns a cached version, or fetches it.
func (f *Fetcher) version(ctx context.Context, m module.Version) (*version, error) {
	q := f.requestFor(ctx, m)
	return f.fetches.Do(ctx, q, func(ctx context.Context) (*version, error) {
		ctx = q.context(ctx)
		if v := f.lookup(m); v != nil {
			return v, nil
		}
		dir, err := f.newFolder()
		if err != nil {
			return nil, err
		}
		v := &version{module: m, dir: dir}
		if err := f.load(ctx, v); err != nil {
			f.remove(dir)
			return nil, err
		}
		f.cache(v)
		return v, nil
	})
}

// maxMod bounds a .mod, in bytes: as athens.Options.MaxModBytes does by default.
const maxMod = 32 << 20

// load fetches the .info and .mod of a version into its folder.
func (f *Fetcher) load(ctx context.Context, v *version) error {
	info, gomod, err := f.stat(ctx, v.dir, v.module)
	if err != nil {
		return err
	}
	if info.Version != v.module.Version {
		return &athens.MissingError{Path: v.module.Path, Query: v.module.Version, Err: fmt.Errorf("resolves to %s", info.Version)}
	}
	v.info = info
	if gomod == "" {
		// Only "go mod download" says why.
		p, err := f.download(ctx, v)
		if p.GoMod == "" {
			v.modErr = err
			return nil
		}
		gomod = p.GoMod
	}
	if v.mod, err = readAtMost(gomod, maxMod); err != nil {
		return err
	}
	if info.Origin != nil && info.Origin.VCS == "svn" && isSyntheticMod(v.module, v.mod) {
		return f.checkSyntheticMod(ctx, v)
	}
	return nil
}

// download creates the zip of a version. If it fails, the result may still name files
// that were created before.
func (f *Fetcher) download(ctx context.Context, v *version) (moduleJSON, error) {
	answer, err := f.run(ctx, v.dir, v.module.Path, 1, "mod", "download", "-json", v.module.Path+"@"+v.module.Version)
	if err != nil {
		return moduleJSON{}, err
	}
	p := answer[0]
	switch {
	case p.Error != "":
		err = f.refusal(ctx, v.dir, v.module, p)
	case p.Zip == "":
		err = errors.New("the go command reported no zip")
	}
	if p.Dir != "" {
		_ = os.RemoveAll(p.Dir) // the unpacked zip, which is not needed
	}
	return p, err
}

// isSyntheticMod reports whether a .mod is the one that the go command synthesizes for a
// module without a go.mod.
func isSyntheticMod(m module.Version, mod []byte) bool {
	return string(mod) == "module "+modfile.AutoQuote(m.Path)+"\n"
}

// checkSyntheticMod checks with the zip whether a module really has no go.mod: the go
// command also synthesizes one if svn fails to read it.
func (f *Fetcher) checkSyntheticMod(ctx context.Context, v *version) error {
	p, err := f.download(ctx, v)
	if err != nil {
		return err
	}
	r, err := zip.OpenReader(p.Zip)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, file := range r.File {
		if file.Name == v.module.Path+"@"+v.module.Version+"/go.mod" && file.UncompressedSize64 != uint64(len(v.mod)) {
			return errors.New("svn could not read the go.mod")
		}
	}
	v.zip = p.Zip
	return nil
}

// content is a fetched version.
type content struct {
	f *Fetcher
	v *version
}

// Info implements [athens.Content].
func (c *content) Info(ctx context.Context) (*athens.Info, error) {
	return clone(c.v.info), context.Cause(ctx)
}

// Mod implements [athens.Content].
func (c *content) Mod(ctx context.Context) ([]byte, error) {
	if c.v.modErr != nil {
		return nil, c.f.toAthensError(ctx, c.v.module.Path, c.v.modErr)
	}
	return bytes.Clone(c.v.mod), context.Cause(ctx)
}

// Zip implements [athens.Content]. If the fetched folder was removed meanwhile, it
// fetches the version again, which must be of the same commit.
func (c *content) Zip(ctx context.Context, w io.Writer) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	v, err := c.acquire(ctx)
	if err == nil {
		defer c.f.release(v)
		err = c.f.copyZip(ctx, v, w)
	}
	return c.f.toAthensError(ctx, c.v.module.Path, err)
}

// acquire returns the version with its folder. The caller must release it.
func (c *content) acquire(ctx context.Context) (*version, error) {
	v := c.v
	for range 3 {
		if c.f.acquire(v) {
			return v, nil
		}
		var err error
		if v, err = c.f.version(ctx, c.v.module); err != nil {
			return nil, err
		}
		if !same(v.info, c.v.info) || !bytes.Equal(v.mod, c.v.mod) {
			return nil, errors.New("the version changed while it was read: its tag was moved")
		}
	}
	return nil, errRemoved
}

// same reports whether two answers are about the same commit.
func same(a, b *athens.Info) bool {
	if a.Version != b.Version || !a.Time.Equal(b.Time) {
		return false
	}
	return a.Origin == nil || b.Origin == nil || a.Origin.Hash == b.Origin.Hash
}

// copyZip creates the zip of a version, which the caller has acquired, if necessary, and
// writes it.
func (f *Fetcher) copyZip(ctx context.Context, v *version, w io.Writer) error {
	q := f.requestFor(ctx, v.module)
	name, err := f.zips.Do(ctx, v, func(ctx context.Context) (string, error) {
		ctx = q.context(ctx)
		if !f.acquire(v) { // the caller may have left
			return "", errRemoved
		}
		defer f.release(v)
		f.mu.Lock()
		name := v.zip
		f.mu.Unlock()
		if name != "" {
			return name, nil
		}
		p, err := f.download(ctx, v)
		if err == nil {
			f.setZip(v, p.Zip)
		}
		return p.Zip, err
	})
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, &contextReader{ctx, file})
	return err
}

// contextReader is a reader that fails once its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (p *contextReader) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.r.Read(b)
}
