package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/athens-go/athens"
	"github.com/spf13/afero"
	"golang.org/x/mod/module"
)

// maxInfo bounds an .info in bytes.
const maxInfo = 1 << 20

// Open opens one file of a version. On a real folder the body is an *os.File,
// and a version that was opened before costs one open and one fstat.
func (s *Store) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ext(f) == "" {
		return nil, fault("open", m, errors.New("unknown kind of file"))
	}
	k, ok := s.known.Get(m)
	if !ok {
		var err error
		if k, err = s.find(m, f); err != nil {
			return nil, err
		}
	}
	obj, err := s.open(m, k, f)
	if err == nil && !ok {
		s.known.add(m, known{base: k.base})
	}
	return obj, err
}

// find looks whether m is held.
func (s *Store) find(m module.Version, f athens.File) (k known, err error) {
	if k.base, err = s.base(m); err != nil {
		return k, fault("open", m, err)
	}
	if err := s.removal(m, k.base); err != nil {
		return k, s.refused("open", m, err)
	}
	if f == athens.ModFile {
		return k, nil // opening it is looking
	}
	held, err := s.exists(k.base + ext(athens.ModFile))
	if err != nil {
		return k, fault("open", m, err)
	}
	if !held {
		return k, absent(m, f)
	}
	return k, nil
}

func (s *Store) open(m module.Version, k known, f athens.File) (*athens.Object, error) {
	name := k.base + ext(f)
	if obj := s.opened(fileKey{m, f}, name); obj != nil {
		return obj, nil
	}
	file, err := s.fs.Open(name)
	if isAbsent(err) {
		if err := s.alive(); err != nil {
			return nil, fault("open", m, err)
		}
		if err := s.removal(m, k.base); err != nil { // since it was remembered
			return nil, s.refused("open", m, err)
		}
		return nil, absent(m, f)
	}
	if err != nil {
		return nil, fault("open", m, err)
	}
	obj, err := s.object(m, k, f, unwrap(file))
	if err != nil {
		file.Close()
		return nil, err
	}
	return obj, nil
}

// object describes an open file, once it is seen to be what it is named.
func (s *Store) object(m module.Version, k known, f athens.File, file afero.File) (*athens.Object, error) {
	stat, err := file.Stat()
	if err != nil {
		return nil, fault("open", m, err)
	}
	if !stat.Mode().IsRegular() {
		return nil, fault("open", m, notRegular(file.Name()))
	}
	size := stat.Size()
	switch {
	case size == 0:
		return nil, absent(m, f)
	case f == athens.InfoFile && !k.info:
		info, err := parseInfo(m, file)
		if err == nil && info != nil {
			_, err = file.Seek(0, io.SeekStart)
		}
		if err != nil {
			return nil, fault("open", m, err)
		}
		if info == nil {
			return nil, absent(m, f)
		}
		s.known.add(m, known{base: k.base, info: true})
	case f == athens.ZipFile && !k.zip:
		if err := s.cut(m, k.base, size); err != nil {
			return nil, fault("open", m, err)
		}
		s.known.add(m, known{base: k.base, zip: true})
	}
	obj := &athens.Object{Body: file, Size: size, ModTime: stat.ModTime(), ETag: etag(stat.ModTime(), size)}
	return s.keep(fileKey{m, f}, stat, obj), nil
}

// cut returns an error if the zip that is held has not the size that is recorded.
// That is looked at once; the rest of a zip is for Verify.
func (s *Store) cut(m module.Version, base string, size int64) error {
	rec, err := s.readRecord(m, base)
	was, _, _ := strings.Cut(rec.raw, " ")
	if err != nil || was == "" || was == strconv.FormatInt(size, 10) {
		return nil
	}
	return fmt.Errorf("%w: the stored zip has %d bytes, not %s", syscall.EIO, size, was)
}

// etag makes a strong entity tag: a file under a name never changes, but a
// folder may have been deleted and filled again.
func etag(t time.Time, size int64) string {
	b := append(make([]byte, 0, 32), '"')
	b = strconv.AppendInt(b, t.UnixNano(), 36)
	b = append(b, '-')
	b = strconv.AppendInt(b, size, 36)
	return string(append(b, '"'))
}

// parseInfo reads an .info of m. What is none (it does not parse, names another
// version, or is too large) is nil without an error.
func parseInfo(m module.Version, r io.Reader) (*athens.Info, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err != nil {
		return nil, err
	}
	var info athens.Info
	if len(data) > maxInfo || json.Unmarshal(data, &info) != nil || info.Version != m.Version {
		return nil, nil
	}
	return &info, nil
}

// isInfo reports whether data is an .info of m.
func isInfo(m module.Version, data []byte) bool {
	info, err := parseInfo(m, bytes.NewReader(data))
	return info != nil && err == nil
}

// readInfo returns the held .info of m, or nil if there is none.
func (s *Store) readInfo(m module.Version, base string) (*athens.Info, error) {
	f, err := s.fs.Open(base + ext(athens.InfoFile))
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if stat, err := f.Stat(); err != nil {
		return nil, err
	} else if stat.Mode()&fs.ModeType != 0 {
		return nil, notRegular(f.Name())
	}
	return parseInfo(m, f)
}
