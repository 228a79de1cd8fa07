// Package modcheck decides whether what a source returned may be stored. All
// content passes through it once, before the store takes it.
//
// A zip is accepted exactly if the go command can use it: golang.org/x/mod/zip
// must be able to extract it, and golang.org/x/mod/sumdb/dirhash to hash it. Both
// read a zip by its central directory, and so does this package. The one
// exception is the size of that directory, see [Zip].
package modcheck

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// Mod checks a .mod of at most limit bytes. Which module it names is for the
// client to judge: a fork or a replacement may name another.
func Mod(mod []byte, limit int64) error {
	if int64(len(mod)) > limit {
		return fmt.Errorf("go.mod has more than %d bytes", limit)
	}
	if modfile.ModulePath(mod) == "" {
		return errors.New("go.mod has no module line")
	}
	return nil
}

// ModHash returns the h1 hash of a .mod, as go.sum has it.
func ModHash(mod []byte) (string, error) {
	return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(mod)), nil
	})
}

// Zip checks the zip of m, whose .mod is mod, and returns its h1 hash. limit
// bounds its size in bytes, packed and unpacked. A central directory of more than
// 32 MiB, enough for 200,000 files, is refused although the go command would read
// it: its entries take a kilobyte of memory each.
func Zip(r io.ReaderAt, size int64, m module.Version, mod []byte, limit int64) (h1 string, err error) {
	z, files, err := open(r, size, m, limit)
	if err != nil {
		return "", err
	}
	if err := checkGoMod(files[goMod(m)], m.Path, mod); err != nil {
		return "", err
	}
	return hash(z)
}

// ZipAlone is Zip for a caller that does not compare the zip with a .mod. The go
// command never does: it verifies the two by hashes of their own.
func ZipAlone(r io.ReaderAt, size int64, m module.Version, limit int64) (h1 string, err error) {
	z, _, err := open(r, size, m, limit)
	if err != nil {
		return "", err
	}
	return hash(z)
}

// GoMod checks that mod is the go.mod that the zip of m has, if it has one. The go
// command compares neither: what a GOPROXY server says of a version whose zip has no
// go.mod may be more than a module line.
func GoMod(r io.ReaderAt, size int64, m module.Version, mod []byte, limit int64) error {
	_, files, err := open(r, size, m, limit)
	if err != nil || files[goMod(m)] == nil {
		return err
	}
	return checkGoMod(files[goMod(m)], m.Path, mod)
}

// Upload checks the zip of m that somebody publishes, as [ZipAlone] does, and that its
// go.mod names m's path. It returns that go.mod and the zip's h1 hash.
func Upload(r io.ReaderAt, size int64, m module.Version, limit int64) (mod []byte, h1 string, err error) {
	z, files, err := open(r, size, m, limit)
	if err != nil {
		return nil, "", err
	}
	f := files[goMod(m)]
	if f == nil {
		return nil, "", fmt.Errorf("zip has no %s", goMod(m))
	}
	if mod, err = read(f); err != nil {
		return nil, "", err
	}
	parsed, err := modfile.ParseLax("go.mod", mod, nil)
	switch {
	case err != nil:
		return nil, "", err
	case parsed.Module == nil || parsed.Module.Mod.Path == "":
		return nil, "", errors.New("go.mod in the zip has no module line")
	case parsed.Module.Mod.Path != m.Path:
		return nil, "", fmt.Errorf("go.mod in the zip is of the module %.120q", parsed.Module.Mod.Path)
	}
	h1, err = hash(z)
	return mod, h1, err
}

// read returns the content of a go.mod.
func read(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("go.mod in the zip: %w", err)
	}
	defer r.Close()
	mod, err := io.ReadAll(io.LimitReader(r, modzip.MaxGoMod+1))
	if err != nil {
		return nil, fmt.Errorf("go.mod in the zip: %w", err)
	}
	return mod, nil
}

// goMod is the name that the go.mod of m has in its zip.
func goMod(m module.Version) string { return m.Path + "@" + m.Version + "/go.mod" }

// open reads a zip's directory and checks it.
func open(r io.ReaderAt, size int64, m module.Version, limit int64) (*zip.Reader, map[string]*zip.File, error) {
	if size > limit {
		return nil, nil, fmt.Errorf("zip has %d bytes, more than %d", size, limit)
	}
	directory := &budget{r: r, left: maxDirectory}
	z, err := zip.NewReader(directory, size)
	if err != nil {
		return nil, nil, fmt.Errorf("not a zip: %w", err)
	}
	directory.left = math.MaxInt64
	files, err := checkNames(z, m, limit)
	return z, files, err
}

