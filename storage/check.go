package storage

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/spf13/afero"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// versionCheck checks the files of one version.
type versionCheck struct {
	*verifier
	m    module.Version
	base string

	bound    bool   // there is a record, perhaps a damaged one
	restored bool   // it was removed and restored, and is to be Put again
	want     record // what the record says
	said     string // what .ziphash says
	held     record // what the files are that are sound
	mod      []byte // the .mod, if it is sound and may have a zip

	read     int64 // bytes
	problems []Problem
}

var errEmpty = errors.New("is empty")

// errRemoved is for a version of which the record alone is left.
var errRemoved = errors.New("was stored, and its replacement must match the record; to forget the version, remove its .record too")

// run looks at each file. Its error is of what could not be looked at, which says
// nothing about a file.
func (c *versionCheck) run() error {
	if err := c.checkRecord(); err != nil {
		return err
	}
	marks, err := c.readTaken(filepath.Dir(c.base))
	if err != nil {
		return err
	}
	if marks[c.m.Version].Removed {
		return c.checkRemoved()
	}
	c.restored = marks[c.m.Version].Restored
	there, err := c.checkMod()
	if err != nil {
		return err
	}
	if !there && (!c.bound || c.restored) {
		return c.checkStray()
	}
	if err := c.checkInfo(); err != nil {
		return err
	}
	if err := c.checkHash(); err != nil {
		return err
	}
	return c.checkZip()
}

func (c *versionCheck) add(ext string, kind ProblemKind, err error) {
	c.problems = append(c.problems, Problem{File: filepath.Base(c.base) + ext, Kind: kind, Err: err})
}

// problem returns the problem with a file, nil if there is none.
func (c *versionCheck) problem(ext string) *Problem { return c.named(filepath.Base(c.base) + ext) }

func (c *versionCheck) named(file string) *Problem {
	for i := range c.problems {
		if c.problems[i].File == file {
			return &c.problems[i]
		}
	}
	return nil
}

func (c *versionCheck) checkRecord() error {
	data, bad, err := c.small(recordExt, maxRecord)
	if data == nil || err != nil {
		return err
	}
	c.bound = true
	if bad == nil {
		c.want, bad = parseRecord(c.m, data)
	}
	if bad != nil {
		c.add(recordExt, ProblemDamaged, bad)
	}
	return nil
}

// checkMod reports whether there is a .mod.
func (c *versionCheck) checkMod() (bool, error) {
	modExt := ext(athens.ModFile)
	r, err := c.open(modExt)
	if err != nil {
		return false, err
	}
	if r == nil {
		if c.bound && !c.restored {
			c.add(modExt, ProblemMissing, errRemoved)
		}
		return false, nil
	}
	defer r.close()
	// A longer one than a zip may have is hashed, and that is all.
	start := &prefix{r: io.NewSectionReader(r, 0, r.size)}
	h1, bad := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(start), nil })
	if none := r.none(); none != nil {
		bad = none
	}
	switch {
	case bad != nil:
	case c.want.mod != "" && h1 != c.want.mod:
		bad = fmt.Errorf("its hash is %s, not %s", h1, c.want.mod)
	case c.want.mod == "":
		bad = modcheck.Mod(start.kept, modzip.MaxGoMod)
	}
	if err := r.failed(); err != nil {
		return true, err
	}
	if bad != nil {
		c.add(modExt, ProblemDamaged, bad)
		return true, nil
	}
	c.held.mod = h1
	if r.size <= modzip.MaxGoMod {
		c.mod = start.kept
	}
	return true, nil
}

// prefix keeps the beginning of what is read.
type prefix struct {
	r    io.Reader
	kept []byte
}

func (p *prefix) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.kept = append(p.kept, b[:min(n, modzip.MaxGoMod-len(p.kept))]...)
	return n, err
}

// checkRemoved looks for files of a version that was removed: its record is all that stays.
func (c *versionCheck) checkRemoved() error {
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		r, err := c.open(ext(f))
		if err != nil {
			return err
		}
		if r != nil {
			r.close()
			c.add(ext(f), ProblemStray, errors.New("the version was removed; remove it again to delete its files"))
		}
	}
	return nil
}

// checkStray looks for the zip of a version that is not held and never was. An
// .info alone is of a Put that was cut off, or of a go command.
func (c *versionCheck) checkStray() error {
	r, err := c.open(ext(athens.ZipFile))
	if r != nil {
		r.close()
		c.add(ext(athens.ZipFile), ProblemStray, errors.New("there is no .mod"))
	}
	return err
}

func (c *versionCheck) checkInfo() error {
	infoExt := ext(athens.InfoFile)
	data, bad, err := c.small(infoExt, maxInfo)
	if err != nil {
		return err
	}
	if data == nil {
		if c.want.info != nil {
			c.add(infoExt, ProblemMissing, errors.New("was stored"))
		}
		return nil
	}
	if bad == nil && c.want.info != nil && string(data) != string(c.want.info) {
		bad = errors.New("differs from what was stored")
	}
	if bad == nil && !isInfo(c.m, data) {
		bad = errors.New("does not parse, or names another version")
	}
	if bad != nil {
		c.add(infoExt, ProblemDamaged, bad)
		return nil
	}
	c.held.info = data
	return nil
}

