package storage

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path/filepath"

	"github.com/athens-go/athens"
	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// ZipHash returns the h1 of the zip of m that is held, as it was recorded when it was stored. If
// no zip is held, the error is [fs.ErrNotExist]; if m was removed, an [*athens.BlockedError].
func (s *Store) ZipHash(ctx context.Context, m module.Version) (string, error) {
	o, err := s.Open(ctx, m, athens.ZipFile)
	if err != nil {
		return "", err
	}
	if err := o.Body.Close(); err != nil {
		return "", fault("hash", m, err)
	}
	base, err := s.base(m)
	var h1 string
	if err == nil {
		h1, err = s.heldHash(ctx, m, base)
	}
	if err != nil {
		return "", fault("hash", m, err)
	}
	return h1, nil
}

// AllSumDB yields the names under which answers of checksum databases are kept. When ctx is done,
// its error is the last.
func (s *Store) AllSumDB(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		top := filepath.Join(s.dir, sumDir)
		err := afero.Walk(s.fs, top, func(name string, info fs.FileInfo, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case isAbsent(err):
				return nil // nothing kept, or replaced meanwhile
			case err != nil:
				return err
			case !info.Mode().IsRegular() || info.Size() == 0:
				return nil
			}
			below, err := filepath.Rel(top, name)
			if err == nil && !yield(filepath.ToSlash(below), nil) {
				return filepath.SkipAll
			}
			return err
		})
		if err != nil && !errors.Is(err, filepath.SkipAll) {
			yield("", sumFault("list", "", err))
		}
	}
}
