package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/athens-go/athens"
	"gocloud.dev/blob"
	"golang.org/x/mod/module"
)

// Open opens one file of a version. The .info and the .mod come with one request and
// stay in memory for a while. Of a zip, Open asks for the size, which is remembered,
// too; its content is requested by the first Read, from where that begins.
func (s *Store) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch f {
	case athens.InfoFile, athens.ModFile:
		d, err := s.meta(ctx, m)
		if err != nil {
			return nil, fault(ctx, "open", m, err)
		}
		if d == nil {
			return nil, absent(m, f)
		}
		content := d.file(f)
		body := new(inMemory)
		body.Reset(content)
		return &athens.Object{Body: body, Size: int64(len(content)), ETag: etag(content)}, nil
	case athens.ZipFile:
		return s.openZip(ctx, m)
	}
	return nil, fault(ctx, "open", m, errors.New("unknown kind of file"))
}

// inMemory is the content of a small file.
type inMemory struct{ bytes.Reader }

func (*inMemory) Close() error { return nil }

// meta returns the .info and .mod of m, or nil if m is not held. What was removed is an
// error.
func (s *Store) meta(ctx context.Context, m module.Version) (*meta, error) {
	d, _, err := s.metaOrEmpty(ctx, m)
	return d, err
}

// metaOrEmpty is meta, and reports whether an empty object is in the place of a version that
// was removed once.
func (s *Store) metaOrEmpty(ctx context.Context, m module.Version) (d *meta, empty bool, err error) {
	if d := s.seen.get(m).meta; d != nil {
		return d, false, nil
	}
	key, err := metaKey(m)
	if err != nil {
		return nil, false, err
	}
	since := s.seen.epoch.Load()
	object, held, err := find(ctx, s, key, func(ctx context.Context) ([]byte, error) { return s.readSmall(ctx, key) })
	switch {
	case !held || err != nil:
		return nil, false, err
	case len(object) == 0:
		return nil, true, s.buried(ctx, m)
	}
	if d, err = parseMeta(m, object); err == nil {
		s.seen.addMeta(m, d, since)
	}
	return d, false, err
}

// readSmall reads an object with an .info and a .mod.
func (s *Store) readSmall(ctx context.Context, key string) ([]byte, error) {
	return s.readWhole(ctx, key, maxLine+1+s.opts.MaxModBytes)
}

// readWhole reads an object of at most limit bytes.
func (s *Store) readWhole(ctx context.Context, key string, limit int64) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, fmt.Errorf("the object has %d bytes, more than %d", r.Size(), limit)
	}
	object := make([]byte, r.Size())
	if _, err := io.ReadFull(r, object); err != nil {
		return nil, err
	}
	return object, nil
}

// zipObject is what is known of a zip without reading it.
type zipObject struct {
	size    int64
	modTime time.Time
	etag    string
	h1      string // empty if the object lacks it
}

// zip returns what is known of the zip of m, or nil if it is not held. What was removed is
// an error.
func (s *Store) zip(ctx context.Context, m module.Version, key string) (*zipObject, error) {
	z, _, err := s.zipOrEmpty(ctx, m, key)
	return z, err
}

// zipOrEmpty is zip, and reports whether an empty object is in the place of a zip that was
// removed once.
func (s *Store) zipOrEmpty(ctx context.Context, m module.Version, key string) (z *zipObject, empty bool, err error) {
	since := s.seen.epoch.Load()
	z, held, err := find(ctx, s, key, s.head(key))
	if !held || err != nil {
		return nil, false, err
	}
	if z.size == 0 {
		return nil, true, s.buried(ctx, m)
	}
	s.seen.addZip(m, z, since)
	return z, false, nil
}

// head asks for what is known of a zip. One without a byte is in the place of a zip that was
// removed once.
func (s *Store) head(key string) func(context.Context) (*zipObject, error) {
	return func(ctx context.Context) (*zipObject, error) {
		a, err := s.bucket.Attributes(ctx, key)
		if err != nil {
			return nil, err
		}
		z := &zipObject{size: a.Size, modTime: a.ModTime, h1: a.Metadata[h1Name]}
		// A weak tag, or none, leaves it to the handler to make one.
		if len(a.ETag) > 2 && a.ETag[0] == '"' && strings.IndexByte(a.ETag[1:], '"') == len(a.ETag)-2 {
			z.etag = a.ETag
		}
		return z, nil
	}
}

func (s *Store) openZip(ctx context.Context, m module.Version) (*athens.Object, error) {
	key, err := zipKey(m)
	if err != nil {
		return nil, fault(ctx, "open", m, err)
	}
	z := s.seen.get(m).zip
	if z == nil {
		if z, err = s.zip(ctx, m, key); err != nil {
			return nil, fault(ctx, "open", m, err)
		}
	}
	if z == nil {
		return nil, absent(m, athens.ZipFile)
	}
	body := &zipBody{s: s, m: m, ctx: ctx, key: key, size: z.size}
	return &athens.Object{Body: body, Size: z.size, ModTime: z.modTime, ETag: z.etag}, nil
}

// zipBody reads a zip from where it is read. One goroutine uses it.
type zipBody struct {
	s      *Store
	m      module.Version
	ctx    context.Context
	key    string
	size   int64
	at     int64
	closed bool

	r    *blob.Reader // reads on from at; nil: nothing was requested yet
	stop context.CancelCauseFunc
}

// Seek asks nothing of the service.
func (b *zipBody) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, errors.New("blob: seek before the beginning")
	}
	if offset != b.at {
		if err := b.drop(); err != nil {
			return 0, err
		}
		b.at = offset
	}
	return offset, nil
}

func (b *zipBody) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, os.ErrClosed
	case b.at >= b.size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	var ctx context.Context
	if b.r == nil {
		ctx, b.stop = context.WithCancelCause(b.ctx)
	}
	stop := b.stop
	stalled := time.AfterFunc(b.s.opts.Timeout, func() { stop(errSlow) })
	defer stalled.Stop()
	if b.r == nil {
		if err := b.request(ctx); err != nil {
			b.stop(err)
			return 0, b.failed(err)
		}
	}
	n, err := b.r.Read(p)
	b.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if b.at < b.size {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return n, b.failed(err)
	}
	return n, nil
}

// request begins to read at the present offset.
func (b *zipBody) request(ctx context.Context) error {
	r, err := unpanicked(ctx, func(ctx context.Context) (*blob.Reader, error) {
		return b.s.bucket.NewRangeReader(ctx, b.key, b.at, -1, nil)
	})
	if err != nil {
		return err
	}
	if r.Size() != b.size {
		_ = r.Close()
		return fmt.Errorf("the object had %d bytes and has %d now", b.size, r.Size())
	}
	b.r = r
	return nil
}

// failed forgets what the store remembers of the zip, so that the next Open asks the service.
func (b *zipBody) failed(err error) error {
	b.s.seen.dropZip(b.m)
	return fault(b.ctx, "read", b.m, err)
}

// drop ends the request.
func (b *zipBody) drop() error {
	if b.r == nil {
		return nil
	}
	b.stop(nil) // the rest is not wanted, and must not be read to close it
	err := b.r.Close()
	b.r = nil
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

func (b *zipBody) Close() error {
	b.closed = true
	return b.drop()
}
