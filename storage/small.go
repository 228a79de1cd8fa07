package storage

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
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
// is looked at ten times a second. As [memo] does, it keeps two generations.
type smallFiles struct {
	mu         sync.Mutex
	max, size  int64 // bytes of a generation, and of the young one
	young, old map[fileKey]*smallFile
}

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

// overhead is about what keeping a file costs beside its content, in bytes.
const overhead = 500

func newSmallFiles(size int64) *smallFiles {
	return &smallFiles{max: size / 2, young: map[fileKey]*smallFile{}}
}

func (c *smallFiles) get(k fileKey) *smallFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.young[k]
	if !ok {
		if f = c.old[k]; f != nil {
			c.put(k, f)
		}
	}
	return f
}

func (c *smallFiles) add(k fileKey, f *smallFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(k, f)
}

func (c *smallFiles) put(k fileKey, f *smallFile) {
	if was := c.young[k]; was != nil {
		c.size -= was.size()
	}
	if c.size += f.size(); c.size > c.max {
		c.young, c.old, c.size = map[fileKey]*smallFile{}, c.young, f.size()
	}
	c.young[k] = f
}

func (f *smallFile) size() int64 { return int64(len(f.data)) + overhead }

// same reports whether stat is of the file that was read.
func (f *smallFile) same(stat fs.FileInfo) bool {
	return stat.Size() == f.stat.Size() && stat.ModTime().Equal(f.stat.ModTime()) && os.SameFile(stat, f.stat)
}

// object describes the file to who opens it.
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
	if s.small == nil {
		return nil
	}
	f := s.small.get(k)
	if f == nil {
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
		_, _ = obj.Body.Seek(0, io.SeekStart) // who reads it sees what is wrong
		return obj
	}
	f := &smallFile{stat: stat, etag: obj.ETag, data: data}
	s.small.add(k, f)
	_ = obj.Body.Close() // nothing was written
	return f.object()
}
