package fetchertest_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/fetchertest"
)

// toySource is what all toys ask: it counts, and can be held.
type toySource struct {
	mu    sync.Mutex
	asked int
	held  chan struct{}
}

func (s *toySource) ask(ctx context.Context) error {
	s.mu.Lock()
	s.asked++
	held := s.held
	s.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

func (s *toySource) hold() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = nil
		close(held)
	}
}

func (s *toySource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// toy is a Fetcher that keeps all promises, over a fixed set of modules.
type toy struct {
	source  *toySource
	modules []fetchertest.Module
	zips    map[string][]byte // by path@version
	down    bool

	mu     sync.Mutex
	flight map[string]*toyFlight
}

type toyFlight struct {
	done chan struct{}
	err  error
}

// share asks the source once for all who want the same at once.
func (f *toy) share(ctx context.Context, key string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.mu.Lock()
	fl := f.flight[key]
	if fl == nil {
		fl = &toyFlight{done: make(chan struct{})}
		f.flight[key] = fl
		go func() {
			fl.err = f.source.ask(context.Background())
			f.mu.Lock()
			delete(f.flight, key)
			f.mu.Unlock()
			close(fl.done)
		}()
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if f.down {
		return &athens.UnavailableError{Source: "the toy", Err: errors.New("down")}
	}
	return fl.err
}

func (f *toy) find(path string) (fetchertest.Module, error) {
	for _, m := range f.modules {
		if m.Path == path {
			return m, nil
		}
	}
	return fetchertest.Module{}, &athens.MissingError{Path: path}
}

func (f *toy) Versions(ctx context.Context, path string) ([]string, error) {
	if err := f.share(ctx, path); err != nil {
		return nil, err
	}
	m, err := f.find(path)
	return append([]string(nil), m.Versions...), err
}

func (f *toy) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	if err := f.share(ctx, path+"@"+query); err != nil {
		return nil, err
	}
	m, err := f.find(path)
	if err != nil {
		return nil, err
	}
	return f.info(m, cmp.Or(m.Queries[query], query))
}

func (f *toy) info(m fetchertest.Module, version string) (*athens.Info, error) {
	for _, c := range m.Contents {
		if c.Version == version {
			return &athens.Info{Version: version, Time: c.Time, Origin: &athens.Origin{VCS: "toy"}}, nil
		}
	}
	return nil, &athens.MissingError{Path: m.Path, Query: version}
}

func (f *toy) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	if err := f.share(ctx, m.String()); err != nil {
		return nil, err
	}
	found, err := f.find(m.Path)
	if err != nil {
		return nil, err
	}
	for _, c := range found.Contents {
		if c.Version == m.Version {
			return &toyContent{f, found, c}, nil
		}
	}
	return nil, &athens.MissingError{Path: m.Path, Query: m.Version}
}

type toyContent struct {
	toy    *toy
	module fetchertest.Module
	is     fetchertest.Content
}

func (c *toyContent) Info(context.Context) (*athens.Info, error) {
	return c.toy.info(c.module, c.is.Version)
}
func (c *toyContent) Mod(context.Context) ([]byte, error) { return []byte(c.is.Mod), nil }
func (c *toyContent) Zip(ctx context.Context, w io.Writer) error {
	zip := c.toy.zips[c.module.Path+"@"+c.is.Version]
	for len(zip) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := w.Write(zip[:min(100, len(zip))])
		if err != nil {
			return err
		}
		zip = zip[n:]
	}
	return nil
}

