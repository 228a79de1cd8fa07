package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// Verify reads m from the service and checks it: that its .info and .mod can be read, that
// its zip, if there is one, is a module zip of m, and that it has the hash that was recorded
// when it was stored. What is wrong with it is an [*athens.InvalidError]; any other error says
// that it can't be told. The zip is written to Options.TempDir meanwhile.
func (s *Store) Verify(ctx context.Context, m module.Version) error {
	metaKey, err := metaKey(m)
	if err != nil {
		return fault(ctx, "verify", m, err)
	}
	object, held, err := find(ctx, s, metaKey, func(ctx context.Context) ([]byte, error) { return s.readSmall(ctx, metaKey) })
	switch {
	case err != nil:
		return fault(ctx, "verify", m, err)
	case !held:
		return absent(m, athens.ModFile)
	case len(object) == 0:
		if err := s.buried(ctx, m); err != nil {
			return fault(ctx, "verify", m, err)
		}
		return absent(m, athens.ModFile)
	}
	if _, err := parseMeta(m, object); err != nil {
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: err}
	}
	zipKey, err := zipKey(m)
	if err != nil {
		return fault(ctx, "verify", m, err)
	}
	z, err := s.zip(ctx, m, zipKey)
	if err != nil || z == nil {
		return fault(ctx, "verify", m, err)
	}
	return fault(ctx, "verify", m, s.verifyZip(ctx, m, zipKey, z))
}

// verifyZip downloads a zip and checks it.
func (s *Store) verifyZip(ctx context.Context, m module.Version, key string, z *zipObject) error {
	f, err := os.CreateTemp(s.opts.TempDir, "athens-*.zip")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	body := &zipBody{s: s, m: m, ctx: ctx, key: key, size: z.size}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, body.Close(), f.Close()); err != nil {
		return err
	}
	_, err = modzip.CheckZip(m, f.Name())
	var sum string
	if err == nil {
		sum, err = dirhash.HashZip(f.Name(), dirhash.Hash1)
	}
	if err == nil && sum != z.h1 {
		err = fmt.Errorf("the zip's hash is %s, and %q was recorded", sum, z.h1)
	}
	if err != nil {
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: err}
	}
	return nil
}

// ModuleBytes returns how many bytes the objects of a module's versions have: two requests
// for each thousand versions begun.
func (s *Store) ModuleBytes(ctx context.Context, path string) (bytes int64, err error) {
	prefix, err := versionsPrefix(path)
	for _, root := range []string{modRoot, zipRoot} {
		if err != nil {
			break
		}
		for o, oerr := range s.objects(ctx, root+prefix[len(modRoot):]) {
			if oerr != nil {
				err = oerr
				break
			}
			bytes += o.Size
		}
	}
	return bytes, fault(ctx, "sizes", module.Version{Path: path}, err)
}