func (c *versionCheck) checkHash() error {
	data, bad, err := c.small(hashExt, 256)
	if data == nil || err != nil {
		return err
	}
	if bad == nil {
		c.said = parseHash(data)
		switch {
		case c.said == "":
			bad = errors.New("is not a hash")
		case c.want.zip != "" && c.said != c.want.zip:
			bad = fmt.Errorf("is %s, not %s", c.said, c.want.zip)
		}
	}
	if bad != nil {
		c.said = ""
		c.add(hashExt, ProblemDamaged, bad)
	}
	return nil
}

func (c *versionCheck) checkZip() error {
	zipExt := ext(athens.ZipFile)
	r, err := c.open(zipExt)
	if err != nil {
		return err
	}
	if r == nil {
		if c.want.zip != "" {
			c.add(zipExt, ProblemMissing, errors.New("was stored"))
		}
		return nil
	}
	defer r.close()
	h1, raw, bad := c.hashZip(r)
	var other error
	if bad == nil && c.mod != nil && c.want.mod == "" { // nothing else is known of the .mod
		other = modcheck.GoMod(r, r.size, c.m, c.mod, modzip.MaxZipFile)
	}
	if err := r.failed(); err != nil {
		return err
	}
	if bad != nil {
		c.add(zipExt, ProblemDamaged, bad)
		return nil
	}
	c.held.zip, c.held.raw = h1, raw
	if other != nil {
		c.add(ext(athens.ModFile), ProblemDamaged, fmt.Errorf("has no record, and %w", other))
		c.held.mod, c.mod = "", nil
	}
	if c.said == "" && c.problem(hashExt) == nil {
		c.add(hashExt, ProblemMissing, errors.New("is missing, and there is a zip"))
	}
	return nil
}

// hashZip returns the hash of a zip's content and the checksum of the file, or
// what is wrong with it.
func (c *versionCheck) hashZip(r *reading) (h1, raw string, bad error) {
	if err := r.none(); err != nil {
		return "", "", err
	}
	sum := crc32.New(castagnoli)
	n, err := io.CopyBuffer(sum, io.NewSectionReader(r, 0, r.size), make([]byte, 64<<10))
	if err != nil {
		return "", "", err
	}
	raw = rawSum(n, sum.Sum32())
	if c.want.raw != "" && raw != c.want.raw {
		return "", "", fmt.Errorf("size and checksum are %s, not %s", raw, c.want.raw)
	}
	if h1, err = modcheck.ZipAlone(r, r.size, c.m, modzip.MaxZipFile); err != nil {
		return "", "", err
	}
	want := c.want.zip
	if want == "" {
		want = c.said
	}
	if want != "" && h1 != want {
		return "", "", fmt.Errorf("its hash is %s, not %s", h1, want)
	}
	return h1, raw, nil
}

// small reads a small file of the version; data is nil if there is none. bad is
// what is wrong with it.
func (c *versionCheck) small(ext string, limit int64) (data []byte, bad, err error) {
	r, err := c.open(ext)
	if r == nil || err != nil {
		return nil, nil, err
	}
	defer r.close()
	data = []byte{}
	if bad = r.none(); bad == nil {
		data, bad = io.ReadAll(io.NewSectionReader(r, 0, limit+1))
	}
	if bad == nil && int64(len(data)) > limit {
		bad = fmt.Errorf("has more than %d bytes", limit)
	}
	return data, bad, r.failed()
}

// open opens a file of the version; it is nil if there is none.
func (c *versionCheck) open(ext string) (*reading, error) {
	f, err := c.fs.Open(c.base + ext)
	if isAbsent(err) {
		return nil, c.alive()
	}
	r := &reading{c: c, f: f}
	var stat fs.FileInfo
	if err == nil {
		stat, err = f.Stat()
	}
	switch {
	case errors.Is(err, syscall.EIO):
		r.err = err
	case err != nil:
		r.close()
		return nil, err
	case !stat.Mode().IsRegular():
		r.close()
		return nil, notRegular(c.base + ext)
	default:
		r.size = stat.Size()
		if r.r = unwrap(f); !isOS(r.r) {
			r.r = alone{r.r}
		}
	}
	return r, nil
}

func isOS(r io.ReaderAt) bool {
	_, ok := r.(*os.File)
	return ok
}

// reading reads a file at the pace of the run.
type reading struct {
	c    *versionCheck
	f    afero.File // nil if it could not be opened
	r    io.ReaderAt
	size int64 // in bytes
	err  error // why a read failed
}

func (r *reading) ReadAt(p []byte, off int64) (int, error) {
	if r.r == nil {
		return 0, r.err
	}
	if off < 0 { // where a bad zip leads, which is no fault of the medium
		return 0, errors.New("a part has a negative offset")
	}
	if err := r.c.pace.wait(r.c.ctx, len(p)); err != nil {
		r.err = err
		return 0, err
	}
	n, err := r.r.ReadAt(p, off)
	r.c.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// none returns why there is nothing to read.
func (r *reading) none() error {
	if r.err == nil && r.size == 0 {
		return errEmpty
	}
	return r.err
}

// failed returns why the file could not be read, if that is not the file's fault:
// what the medium has lost (EIO) is damaged.
func (r *reading) failed() error {
	if r.err == nil || errors.Is(r.err, syscall.EIO) {
		return nil
	}
	return r.err
}

func (r *reading) close() {
	if r.f != nil {
		_ = r.f.Close() // nothing was written
	}
}
