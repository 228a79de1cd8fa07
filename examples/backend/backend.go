// Package backend is the smallest [athens.Storage] that keeps every promise, over
// any service that can create an object if there is none of its name. It is what
// docs/write-a-backend.md walks through, and no more: it holds a zip in memory.
package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
)

// Objects is what the service has to offer. Once ctx is done each returns its error.
type Objects interface {
	// Get returns an object; [fs.ErrNotExist] says that there is none, and
	// nothing else does.
	Get(ctx context.Context, key string) ([]byte, error)
	// Create makes an object, whole and durable, if there is none: of several
	// that create the same, one succeeds, and the others get [fs.ErrExist].
	Create(ctx context.Context, key string, body []byte) error
	// List returns the keys that begin with prefix.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Store is an [athens.Storage] over Objects, which any number of processes share.
type Store struct{ objects Objects }

// New returns the store that objects hold.
func New(objects Objects) *Store { return &Store{objects} }

// record is the one object that holds .info and .mod: they can't be seen apart.
type record struct {
	Info []byte
	Mod  []byte
}

// key escapes m for names that ignore case, and refuses what is no version.
func key(kind string, m module.Version) (string, error) {
	if err := module.Check(m.Path, m.Version); err != nil {
		return "", err
	}
	path, _ := module.EscapePath(m.Path)
	version, err := module.EscapeVersion(m.Version)
	return kind + "/" + path + "/@v/" + version, err
}

// Put creates the record, or compares with the one that is there.
func (s *Store) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	k, err := key("mod", m)
	if err != nil {
		return err
	}
	if info.Version != m.Version {
		if held, err := s.record(ctx, m); err == nil {
			return held.same(m, info, mod)
		}
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: fmt.Errorf("the .info names version %q", info.Version)}
	}
	file, err := info.Encode()
	if err != nil {
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: err}
	}
	body, err := json.Marshal(record{file, mod})
	if err != nil {
		return err
	}
	if err := s.objects.Create(ctx, k, body); !errors.Is(err, fs.ErrExist) {
		return err
	}
	held, err := s.record(ctx, m)
	if err != nil {
		return err
	}
	return held.same(m, info, mod)
}

// same returns a conflict unless the same version is offered again.
func (r *record) same(m module.Version, info *athens.Info, mod []byte) error {
	differs := func(f athens.File, held, got string) error {
		return &athens.ConflictError{Module: m, File: f, Held: held, Got: got}
	}
	var was athens.Info
	if err := json.Unmarshal(r.Info, &was); err != nil {
		return err
	}
	a, b := was.Origin, info.Origin
	switch {
	case !bytes.Equal(r.Mod, mod):
		return differs(athens.ModFile, fmt.Sprintf("%.60q", r.Mod), fmt.Sprintf("%.60q", mod))
	case was.Version != info.Version:
		return differs(athens.InfoFile, was.Version, info.Version)
	case info.Raw == nil && !was.Time.Equal(info.Time): // made from another commit
		return differs(athens.InfoFile, was.Time.String(), info.Time.String())
	case a != nil && b != nil && a.Hash != "" && b.Hash != "" && a.Hash != b.Hash:
		return differs(athens.InfoFile, a.Hash, b.Hash)
	}
	return nil
}

func (s *Store) record(ctx context.Context, m module.Version) (*record, error) {
	k, err := key("mod", m)
	if err != nil {
		return nil, err
	}
	body, err := s.objects.Get(ctx, k)
	if err != nil {
		return nil, err
	}
	r := new(record)
	return r, json.Unmarshal(body, r)
}

// Open reads the record, or the zip behind its hash.
func (s *Store) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	var body []byte
	if f == athens.ZipFile {
		_, zip, err := s.zip(ctx, m)
		if err != nil {
			return nil, err
		}
		body = zip
	} else {
		r, err := s.record(ctx, m)
		if err != nil {
			return nil, err
		}
		if body = r.Mod; f == athens.InfoFile {
			body = r.Info
		}
	}
	return &athens.Object{Body: content{bytes.NewReader(body)}, Size: int64(len(body)), ETag: fmt.Sprintf("%q", m.String()+"."+f.String())}, nil
}

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

// zip returns a zip and its hash, which is the line before it.
func (s *Store) zip(ctx context.Context, m module.Version) (h1 string, zip []byte, err error) {
	k, err := key("zip", m)
	if err != nil {
		return "", nil, err
	}
	body, err := s.objects.Get(ctx, k)
	line, zip, _ := bytes.Cut(body, []byte("\n"))
	return string(line), zip, err
}

// Versions lists the records of one module.
func (s *Store) Versions(ctx context.Context, path string) ([]string, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return nil, err
	}
	prefix := "mod/" + escaped + "/@v/"
	keys, err := s.objects.List(ctx, prefix)
	var list []string
	for _, k := range keys {
		if v, err := module.UnescapeVersion(strings.TrimPrefix(k, prefix)); err == nil {
			list = append(list, v)
		}
	}
	semver.Sort(list)
	return list, err
}

// Stage is a temporary file that has lost its name: nothing is left of it when the
// process dies.
func (s *Store) Stage(ctx context.Context) (athens.Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "backend-*.zip")
	if err != nil {
		return nil, err
	}
	return &stage{f, s}, os.Remove(f.Name())
}

type stage struct {
	*os.File // Write, ReadAt
	s        *Store
}

// Commit creates the zip, or compares with the one that is there.
func (st *stage) Commit(ctx context.Context, m module.Version, h1 string) error {
	if _, err := st.s.record(ctx, m); err != nil {
		return err // fs.ErrNotExist: it was not Put
	}
	k, err := key("zip", m)
	if err != nil {
		return err
	}
	body := bytes.NewBufferString(h1 + "\n")
	info, err := st.Stat()
	if err != nil {
		return err
	}
	if _, err := io.Copy(body, io.NewSectionReader(st.File, 0, info.Size())); err != nil {
		return err
	}
	if err := st.s.objects.Create(ctx, k, body.Bytes()); !errors.Is(err, fs.ErrExist) {
		return err
	}
	held, _, err := st.s.zip(ctx, m)
	if err == nil && held != h1 {
		err = &athens.ConflictError{Module: m, File: athens.ZipFile, Held: held, Got: h1}
	}
	return err
}

// Close discards the file; a second time it does nothing.
func (st *stage) Close() error {
	if err := st.File.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
