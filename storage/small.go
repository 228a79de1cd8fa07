package storage

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// maxSmall is the size in bytes up to which a file is kept in memory. Nearly
// every .info and .mod is below.
const maxSmall = 16 << 10

// settled is how old a file must be to be kept: one that changes again within a
// tick of the file system's clock looks as if it had not.
const settled = 2 * time.Second

// recheck is for how long a file that was seen under its name is taken to be there
// still. A path of ten elements takes a sixth of a warm answer to look up.
const recheck = 100 * time.Millisecond

// smallFiles keeps the content of small files, because opening, describing,
// reading and closing one costs more than all the rest of an answer. One stat sees
// that a file is still the one that was read; one that is asked for again and again
// is looked at ten times a second. A nil one keeps nothing.
type smallFiles = cache.Cache[fileKey, *smallFile]

type fileKey struct {
	module.Version
	athens.File
}

// smallFile is a file that was read.
type smallFile struct {
	stat fs.FileInfo
	etag string
	data []byte
	seen atomic.Int64 // when its name was last seen to lead to it, in Unix nanoseconds
}

// fileOverhead is about what a smallFile and its description cost beside the
// content and the names, in bytes.
const fileOverhead = 400

func newSmallFiles(maxBytes int64) *smallFiles {
	return cache.New(maxBytes, func(k fileKey, f *smallFile) int64 {
		return int64(len(k.Path)+len(k.Version.Version)+len(f.etag)+len(f.stat.Name())+cap(f.data)) + fileOverhead
	})
}

// same reports whether stat is of the file that was read.
func (f *smallFile) same(stat fs.FileInfo) bool {
	return stat.Size() == f.stat.Size() && stat.ModTime().Equal(f.stat.ModTime()) && os.SameFile(stat, f.stat)
}

// object returns the file as Open returns it.
func (f *smallFile) object() *athens.Object {
	b := new(inMemory)
	b.Reset(f.data)
	return &athens.Object{Body: b, Size: int64(len(f.data)), ModTime: f.stat.ModTime(), ETag: f.etag}
}

// inMemory is the content of a small file.
type inMemory struct{ bytes.Reader }

func (*inMemory) Close() error { return nil }

// opened returns the file from memory, if it is still the one that was read.
func (s *Store) opened(k fileKey, name string) *athens.Object {
	f, ok := s.small.Get(k)
	if !ok {
		return nil
	}
	now := time.Now().UnixNano()
	if age := now - f.seen.Load(); age < 0 || age > int64(recheck) {
		if stat, err := s.fs.Stat(name); err != nil || !f.same(stat) {
			return nil
		}
		f.seen.Store(now)
	}
	return f.object()
}

// keep reads a small file into memory, so that it need not be opened again.
func (s *Store) keep(k fileKey, stat fs.FileInfo, obj *athens.Object) *athens.Object {
	if s.small == nil || k.File == athens.ZipFile || obj.Size > maxSmall || time.Since(obj.ModTime) < settled {
		return obj
	}
	data := make([]byte, obj.Size)
	if _, err := io.ReadFull(obj.Body, data); err != nil {
		_, _ = obj.Body.Seek(0, io.SeekStart) // a reader will see the error
		return obj
	}
	f := &smallFile{stat: stat, etag: obj.ETag, data: data}
	s.small.Put(k, f)
	_ = obj.Body.Close() // nothing was written
	return f.object()
}
