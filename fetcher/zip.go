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

	"github.com/athens-go/athens/fetcher/internal/gitattr"
)

// zip writes a module's zip. The choice of files and the limits are x/mod/zip's,
// which the go command uses too; the bytes of each are what git would check out.
func (s *source) zip(ctx context.Context, w io.Writer, m module.Version, t *tree) error {
	o, err := s.repo.open()
	if err != nil {
		return err
	}
	defer o.close()
	a := &archive{ctx: ctx, objects: o, attributes: gitattr.New()}
	if err := a.add(t.rev.tree, t.dir); err != nil {
		return err
	}
	if t.dir != "" && !a.hasLicense {
		// A module below the root inherits the root's license, as it is stored.
		data, err := o.file(t.rev.tree, "LICENSE", modzip.MaxLICENSE)
		if err == nil {
			a.files = append(a.files, &zipFile{name: "LICENSE", size: int64(len(data)), data: data})
		} else if !errors.Is(err, errNoFile) {
			return err
		}
	}
	out := &errorWriter{ctx: ctx, w: w}
	err = modzip.Create(out, m, a.files)
	switch {
	case err == nil, out.err != nil:
		return out.err
	case a.err != nil:
		return a.err
	}
	return broken{err}
}

// An errorWriter tells the receiver's errors from the module's.
type errorWriter struct {
	ctx  context.Context
	w    io.Writer
	err  error
	used bool
}

func (e *errorWriter) Write(p []byte) (int, error) {
	e.used = true
	if e.err == nil && e.ctx.Err() != nil {
		e.err = context.Cause(e.ctx)
	}
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(p)
	e.err = err
	return n, err
}

// An archive collects the files of a folder of a commit.
type archive struct {
	ctx        context.Context
	objects    *objects
	attributes *gitattr.Attributes
	files      []modzip.File
	hasLicense bool
	err        error // of reading the repository
}

// add collects the files of the folder dir. The attributes of the folders
// above it count too.
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
		entries, err := a.objects.tree(above.hash)
		if err != nil {
			return err
		}
		if err := a.readAttributes(at, entries); err != nil {
			return err
		}
	}
	return a.addTree(top.hash, dir, "")
}

// maxDepth bounds folders in folders, as git does; maxFiles the files of a zip,
// and its folders; maxNames the paths of all of them together, in bytes.
const (
	maxDepth = 2048
	maxFiles = 1_000_000
	maxNames = 256 << 20
)

// addTree collects the files of one folder: at is its path in the repository,
// rel its path in the module.
func (a *archive) addTree(hash, at, rel string) error {
	type folder struct {
		hash, at, rel string
		depth         int
	}
	todo := []folder{{hash, at, rel, 0}}
	folders, names := 0, 0
	for len(todo) > 0 {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if folders++; f.depth > maxDepth || max(folders, len(a.files)) > maxFiles || names > maxNames {
			return brokenf("too many files, too deep folders, or too long names")
		}
		entries, err := a.objects.tree(f.hash)
		if err != nil {
			return err
		}
		if err := a.readAttributes(f.at, entries); err != nil {
			return err
		}
		for _, e := range entries {
			at, rel := under(f.at, e.name), under(f.rel, e.name)
			names += len(rel)
			switch {
			case e.isForbidden():
				return brokenf("git does not check out %q", at)
			case e.isSubmodule():
			case e.isTree() && rel == "go.mod":
				return brokenf("go.mod is a folder")
			case e.isTree():
				todo = append(todo, folder{e.hash, at, rel, f.depth + 1})
			default:
				f := a.file(e, at, rel)
				if f.conversion.Refused {
					// This holds for what the module leaves out, too.
					return brokenf("%s: an encoding is needed, not just that there is one", rel)
				}
				a.hasLicense = a.hasLicense || rel == "LICENSE"
				a.files = append(a.files, f)
			}
		}
	}
	return nil
}

// under joins a folder and a name without cleaning: a name such as ".." has to
// be refused, not followed.
func under(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

// readAttributes takes over the .gitattributes of a folder, if it has one.
func (a *archive) readAttributes(at string, entries []entry) error {
	for _, e := range entries {
		if e.name != gitattr.File || e.isTree() || e.isSubmodule() {
			continue
		}
		rd, size, err := a.objects.blob(e.hash)
		if err != nil {
			return err
		}
		defer rd.Close()
		if size >= gitattr.MaxFileBytes {
			return nil
		}
		data, err := io.ReadAll(rd)
		if err != nil {
			return err
		}
		a.attributes.Add(at, string(data))
	}
	return nil
}

// file makes the zip's entry of one file.
func (a *archive) file(e entry, at, rel string) *zipFile {
	f := &zipFile{archive: a, name: rel, hash: e.hash}
	if e.isSymlink() {
		f.mode = fs.ModeSymlink
		return f
	}
	f.conversion = a.attributes.Conversion(at)
	return f
}

// zipFile is one file on its way into the zip. It opens its blob only when its
// turn comes.
type zipFile struct {
	archive    *archive
	name       string
	hash       string
	mode       fs.FileMode
	conversion gitattr.Conversion
	size       int64 // once known is true, or where there is data
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

// measure finds out the size, for which a file that is converted has to be
// read once.
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
	f.size, err = io.Copy(io.Discard, rd)
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
	rd, _, err := f.archive.objects.blob(f.hash)
	if err != nil || f.conversion.None() {
		return rd, err
	}
	defer rd.Close()
	data, err := io.ReadAll(rd)
	if err != nil {
		return nil, err
	}
	data, err = f.conversion.Apply(data, f.hash)
	if err != nil {
		return nil, brokenf("%s: %w", f.name, err)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

type fileInfo struct{ f *zipFile }

func (i fileInfo) Name() string       { return path.Base(i.f.name) }
func (i fileInfo) Size() int64        { return i.f.size }
func (i fileInfo) Mode() fs.FileMode  { return i.f.mode | 0o644 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }
