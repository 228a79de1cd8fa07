package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
)

// FolderOptions configures [ImportFolder]. A nil *FolderOptions is the zero FolderOptions.
type FolderOptions struct {
	// Workers is how many versions are verified and stored at once. Zero means 8.
	Workers int
	// VerifyOnly verifies the folder and compares it with the store, and stores nothing.
	VerifyOnly bool
	// Progress is called after each version. If it is nil, nobody learns of it.
	Progress func(Progress)
}

// ImportFolder stores the module versions in the folder of another program. It reads two layouts,
// also mixed:
//
//	example.com/!mod/@v/v1.0.0.info .mod .zip     a GOPROXY tree: a go command's cache/download,
//	                                              the cache folder of goproxy/goproxy, a copy of the
//	                                              bucket of gomods/athens in S3, GCS or Azure (where
//	                                              capitals are not escaped)
//	example.com/Mod/v1.0.0/v1.0.0.info go.mod source.zip      gomods/athens on disk or in MinIO
//
// Each version is verified by itself, as [Import] does, and compared with what is held. A bad one is
// not stored, and Summary.LeftOut says why; the rest is. In a GOPROXY tree a .ziphash is compared
// with its zip, and answers of checksum databases are stored if they are not held. A version that
// has no .info and no zip is only counted, as Summary.OnlyMod: a go command keeps the .mod alone of
// most versions, and a store needs the .info. Files named by a query, such as v1.info and v1.mod,
// are the answers that goproxy/goproxy keeps of it, and are passed over.
func ImportFolder(ctx context.Context, store athens.Storage, folder fs.FS, opts *FolderOptions) (*Summary, error) {
	f := &folderImport{importer: &importer{store: store, sum: &Summary{}}, fs: folder}
	if opts != nil {
		f.opts = ImportOptions{Workers: opts.Workers, VerifyOnly: opts.VerifyOnly, Progress: opts.Progress}
	}
	if f.opts.Workers < 0 {
		return nil, errors.New("bundle: Workers is negative")
	}
	if f.opts.Workers == 0 {
		f.opts.Workers = 8
	}
	jobs := make(chan found)
	var workers sync.WaitGroup
	for range f.opts.Workers {
		workers.Go(func() {
			for v := range jobs {
				f.version(ctx, v)
			}
		})
	}
	err := f.walk(ctx, func(v found) error {
		select {
		case jobs <- v:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(jobs)
	workers.Wait()
	return f.sum, errors.Join(err, f.full)
}

// folderImport is one ImportFolder.
type folderImport struct {
	*importer
	fs   fs.FS
	full error // why nothing more can be stored
}

// found is a version in a folder, with the names of its files.
type found struct {
	m                       module.Version
	info, mod, zip, zipHash string
}

// walk finds versions.
func (f *folderImport) walk(ctx context.Context, visit func(found) error) error {
	return fs.WalkDir(f.fs, ".", func(name string, d fs.DirEntry, err error) error {
		base := d.Name()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			f.leaveOut(module.Version{Path: name}, err)
			return nil
		case f.stopped():
			return fs.SkipAll
		case d.IsDir() && name != "." && strings.HasPrefix(base, "."), d.IsDir() && name == "cache/lock":
			return fs.SkipDir
		case d.IsDir():
			return nil
		case strings.HasPrefix(name, "sumdb/"):
			return f.answer(ctx, strings.TrimPrefix(name, "sumdb/"), name)
		case path.Base(path.Dir(name)) == "@v" && path.Ext(name) == ".mod":
			return f.inTree(name, visit)
		case base == "go.mod":
			return f.inAthens(name, visit)
		}
		return nil
	})
}

// inTree finds the version of a .mod in a GOPROXY tree.
func (f *folderImport) inTree(name string, visit func(found) error) error {
	stem := strings.TrimSuffix(name, ".mod")
	dir := path.Dir(path.Dir(name))
	v := found{info: stem + ".info", mod: name, zip: stem + ".zip", zipHash: stem + ".ziphash"}
	var err error
	// Of gomods/athens, capitals are not escaped in a bucket.
	if v.m.Path, err = module.UnescapePath(dir); err != nil {
		v.m.Path = dir
	}
	if v.m.Version, err = module.UnescapeVersion(path.Base(stem)); err != nil {
		v.m.Version = path.Base(stem)
	}
	return f.visit(v, visit)
}

// inAthens finds the version of a go.mod in the layout of gomods/athens on disk. A go.mod without
// the two other files is another one.
func (f *folderImport) inAthens(name string, visit func(found) error) error {
	dir := path.Dir(name)
	version := path.Base(dir)
	v := found{m: module.Version{Path: path.Dir(dir), Version: version}, info: path.Join(dir, version+".info"), mod: name, zip: path.Join(dir, "source.zip")}
	_, err1 := fs.Stat(f.fs, v.info)
	_, err2 := fs.Stat(f.fs, v.zip)
	if err1 != nil && err2 != nil {
		return nil
	}
	return f.visit(v, visit)
}

func (f *folderImport) visit(v found, visit func(found) error) error {
	if err := checkVersion(v.m); err != nil {
		if !f.answersQuery(v) {
			f.leaveOut(v.m, err)
		}
		return nil
	}
	return visit(v)
}

// answersQuery reports whether files that have no version's name are the answer to a query: their
// .info names a version.
func (f *folderImport) answersQuery(v found) bool {
	data, err := f.small(v.info, maxInfo)
	if err != nil {
		return false
	}
	var info athens.Info
	err = json.Unmarshal(data, &info)
	return err == nil && checkVersion(module.Version{Path: v.m.Path, Version: info.Version}) == nil
}

func (f *folderImport) leaveOut(m module.Version, err error) {
	f.note(func(s *Summary) { s.LeftOut = append(s.LeftOut, fmt.Errorf("%s: %w", m, err)) })
}

// stopped reports whether nothing more can be stored.
func (f *folderImport) stopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.full != nil
}

// version verifies and stores one version.
func (f *folderImport) version(ctx context.Context, v found) {
	if ctx.Err() != nil || f.stopped() {
		return
	}
	read, c, err := f.read(ctx, v)
	if err == nil {
		err = checkMeta(read, c)
	}
	if err == nil {
		err = f.agrees(ctx, read, c)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return
	case errors.Is(err, errOnlyMod):
		f.note(func(s *Summary) { s.OnlyMod++ })
		return
	default:
		f.leaveOut(v.m, err)
		return
	}
	f.note(func(s *Summary) {
		s.Versions++
		s.Bytes += read.info.size + read.mod.size + read.zip.size
		if read.hasZip {
			s.Zips++
		}
	})
	if !f.opts.VerifyOnly {
		err = f.keep(ctx, v, read, c)
	}
	f.progress(read)
	if err == nil || ctx.Err() != nil {
		return
	}
	f.leaveOut(v.m, err)
	if !athens.Final(err) {
		f.mu.Lock()
		f.full = err // such as a full disk
		f.mu.Unlock()
	}
}

// keep stores a version, whose large zip is read again.
func (f *folderImport) keep(ctx context.Context, v found, read *version, c *content) error {
	if read.hasZip && c.zip == nil {
		file, err := f.fs.Open(v.zip)
		if err != nil {
			return err
		}
		defer file.Close()
		c.stream = file
	}
	return f.put(ctx, read, c)
}

// read reads a version.
func (f *folderImport) read(ctx context.Context, v found) (*version, *content, error) {
	c := &content{}
	var err error
	if c.mod, err = f.small(v.mod, maxMod); err != nil {
		return nil, nil, err
	}
	if c.info, err = f.small(v.info, maxInfo); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, f.withoutInfo(v, c.mod)
	} else if err != nil {
		return nil, nil, err
	}
	read := &version{m: v.m, state: carried, info: partOf(c.info), mod: partOf(c.mod)}
	file, err := f.fs.Open(v.zip)
	if errors.Is(err, fs.ErrNotExist) {
		return read, c, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	read.hasZip, read.zip.size = true, info.Size()
	if info.Size() <= small {
		if c.zip, err = limit.ReadAll(file, small); err != nil {
			return nil, nil, err
		}
		read.zip.size = int64(len(c.zip))
	} else {
		c.stream = file
	}
	if read.h1, err = f.hash(ctx, read, c, file); err != nil {
		return nil, nil, err
	}
	c.stream = nil
	if said, err := f.small(v.zipHash, 256); v.zipHash != "" && err == nil && strings.TrimSpace(string(said)) != read.h1 {
		return nil, nil, invalid(read, fmt.Errorf("its zip has the hash %s; its .ziphash says %.100q", read.h1, said))
	}
	return read, c, nil
}

// errOnlyMod says that a folder has the .mod of a version and nothing else of it.
var errOnlyMod = errors.New("it has only a .mod")

// withoutInfo says what a version without an .info is: one of which only the .mod was wanted, or a
// bad one.
func (f *folderImport) withoutInfo(v found, mod []byte) error {
	zip, err := f.fs.Open(v.zip)
	if errors.Is(err, fs.ErrNotExist) {
		if err := checkMod(mod); err != nil {
			return &athens.InvalidError{Path: v.m.Path, Version: v.m.Version, Err: err}
		}
		return errOnlyMod
	}
	if err == nil {
		err = errors.Join(errors.New("it has no .info"), zip.Close())
	}
	return err
}

// hash returns the h1 of a zip, which is read where it is if that can be done.
func (f *folderImport) hash(ctx context.Context, v *version, c *content, file fs.File) (string, error) {
	at, ok := file.(io.ReaderAt)
	if c.zip != nil || !ok {
		return f.hashZip(ctx, v, c)
	}
	h1, err := modcheck.ZipAlone(at, v.zip.size, v.m, maxZip)
	if err != nil {
		return "", invalid(v, fmt.Errorf("its zip: %w", err))
	}
	return h1, nil
}

// small reads a small file.
func (f *folderImport) small(name string, most int64) ([]byte, error) {
	file, err := f.fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// What is in a bucket is irregular: nothing else is known of it.
	if info, err := file.Stat(); err != nil || info.Mode().Type()&^fs.ModeIrregular != 0 {
		return nil, errors.Join(err, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")})
	}
	return limit.ReadAll(file, most)
}

// answer stores an answer of a checksum database, if it is not held. It is proved before it is used.
func (f *folderImport) answer(ctx context.Context, name, file string) error {
	kept, ok := f.store.(athens.SumDBStore)
	if !ok || isHead(name) || checkSumName(name) != nil || !strings.Contains(name, "/lookup/") && !strings.Contains(name, "/tile/") {
		return nil
	}
	data, err := f.small(file, maxSum)
	if err != nil || len(data) == 0 {
		return nil //nolint:nilerr // a lookup asks the database then
	}
	f.sums.tiles.store = kept
	f.note(func(s *Summary) { s.SumDB++ })
	if stored, err := f.getAnswer(ctx, name); err != nil || stored != nil || f.opts.VerifyOnly {
		return err
	}
	return f.storeAnswer(ctx, name, data)
}
