package blob_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"

	"github.com/athens-go/athens/backends/blob"
)

// fakeService keeps objects in memory, and honors conditions as long as it wants to.
type fakeService struct {
	mu            sync.Mutex
	objects       map[string][]byte
	metadata      map[string]map[string]string
	caching       map[string]string
	unconditional bool
	gate          func(call string) // is called before each of "PUT key", "GET key", "HEAD key", "DELETE key" and "LIST prefix", if it is set
}

func newFakeService() *fakeService {
	return &fakeService{objects: map[string][]byte{}, metadata: map[string]map[string]string{}, caching: map[string]string{}}
}

// store opens the bucket as another process.
func (s *fakeService) store(t testing.TB) (*blob.Store, *fakeBucket) {
	t.Helper()
	return s.storeWith(t, &blob.Options{Unprobed: true})
}

func (s *fakeService) storeWith(t testing.TB, opts *blob.Options) (*blob.Store, *fakeBucket) {
	t.Helper()
	b := &fakeBucket{s: s, left: -1}
	bucket := gocloud.NewBucket(b)
	store, err := blob.New(t.Context(), bucket, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = bucket.Close() })
	return store, b
}

// set makes the service honor conditions, or not.
func (s *fakeService) set(unconditional bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unconditional = unconditional
}

// copied returns a service that has the same objects.
func (s *fakeService) copied() *fakeService {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newFakeService()
	maps.Copy(c.objects, s.objects)
	maps.Copy(c.metadata, s.metadata)
	return c
}

// keys returns the names of the objects that begin so.
func (s *fakeService) keys(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(key, prefix) {
			all = append(all, key)
		}
	}
	return all
}

// change lets a test change objects.
func (s *fakeService) change(do func(objects map[string][]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s.objects)
}

// fakeBucket is what one process sees of the service.
type fakeBucket struct {
	s    *fakeService
	left int  // requests before the process dies, negative if it does not
	late bool // the last one has an effect
	dead bool
}

var (
	errDead   = errors.New("the process is dead")
	errNone   = errors.New("no such object")
	errExists = errors.New("it exists")
)

// call is one request.
func (b *fakeBucket) call(name string, do func() error) error {
	if b.s.gate != nil {
		b.s.gate(name)
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.dead {
		return errDead
	}
	if b.left == 0 {
		b.dead = true
		if b.late {
			_ = do()
		}
		return errDead
	}
	b.left--
	return do()
}

// dieAt makes the process die at its nth request from now on, before that has an effect or
// after.
func (b *fakeBucket) dieAt(nth int, late bool) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.left, b.late = nth, late
}

func (b *fakeBucket) died() bool {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.dead
}

func (*fakeBucket) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errNone):
		return gcerrors.NotFound
	case errors.Is(err, errExists):
		return gcerrors.FailedPrecondition
	}
	return gcerrors.Unknown
}

func (b *fakeBucket) Attributes(_ context.Context, key string) (a *driver.Attributes, err error) {
	err = b.call("HEAD "+key, func() error {
		data, ok := b.s.objects[key]
		if !ok {
			return errNone
		}
		a = &driver.Attributes{Size: int64(len(data)), Metadata: b.s.metadata[key], ModTime: time.Unix(0, 0)}
		return nil
	})
	return a, err
}

func (b *fakeBucket) ListPaged(_ context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	page := &driver.ListPage{}
	err := b.call("LIST "+opts.Prefix, func() error {
		for _, key := range slices.Sorted(maps.Keys(b.s.objects)) {
			if strings.HasPrefix(key, opts.Prefix) && len(page.Objects) < opts.PageSize {
				page.Objects = append(page.Objects, &driver.ListObject{Key: key, Size: int64(len(b.s.objects[key])), ModTime: time.Unix(0, 0)})
			}
		}
		return nil
	})
	return page, err
}

func (b *fakeBucket) NewRangeReader(_ context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	var data []byte
	err := b.call("GET "+key, func() error {
		found, ok := b.s.objects[key]
		if data = slices.Clone(found); !ok {
			return errNone
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	part := data[min(offset, int64(len(data))):]
	if length >= 0 {
		part = part[:min(length, int64(len(part)))]
	}
	return &fakeReader{bytes.NewReader(part), int64(len(data))}, nil
}

type fakeReader struct {
	io.Reader
	size int64
}

func (r *fakeReader) Close() error { return nil }
func (r *fakeReader) As(any) bool  { return false }
func (r *fakeReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.size, ModTime: time.Unix(0, 0)}
}

func (b *fakeBucket) NewTypedWriter(_ context.Context, key, _ string, opts *driver.WriterOptions) (driver.Writer, error) {
	return &fakeWriter{b: b, key: key, opts: opts}, nil
}

type fakeWriter struct {
	bytes.Buffer
	b    *fakeBucket
	key  string
	opts *driver.WriterOptions
}

func (w *fakeWriter) Close() error {
	return w.b.call("PUT "+w.key, func() error {
		if sum := md5.Sum(w.Bytes()); len(w.opts.ContentMD5) > 0 && !bytes.Equal(sum[:], w.opts.ContentMD5) {
			return errors.New("other bytes than were announced")
		}
		s := w.b.s
		if _, there := s.objects[w.key]; there && w.opts.IfNotExist && !s.unconditional {
			return errExists
		}
		s.objects[w.key], s.caching[w.key], s.metadata[w.key] = slices.Clone(w.Bytes()), w.opts.CacheControl, w.opts.Metadata
		return nil
	})
}

func (*fakeBucket) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errors.ErrUnsupported
}
func (b *fakeBucket) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	return b.call("DELETE "+key, func() error {
		if _, ok := b.s.objects[key]; !ok {
			return errNone
		}
		delete(b.s.objects, key)
		return nil
	})
}
func (*fakeBucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errors.ErrUnsupported
}
func (*fakeBucket) As(any) bool             { return false }
func (*fakeBucket) ErrorAs(error, any) bool { return false }
func (*fakeBucket) Close() error            { return nil }