// hash returns the h1 hash of a zip. Like [dirhash.HashZip] it opens every entry,
// folders included, and so finds broken local headers; reading each to its end
// checks its size and CRC.
func hash(z *zip.Reader) (string, error) {
	names := make([]string, 0, len(z.File))
	entries := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		names = append(names, f.Name)
		entries[f.Name] = f // a folder may be there twice: the last one counts
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) { return entries[name].Open() })
}

// maxDirectory bounds the central directory of a zip in bytes. Each of its
// entries, of 60 bytes or more, takes a kilobyte of memory: a zip of nothing but
// a directory could take gigabytes. This is enough for 200,000 files.
const maxDirectory = 32 << 20

// budget is a ReaderAt that fails after so many bytes.
type budget struct {
	r    io.ReaderAt
	left int64
}

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("its directory has more than %d bytes", maxDirectory)
	}
	return b.r.ReadAt(p, off)
}

// checkNames checks names and sizes and returns the files by name, without the
// entries of folders.
func checkNames(z *zip.Reader, m module.Version, limit int64) (map[string]*zip.File, error) {
	prefix := m.Path + "@" + m.Version + "/"
	files := make(map[string]*zip.File, len(z.File))
	seen := make(collisions, len(z.File))
	var total uint64
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok {
			return nil, fmt.Errorf("zip has %.120q outside of %s", f.Name, prefix)
		}
		if name == "" { // the module's own folder
			continue
		}
		clean, isDir := strings.CutSuffix(name, "/")
		if err := checkName(clean, isDir, seen); err != nil {
			return nil, fmt.Errorf("zip has %.120q: %w", f.Name, err)
		}
		if isDir {
			continue
		}
		total += min(f.UncompressedSize64, 1<<62)
		if total > uint64(limit) {
			return nil, fmt.Errorf("zip unpacks to more than %d bytes", limit)
		}
		if (name == "go.mod" && f.UncompressedSize64 > modzip.MaxGoMod) || (name == "LICENSE" && f.UncompressedSize64 > modzip.MaxLICENSE) {
			return nil, fmt.Errorf("zip has a %s of %d bytes", name, f.UncompressedSize64)
		}
		files[f.Name] = f
	}
	return files, nil
}

// checkName checks one name inside the module.
func checkName(name string, isDir bool, seen collisions) error {
	if path.Clean(name) != name {
		return errors.New("name is not clean")
	}
	if err := module.CheckFilePath(name); err != nil {
		return errors.New("name is not allowed in a module")
	}
	if err := seen.add(name, isDir); err != nil {
		return err
	}
	if !isDir && strings.EqualFold(path.Base(name), "go.mod") && name != "go.mod" {
		return errors.New("a go.mod may only be in the root, in lower case")
	}
	return nil
}

// collisions finds names that are the same file where case does not count.
type collisions map[string]collision

type collision struct {
	name  string
	isDir bool
}

func (c collisions) add(name string, isDir bool) error {
	folded := fold(name)
	if other, ok := c[folded]; ok {
		if name != other.name {
			return fmt.Errorf("collides with %.120q", other.name)
		}
		if isDir != other.isDir {
			return errors.New("is both a file and a folder")
		}
		if !isDir {
			return errors.New("is there twice")
		}
		return nil
	}
	c[folded] = collision{name, isDir}
	if parent := path.Dir(name); parent != "." {
		return c.add(parent, true)
	}
	return nil
}

var (
	ident  = regexp.MustCompile(`\$Id:[^$\n]*\$`)
	idents = []byte("$Id$")
)

// checkGoMod checks that the zip's go.mod is mod. Git attributes may have
// changed line endings and $Id$ in the zip, where the .mod has the raw blob.
func checkGoMod(f *zip.File, modPath string, mod []byte) error {
	var got []byte
	if f == nil {
		got = []byte("module " + modfile.AutoQuote(modPath) + "\n")
	} else {
		var err error
		if got, err = read(f); err != nil {
			return err
		}
	}
	if !bytes.Equal(plain(got), plain(mod)) {
		if f == nil {
			return errors.New("zip has no go.mod, but the .mod is more than a module line")
		}
		return errors.New("go.mod in the zip is not the .mod")
	}
	return nil
}

// plain undoes what git attributes may do to a text file.
func plain(mod []byte) []byte {
	return ident.ReplaceAllLiteral(bytes.ReplaceAll(mod, []byte("\r\n"), []byte("\n")), idents)
}

// Vouched checks that lines, go.sum lines as a checksum database returns them,
// have hash for m; in m.Version, "/go.mod" at the end means its go.mod.
func Vouched(lines []string, m module.Version, hash string) error {
	want := m.Path + " " + m.Version + " "
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, want+"h1:") })
	if i < 0 {
		return fmt.Errorf("the checksum database has no h1 hash of %s", m)
	}
	if got := strings.TrimSpace(strings.TrimPrefix(lines[i], want)); got != hash {
		return fmt.Errorf("the checksum database has %s, the source %s", got, hash)
	}
	return nil
}
