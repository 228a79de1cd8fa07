package fetcher

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/fetcher/internal/gitattr"
)

// zip writes a module's zip. x/mod/zip, which the go command uses too, selects the
// files and enforces the limits. Each file has the bytes that git would check out.
func (s *codeRepo) zip(ctx context.Context, w io.Writer, m module.Version, t *moduleRoot) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.repo.f.opts.FetchTimeout, errArchiveTime)
	defer cancel()
	o, err := s.repo.open(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	a := &archive{objects: o, attributes: gitattr.New(o.job)}
	if err := a.add(t.rev.tree, t.dir); err != nil {
		return err
	}
	if t.dir != "" && !a.hasLicense {
		// A module below the root inherits the root's license, as it is stored in git.
		data, err := o.file(ctx, t.rev.tree, "LICENSE", modzip.MaxLICENSE)
		if err == nil {
			a.files = append(a.files, &zipFile{name: "LICENSE", size: int64(len(data)), data: data})
		} else if !errors.Is(err, errNoFile) {
			return err
		}
	}
	out := &errorWriter{ctx: ctx, w: w, job: o.job}
	err = modzip.Create(out, m, a.files)
	switch {
	case err == nil, out.err != nil:
		return out.err
	case a.err != nil:
		return a.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return invalid{err}
}

var errArchiveTime = errors.New("making the zip took longer than Options.FetchTimeout allows")

// An errorWriter distinguishes errors of the receiver from errors of the module.
type errorWriter struct {
	ctx context.Context
	w   io.Writer
	job *budget.Job
	err error
}

func (e *errorWriter) Write(p []byte) (int, error) {
	if e.err == nil && e.ctx.Err() != nil {
		e.err = context.Cause(e.ctx)
	}
	if e.err != nil {
		return 0, e.err
	}
	e.job.Pause() // the receiver may be slow
	n, err := e.w.Write(p)
	e.err = err
	return n, err
}

// An archive collects the files of a folder of a commit.
type archive struct {
	objects    *objects
	attributes *gitattr.Attributes
	files      []modzip.File
	hasLicense bool
	err        error // from reading the repository
}

// add collects the files of the folder dir. The attributes of its parent
// folders apply too.
func (a *archive) add(root, dir string) error {
	top, err := a.objects.find(root, dir)
	if err != nil {
		return err
	}
	for at := dir; at != "" && at != "."; {
		at = path.Dir(at)
		if at == "." {
			at = ""
		}
		above, err := a.objects.find(root, at)
		if err != nil {
			return err
		}
		if err := a.readAttributes(at, above.hash); err != nil {
			return err
		}
	}
	return a.addTree(top.hash, dir, "")
}

// maxDepth bounds the nesting of folders, as git does.
const maxDepth = 2048

// The memory charged to a job for each file of a zip and for each folder that is still
// to be read, beside their paths. x/mod/zip and archive/zip keep several copies.
const (
	zipFileBytes = 800
	zipNameTimes = 4
	folderBytes  = 200
)

// A folder is still to be read. at is its path in the repository,
// rel its path in the module.
type folder struct {
	hash, at, rel string
	depth         int
}

func (f *folder) bytes() int64 { return folderBytes + int64(len(f.at)+len(f.rel)) }

// addTree collects the files of a folder and of those below it.
func (a *archive) addTree(hash, at, rel string) error {
	todo := []folder{{hash, at, rel, 0}}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if f.depth > maxDepth {
			return invalidf("its folders are nested more than %d deep, git's own limit", maxDepth)
		}
		if err := a.readAttributes(f.at, f.hash); err != nil {
			return err
		}
		err := a.objects.tree(f.hash, func(e entry) (bool, error) {
			below, err := a.addEntry(&f, e)
			if below != nil {
				todo = append(todo, *below)
			}
			return true, err
		})
		if err != nil {
			return fromBudget(err)
		}
		if f.depth > 0 {
			a.objects.job.Shrink(f.bytes())
		}
	}
	return nil
}

// addEntry collects a file, or returns a folder to be read.
func (a *archive) addEntry(f *folder, e entry) (*folder, error) {
	at, rel := under(f.at, e.name), under(f.rel, e.name)
	switch {
	case e.isForbidden():
		return nil, invalidf("git refuses to check out %q", printable(at))
	case e.isSubmodule():
		return nil, nil
	case e.isTree() && rel == "go.mod":
		return nil, invalidf("go.mod is a folder, not a file")
	case e.isTree():
		below := &folder{e.hash, at, rel, f.depth + 1}
		return below, a.objects.job.Grow(below.bytes())
	}
	if err := a.objects.job.Grow(zipFileBytes + zipNameTimes*int64(len(rel))); err != nil {
		return nil, err
	}
	file, err := a.file(e, at, rel)
	if err != nil {
		return nil, err
	}
	if file.conversion.Refused {
		// This applies to files that the zip leaves out, too.
		return nil, invalidf("%s: the attribute working-tree-encoding needs a value", printable(rel))
	}
	a.hasLicense = a.hasLicense || rel == "LICENSE"
	a.files = append(a.files, file)
	return nil, nil
}

// under joins a folder and a name without cleaning, so that a name such as ".." is
// refused rather than followed.
func under(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

// readAttributes reads the .gitattributes of a folder, if it has one.
func (a *archive) readAttributes(at, tree string) error {
	var found *entry
	err := a.objects.tree(tree, func(e entry) (bool, error) {
		if e.name == gitattr.File && !e.isTree() && !e.isSubmodule() {
			found = &e
		}
		return found == nil, nil
	})
	if found == nil || err != nil {
		return err
	}
	size, err := a.objects.blobSize(found.hash)
	if err != nil || size >= gitattr.MaxFileBytes {
		return err
	}
	err = a.attributes.Add(at, found.hash, func() (io.ReadCloser, error) {
		rd, _, err := a.objects.blob(found.hash)
		return rd, err
	})
	return fromBudget(err)
}

// file makes the zip's entry of one file.
func (a *archive) file(e entry, at, rel string) (f *zipFile, err error) {
	f = &zipFile{archive: a, name: rel, hash: e.hash}
	if e.isSymlink() {
		f.mode = fs.ModeSymlink
		return f, nil
	}
	f.conversion, err = a.attributes.Conversion(at)
	return f, err
}

// zipFile is one file to be added to the zip. It opens its blob only when it is
// written.
type zipFile struct {
	archive    *archive
	name       string
	hash       string
	mode       fs.FileMode
	conversion gitattr.Conversion
	size       int64 // valid if known is true or data is set
	known      bool
	data       []byte // instead of a blob
}

// Path implements [modzip.File].
func (f *zipFile) Path() string { return f.name }

// Lstat implements [modzip.File].
func (f *zipFile) Lstat() (fs.FileInfo, error) {
	if f.data == nil && !f.known && f.mode.IsRegular() {
		if err := f.measure(); err != nil {
			f.archive.fail(err)
			return nil, err
		}
	}
	return fileInfo{f}, nil
}

// measure determines the size. A file that is converted must be read
// once for that.
func (f *zipFile) measure() error {
	size, err := f.archive.objects.blobSize(f.hash)
	if err != nil {
		return err
	}
	f.size, f.known = size, true
	if f.conversion.None() || size > modzip.MaxZipFile {
		return nil
	}
	rd, err := f.open()
	if err != nil {
		return err
	}
	defer rd.Close()
	f.size, err = io.Copy(io.Discard, io.LimitReader(rd, modzip.MaxZipFile+1))
	return err
}

// Open implements [modzip.File].
func (f *zipFile) Open() (io.ReadCloser, error) {
	rd, err := f.open()
	if err != nil {
		f.archive.fail(err)
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{readFunc(func(p []byte) (int, error) {
		n, err := rd.Read(p)
		if err != nil && err != io.EOF {
			f.archive.fail(err)
		}
		return n, err
	}), rd}, nil
}

func (f *zipFile) open() (io.ReadCloser, error) {
	if f.data != nil {
		return io.NopCloser(bytes.NewReader(f.data)), nil
	}
	open := func() (io.ReadCloser, error) {
		rd, _, err := f.archive.objects.blob(f.hash)
		return rd, err
	}
	if f.conversion.None() {
		return open()
	}
	rd, err := f.conversion.Open(f.archive.objects.job, open, f.hash)
	if errors.As(err, new(*gitattr.Error)) {
		return nil, invalidf("%s: %w", printable(f.name), err)
	}
	return rd, err
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err = fromBudget(err)
	}
}

type fileInfo struct{ f *zipFile }

func (i fileInfo) Name() string       { return path.Base(i.f.name) }
func (i fileInfo) Size() int64        { return i.f.size }
func (i fileInfo) Mode() fs.FileMode  { return i.f.mode | 0o644 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }
