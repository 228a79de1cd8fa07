package storage

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
	modzip "golang.org/x/mod/zip"
)

// repair fetches the version from a source, by the way that any other takes: what it
// says is checked, and Put and Commit compare it with the record. Its error is of
// the store; what the source did wrong is told of each problem.
func (c *versionCheck) repair(source athens.Fetcher) error {
	failed := c.fetch(source)
	if err := c.ctx.Err(); err != nil {
		return err
	}
	now := c.unpaced(c)
	if err := now.run(); err != nil {
		return err
	}
	c.read = now.read
	if failed == nil {
		if err := now.record(); err != nil {
			return err
		}
	}
	for i := range c.problems {
		p := &c.problems[i]
		if p.Repaired || p.Kind == ProblemStray {
			continue
		}
		is := now.named(p.File)
		if p.Repaired = is == nil && (failed == nil || now.has(p.File)); p.Repaired {
			continue
		}
		if p.Failed = failed; failed == nil {
			p.Failed = is.Err
		}
	}
	return nil
}

// has reports whether a file of the version is there and sound.
func (c *versionCheck) has(file string) bool {
	switch strings.TrimPrefix(file, filepath.Base(c.base)) {
	case ext(athens.InfoFile):
		return c.held.info != nil
	case ext(athens.ModFile):
		return c.held.mod != ""
	case ext(athens.ZipFile):
		return c.held.zip != ""
	case hashExt:
		return c.said != ""
	}
	return false // the record counts as repaired once a source has confirmed it
}

// fetch puts what the source has of the version, and commits its zip if there was
// one.
func (c *versionCheck) fetch(source athens.Fetcher) error {
	content, err := source.Fetch(c.ctx, c.m)
	if err != nil {
		return err
	}
	info, err := content.Info(c.ctx)
	if err != nil {
		return err
	}
	mod, err := content.Mod(c.ctx)
	if err != nil {
		return err
	}
	if info == nil || info.Version != c.m.Version {
		return c.invalid(errors.New("the source's .info names another version"))
	}
	if err := modcheck.Mod(mod, 1<<30); err != nil {
		return c.invalid(err)
	}
	if c.held.zip != "" && c.want.mod == "" { // it is sound, and says more than an unknown .mod
		if err := c.fits(mod); err != nil {
			return err
		}
	}
	if err := c.Put(c.ctx, c.m, info, mod); err != nil {
		return err
	}
	if c.problem(ext(athens.ZipFile)) == nil {
		return nil
	}
	return c.fetchZip(source, content, mod)
}

func (c *versionCheck) invalid(err error) error {
	return &athens.InvalidError{Path: c.m.Path, Version: c.m.Version, Err: err}
}

// fits checks that mod belongs to the zip that is held.
func (c *versionCheck) fits(mod []byte) error {
	r, err := c.open(ext(athens.ZipFile))
	if r == nil || err != nil {
		return err
	}
	defer r.close()
	if err := modcheck.GoMod(r, r.size, c.m, mod, modzip.MaxZipFile); err != nil {
		return c.invalid(err)
	}
	return nil
}

// fetchZip gets the zip and commits it. An upstream's may have another go.mod than
// mod, as the go command accepts it; what version control has belongs together.
func (c *versionCheck) fetchZip(source athens.Fetcher, content athens.Content, mod []byte) (err error) {
	stage, err := c.Stage(c.ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	w := limit.NewWriter(stage, modzip.MaxZipFile)
	if err := content.Zip(c.ctx, w); err != nil || w.Err() != nil || w.Exceeded() {
		if w.Exceeded() {
			return fmt.Errorf("the zip has more than %d bytes", int64(modzip.MaxZipFile))
		}
		return cmp.Or(w.Err(), err)
	}
	var h1 string
	if _, ok := source.(athens.Upstream); ok {
		h1, err = modcheck.ZipAlone(stage, w.Written(), c.m, modzip.MaxZipFile)
	} else {
		h1, err = modcheck.Zip(stage, w.Written(), c.m, mod, modzip.MaxZipFile)
	}
	if err != nil {
		return c.invalid(err)
	}
	return stage.Commit(c.ctx, c.m, h1)
}
