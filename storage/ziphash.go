package storage

import (
	"archive/zip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/limit"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// isHash reports whether h1 is a hash as dirhash.Hash1 makes it.
func isHash(h1 string) bool {
	sum, ok := strings.CutPrefix(h1, "h1:")
	raw, err := base64.StdEncoding.Strict().DecodeString(sum)
	return ok && err == nil && len(raw) == 32 && len(sum) == 44
}

// verdict compares h1 with the zip that m has, and makes sure that this one is
// on the medium.
func (s *Store) verdict(ctx context.Context, m module.Version, base, h1 string) error {
	held, err := s.heldHash(ctx, m, base)
	if err != nil {
		return err
	}
	if held != h1 {
		return &athens.ConflictError{Module: m, File: athens.ZipFile, Held: held, Got: h1}
	}
	if err := durable.SyncFile(s.fs, base+ext(athens.ZipFile)); err != nil {
		return err
	}
	return durable.SyncDir(s.fs, filepath.Dir(base))
}

// heldHash returns the hash of m's zip: from its record, otherwise from .ziphash, otherwise from
// the zip itself. It rewrites a .ziphash with another hash.
func (s *Store) heldHash(ctx context.Context, m module.Version, base string) (string, error) {
	said, err := s.readHash(base + hashExt)
	if err != nil {
		return "", err
	}
	rec, err := s.readRecord(m, base)
	if err != nil && !errors.Is(err, errRecord) {
		return "", err
	}
	held := rec.zip
	if held == "" {
		held = said
	}
	if held == "" {
		if held, err = s.hashZip(ctx, base+ext(athens.ZipFile)); err != nil {
			return "", err
		}
	}
	if held == said {
		return held, nil
	}
	n := lockOf(m.Path)
	unlock, err := s.locks.lock(ctx, n)
	if err != nil {
		return "", err
	}
	defer unlock()
	return held, s.writeFile(n, base+hashExt, []byte(held))
}

// readHash reads a .ziphash; what is none is "".
func (s *Store) readHash(name string) (string, error) {
	data, err := s.readSmall(name, 256)
	if isAbsent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return parseHash(data), nil
}

// parseHash returns the hash that a .ziphash has, or "".
func parseHash(data []byte) string {
	if h1 := strings.TrimSpace(string(data)); isHash(h1) {
		return h1
	}
	return ""
}

// hashZip computes the h1 of a stored zip.
func (s *Store) hashZip(ctx context.Context, name string) (string, error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return "", err
	}
	var r io.ReaderAt = unwrap(f)
	if _, ok := r.(*os.File); !ok {
		r = alone{r}
	}
	h1, err := zipHash(ctx, r, stat.Size(), modzip.MaxZipFile)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("the stored zip is damaged: %s: %w", name, err)
	}
	return h1, err
}

// alone reads a file that is not the system's, for one reader.
type alone struct{ r io.ReaderAt }

func (a alone) ReadAt(p []byte, off int64) (int, error) { return readAt(a.r, p, off) }

// zipHash returns the h1 of a zip's content, if that has at most that many bytes.
func zipHash(ctx context.Context, r io.ReaderAt, size, most int64) (string, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(z.File))
	files := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		names = append(names, f.Name)
		files[f.Name] = f
	}
	budget := limit.NewBudget(most)
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		rc, err := files[name].Open()
		if err != nil {
			return nil, err
		}
		return &untilDone{Reader: budget.Reader(rc), Closer: rc, ctx: ctx}, nil
	})
}

// untilDone reads until ctx is done.
type untilDone struct {
	io.Reader
	io.Closer
	ctx context.Context
}

func (r *untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.Reader.Read(p)
	if limit.Exceeded(err) {
		err = fmt.Errorf("the zip's content is too large: %w", err)
	}
	return n, err
}
