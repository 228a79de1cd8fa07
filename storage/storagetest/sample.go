package storagetest

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
)

// Sample is a version as a source would offer it.
//
// Its methods are what the cases are made of. They return an error that names
// the version and the file.
type Sample struct {
	Module module.Version
	Info   *athens.Info
	Mod    []byte
	Zip    []byte // a module zip
	H1     string // of Zip
}

// NewSample makes a version whose content depends on salt: two salts are two
// commits that claim the same version.
func NewSample(path, version, salt string) Sample {
	s := Sample{Module: module.Version{Path: path, Version: version}}
	s.Info = &athens.Info{
		Version: version,
		Time:    time.Date(2021, 2, 3, 4, 5, len(salt)%60, 0, time.UTC),
		Origin:  &athens.Origin{VCS: "git", URL: "https://" + path, Hash: fmt.Sprintf("%040x", "commit"+salt)},
	}
	s.Mod = []byte("module " + path + "\n// " + salt + "\n")
	s.Zip, s.H1 = makeZip(s.Module, zip.Deflate, map[string]string{
		"go.mod": string(s.Mod),
		"a.go":   "package a // " + salt + "\n",
	})
	return s
}

// ordinary is the version most cases use.
func ordinary() Sample { return NewSample("example.com/Some/mod", "v1.2.3", "a") }

// makeZip returns a module zip and its h1, which does not depend on method.
func makeZip(m module.Version, method uint16, files map[string]string) ([]byte, string) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	prefix := m.String() + "/"
	names := slices.Sorted(maps.Keys(files))
	for i, name := range names {
		f, err := w.CreateHeader(&zip.FileHeader{Name: prefix + name, Method: method})
		if err == nil {
			_, err = io.WriteString(f, files[name])
		}
		if err != nil {
			panic(err) // writing to memory does not fail
		}
		names[i] = prefix + name
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	h1, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(files[name[len(prefix):]]))), nil
	})
	if err != nil {
		panic(err)
	}
	return b.Bytes(), h1
}

// Put puts the sample and wants success.
func (s Sample) Put(ctx context.Context, st athens.Storage) error {
	if err := st.Put(ctx, s.Module, s.Info, s.Mod); err != nil {
		return fmt.Errorf("Put %s: %w", s.Module, err)
	}
	return nil
}

// Commit stages the sample's zip and commits it.
func (s Sample) Commit(ctx context.Context, st athens.Storage) (err error) {
	stage, err := st.Stage(ctx)
	if err != nil {
		return fmt.Errorf("Stage: %w", err)
	}
	defer func() {
		if cerr := stage.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("Close: %w", cerr)
		}
	}()
	if _, err := stage.Write(s.Zip); err != nil {
		return fmt.Errorf("Write: %w", err)
	}
	return stage.Commit(ctx, s.Module, s.H1)
}

// Store puts and commits the sample and wants success.
func (s Sample) Store(ctx context.Context, st athens.Storage) error {
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	if err := s.Commit(ctx, st); err != nil {
		return fmt.Errorf("Commit %s: %w", s.Module, err)
	}
	return nil
}

// Held wants the .info and .mod of the sample in the store.
func (s Sample) Held(ctx context.Context, st athens.Storage) error {
	mod, err := read(ctx, st, s.Module, athens.ModFile)
	if err != nil {
		return err
	}
	if !bytes.Equal(mod, s.Mod) {
		return fmt.Errorf("the .mod of %s is %q, want %q", s.Module, mod, s.Mod)
	}
	data, err := read(ctx, st, s.Module, athens.InfoFile)
	if err != nil {
		return err
	}
	var info athens.Info
	if err := json.Unmarshal(data, &info); err != nil {
		return fmt.Errorf("the .info of %s is no JSON: %w: %s", s.Module, err, data)
	}
	if info.Version != s.Info.Version || !info.Time.Equal(s.Info.Time) {
		return fmt.Errorf("the .info of %s is %s, want version %s and time %v", s.Module, data, s.Info.Version, s.Info.Time)
	}
	if s.Info.Origin != nil && (info.Origin == nil || *info.Origin != *s.Info.Origin) {
		return fmt.Errorf("the .info of %s is %s, want origin %+v", s.Module, data, *s.Info.Origin)
	}
	return nil
}

// Whole wants all three files of the sample in the store.
func (s Sample) Whole(ctx context.Context, st athens.Storage) error {
	if err := s.Held(ctx, st); err != nil {
		return err
	}
	z, err := read(ctx, st, s.Module, athens.ZipFile)
	if err != nil {
		return err
	}
	if !bytes.Equal(z, s.Zip) {
		return fmt.Errorf("the .zip of %s has other bytes than what was committed: %d, want %d", s.Module, len(z), len(s.Zip))
	}
	return nil
}

// read opens a file of a version, reads it all and checks its Size.
func read(ctx context.Context, st athens.Storage, m module.Version, f athens.File) ([]byte, error) {
	obj, err := st.Open(ctx, m, f)
	if err != nil {
		return nil, fmt.Errorf("Open .%s of %s: %w", f, m, err)
	}
	defer obj.Body.Close()
	data, err := io.ReadAll(obj.Body)
	if err != nil {
		return nil, fmt.Errorf("read .%s of %s: %w", f, m, err)
	}
	if obj.Size != int64(len(data)) {
		return nil, fmt.Errorf("the .%s of %s has Size %d and %d bytes", f, m, obj.Size, len(data))
	}
	return data, nil
}

// missing wants these files of m not to be held.
func missing(ctx context.Context, st athens.Storage, m module.Version, files ...athens.File) error {
	for _, f := range files {
		obj, err := st.Open(ctx, m, f)
		if err == nil {
			obj.Body.Close()
			return fmt.Errorf("Open .%s of %s: it is there", f, m)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("Open .%s of %s: %w, want fs.ErrNotExist", f, m, err)
		}
	}
	return nil
}

// conflict wants err to be a conflict of that file of m.
func conflict(err error, m module.Version, f athens.File) error {
	var c *athens.ConflictError
	switch {
	case err == nil:
		return fmt.Errorf("no error, want a ConflictError for the .%s", f)
	case !errors.As(err, &c):
		return fmt.Errorf("error %w, want a ConflictError", err)
	case c.Module != m || c.File != f:
		return fmt.Errorf("the conflict is of the .%s of %s, want the .%s of %s", c.File, c.Module, f, m)
	case c.Held == "" || c.Got == "" || c.Held == c.Got:
		return fmt.Errorf("the conflict does not name what differs: held %q, got %q", c.Held, c.Got)
	}
	return nil
}

// versions wants the store to list exactly these, in this order.
func versions(ctx context.Context, st athens.Storage, path string, want ...string) error {
	got, err := st.Versions(ctx, path)
	if err != nil {
		return fmt.Errorf("Versions of %s: %w", path, err)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("Versions of %s: %q, want %q", path, got, want)
	}
	return nil
}

// alone makes a check that opens the store once.
func alone(check func(ctx context.Context, st athens.Storage) error) func(context.Context, Open) error {
	return func(ctx context.Context, open Open) error {
		st, err := open()
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		return check(ctx, st)
	}
}

// twice makes a check that opens the store twice.
func twice(check func(ctx context.Context, a, b athens.Storage) error) func(context.Context, Open) error {
	return func(ctx context.Context, open Open) error {
		a, err := open()
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		b, err := open()
		if err != nil {
			return fmt.Errorf("open again: %w", err)
		}
		return check(ctx, a, b)
	}
}
