package web

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
)

// Bounds of what is read of a zip. Zips that the handler stored were checked; one that was
// in the folder before was not.
const (
	maxDirectory = 16 << 20 // bytes of the list of files
	maxEntries   = 50_000
	maxShown     = 1 << 20 // bytes of a file that is shown
	maxLines     = 20_000
)

var (
	errManyFiles = errors.New("the zip has too many files to be shown here")
	errBinary    = errors.New("the file is not text")
	errNoFile    = errors.New("there is no such file in this version")
)

// archive is an open zip of a version. The caller closes it.
type archive struct {
	m      module.Version
	object *athens.Object
	files  []*zip.File // sorted by name
	prefix string
}

// openZip opens the zip of a version; one that is not held is fs.ErrNotExist.
func (s *Site) openZip(ctx context.Context, m module.Version) (*archive, error) {
	o, err := s.storage.Open(ctx, m, athens.ZipFile)
	if err != nil {
		return nil, err
	}
	a := &archive{m: m, object: o, prefix: m.Path + "@" + m.Version + "/"}
	if err := a.read(); err != nil {
		return nil, errors.Join(err, o.Body.Close())
	}
	return a, nil
}

// read reads the list of files.
func (a *archive) read() error {
	at := modcheck.ReaderAt(a.object.Body)
	if err := checkDirectory(at, a.object.Size); err != nil {
		return err
	}
	z, err := zip.NewReader(at, a.object.Size)
	if err != nil {
		return errors.New("the zip can't be read")
	}
	for _, f := range z.File {
		if name, ok := strings.CutPrefix(f.Name, a.prefix); ok && fs.ValidPath(name) && name != "." {
			a.files = append(a.files, f)
		}
	}
	slices.SortFunc(a.files, func(x, y *zip.File) int { return strings.Compare(x.Name, y.Name) })
	return nil
}

func (a *archive) close() { _ = a.object.Body.Close() } // it was only read

// name is a file's within the module.
func (a *archive) name(f *zip.File) string { return strings.TrimPrefix(f.Name, a.prefix) }

// find returns a file.
func (a *archive) find(name string) *zip.File {
	i, ok := slices.BinarySearchFunc(a.files, a.prefix+name, func(f *zip.File, want string) int { return strings.Compare(f.Name, want) })
	if !ok {
		return nil
	}
	return a.files[i]
}

// text returns a file that is text, of at most a number of bytes whatever the zip says of
// its size.
func (a *archive) text(f *zip.File, most int64) (string, error) {
	r, err := f.Open()
	if err != nil {
		return "", errors.New("the file can't be read")
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case int64(len(data)) > most || bytes.Count(data, []byte("\n")) > maxLines:
		return "", errTooLarge
	case err != nil:
		return "", errors.New("the file is damaged")
	case bytes.IndexByte(data, 0) >= 0:
		return "", errBinary
	}
	return strings.ToValidUTF8(string(data), "\uFFFD"), nil
}

// checkDirectory refuses a zip with a list of files that would take much memory, before
// package zip makes room for as many as it claims to have.
func checkDirectory(r io.ReaderAt, size int64) error {
	const record, comment = 22, 1<<16 - 1
	tail := make([]byte, min(size, record+comment))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	i := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if i < 0 || len(tail)-i < record {
		return errors.New("the zip can't be read")
	}
	entries, bytes := binary.LittleEndian.Uint16(tail[i+10:]), binary.LittleEndian.Uint32(tail[i+12:])
	if entries > maxEntries || bytes > maxDirectory {
		return errManyFiles // or a zip of 64 bits, which says so elsewhere
	}
	return nil
}