// sample makes the modules that toys know, with their zips.
func sample(t *testing.T) ([]fetchertest.Module, map[string][]byte) {
	modules := []fetchertest.Module{
		{
			Path: "corp.test/m", Versions: []string{"v1.0.0", "v1.1.0-rc.1", "v1.1.0"},
			Queries:  map[string]string{"latest": "v1.1.0", "v1": "v1.1.0", "main": "v1.1.1-0.20240101000000-abcdefabcdef", "abcdefabcdef": "v1.1.1-0.20240101000000-abcdefabcdef"},
			Contents: []fetchertest.Content{{Version: "v1.0.0"}, {Version: "v1.1.0"}, {Version: "v1.1.1-0.20240101000000-abcdefabcdef"}},
		},
		{Path: "corp.test/untagged", Queries: map[string]string{"latest": "v0.0.0-20240101000000-abcdefabcdef"},
			Contents: []fetchertest.Content{{Version: "v0.0.0-20240101000000-abcdefabcdef"}}},
	}
	zips := make(map[string][]byte)
	for _, m := range modules {
		for i := range m.Contents {
			c := &m.Contents[i]
			c.Time = time.Date(2024, 1, 1+i, 0, 0, 0, 0, time.UTC)
			c.Mod = "module " + m.Path + "\n// " + c.Version + "\n"
			var b bytes.Buffer
			v := module.Version{Path: m.Path, Version: c.Version}
			if err := modzip.Create(&b, v, []modzip.File{zipFile{"go.mod", c.Mod}, zipFile{"m.go", "package m\n"}}); err != nil {
				t.Fatal(err)
			}
			zips[v.String()] = b.Bytes()
			name := filepath.Join(t.TempDir(), "m.zip")
			if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			sum, err := dirhash.HashZip(name, dirhash.Hash1)
			if err != nil {
				t.Fatal(err)
			}
			c.Sum = sum
		}
	}
	return modules, zips
}

// zipFile is a file of a sample's zip.
type zipFile struct{ name, content string }

func (f zipFile) Path() string                { return f.name }
func (f zipFile) Lstat() (fs.FileInfo, error) { return f, nil }
func (f zipFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewBufferString(f.content)), nil
}
func (f zipFile) Name() string       { return path.Base(f.name) }
func (f zipFile) Size() int64        { return int64(len(f.content)) }
func (f zipFile) Mode() fs.FileMode  { return 0o644 }
func (f zipFile) ModTime() time.Time { return time.Time{} }
func (f zipFile) IsDir() bool        { return false }
func (f zipFile) Sys() any           { return nil }

// harness makes toys of the sample. bend, which may be nil, puts something
// around each.
func harness(t *testing.T, bend func(*toy) athens.Fetcher) fetchertest.Harness {
	t.Helper()
	modules, zips := sample(t)
	source := &toySource{}
	open := func(down bool) func() (athens.Fetcher, error) {
		return func() (athens.Fetcher, error) {
			f := &toy{source: source, modules: modules, zips: zips, down: down, flight: make(map[string]*toyFlight)}
			if bend == nil {
				return f, nil
			}
			return bend(f), nil
		}
	}
	return fetchertest.Harness{
		New: open(false), Down: open(true), Modules: modules,
		Missing: []module.Version{
			{Path: "corp.test/nosuch"}, {Path: "corp.test/m", Version: "v9.9.9"}, {Path: "corp.test/m", Version: "nosuch"},
		},
		Hold: source.hold, Asked: source.count, Patience: 2 * time.Second,
	}
}

// shortWriter passes on a number of bytes and swallows the rest.
type shortWriter struct {
	w    io.Writer
	left int
}

func (s *shortWriter) Write(p []byte) (int, error) {
	n := min(s.left, len(p))
	s.left -= n
	if _, err := s.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// leaky makes everyone wait for the first one, and gives all his error.
type leaky struct {
	*toy
	mu    sync.Mutex
	first context.Context
}

func (l *leaky) Versions(ctx context.Context, path string) ([]string, error) {
	l.mu.Lock()
	if l.first == nil {
		l.first = ctx
	}
	first := l.first
	l.mu.Unlock()
	list, err := l.toy.Versions(ctx, path)
	<-first.Done()
	return list, errors.Join(err, context.Cause(first))
}

// alone asks the source for each caller.
type alone struct{ *toy }

func (a *alone) Versions(ctx context.Context, path string) ([]string, error) {
	if err := a.source.ask(ctx); err != nil {
		return nil, err
	}
	m, err := a.find(path)
	return slices.Clone(m.Versions), err
}

// aloneInQueries does so of queries.
type aloneInQueries struct{ *toy }

func (a *aloneInQueries) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	if err := a.source.ask(ctx); err != nil {
		return nil, err
	}
	m, err := a.find(path)
	if err != nil {
		return nil, err
	}
	return a.info(m, cmp.Or(m.Queries[query], query))
}
