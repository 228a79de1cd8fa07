package fetchertest_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/fetchertest"
)

func TestToyKeepsAllPromises(t *testing.T) { fetchertest.Run(t, harness(t, nil)) }

// bent is a toy, some of whose answers are put through functions.
type bent struct {
	*toy
	versions func(context.Context, string, []string, error) ([]string, error)
	resolve  func(context.Context, string, string, *athens.Info, error) (*athens.Info, error)
	fetch    func(module.Version, athens.Content, error) (athens.Content, error)
}

func (b *bent) Versions(ctx context.Context, path string) ([]string, error) {
	list, err := b.toy.Versions(ctx, path)
	if b.versions != nil {
		return b.versions(ctx, path, list, err)
	}
	return list, err
}

func (b *bent) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	info, err := b.toy.Resolve(ctx, path, query)
	if b.resolve != nil {
		return b.resolve(ctx, path, query, info, err)
	}
	return info, err
}

func (b *bent) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	c, err := b.toy.Fetch(ctx, m)
	if b.fetch != nil {
		return b.fetch(m, c, err)
	}
	return c, err
}

// bentContent is a toy's content with other parts.
type bentContent struct {
	athens.Content
	info func(*athens.Info) (*athens.Info, error)
	mod  func([]byte) ([]byte, error)
	zip  func(ctx context.Context, c athens.Content, w io.Writer) error
}

func (b *bentContent) Info(ctx context.Context) (*athens.Info, error) {
	info, err := b.Content.Info(ctx)
	if b.info != nil && err == nil {
		return b.info(info)
	}
	return info, err
}

func (b *bentContent) Mod(ctx context.Context) ([]byte, error) {
	mod, err := b.Content.Mod(ctx)
	if b.mod != nil && err == nil {
		return b.mod(mod)
	}
	return mod, err
}

func (b *bentContent) Zip(ctx context.Context, w io.Writer) error {
	if b.zip != nil {
		return b.zip(ctx, b.Content, w)
	}
	return b.Content.Zip(ctx, w)
}

// withContent makes a toy whose contents are bent.
func withContent(bend func(*bentContent)) func(*toy) athens.Fetcher {
	return func(f *toy) athens.Fetcher {
		return &bent{toy: f, fetch: func(_ module.Version, c athens.Content, err error) (athens.Content, error) {
			if err != nil {
				return nil, err
			}
			b := &bentContent{Content: c}
			bend(b)
			return b, nil
		}}
	}
}

func withVersions(bend func([]string, error) ([]string, error)) func(*toy) athens.Fetcher {
	return func(f *toy) athens.Fetcher {
		return &bent{toy: f, versions: func(_ context.Context, _ string, list []string, err error) ([]string, error) {
			return bend(list, err)
		}}
	}
}

func withResolve(bend func(query string, info *athens.Info, err error) (*athens.Info, error)) func(*toy) athens.Fetcher {
	return func(f *toy) athens.Fetcher {
		return &bent{toy: f, resolve: func(_ context.Context, _, query string, info *athens.Info, err error) (*athens.Info, error) {
			return bend(query, info, err)
		}}
	}
}

// Each of these breaks one promise, and the named case must see it.
var broken = []struct {
	fault string
	seen  string // the case
	bend  func(*toy) athens.Fetcher
}{
	{"an order of its own", "versions", withVersions(func(list []string, err error) ([]string, error) {
		slices.Reverse(list)
		return list, err
	})},
	{"pseudo-versions in the list", "versions", withVersions(func(list []string, err error) ([]string, error) {
		return append(list, "v1.1.1-0.20240101000000-abcdefabcdef"), err
	})},
	{"versions that are not canonical", "versions", withVersions(func(list []string, err error) ([]string, error) {
		return append(list, "v2"), err
	})},
	{"no versions is an error", "versions", withVersions(func(list []string, err error) ([]string, error) {
		if err == nil && len(list) == 0 {
			err = errors.New("none")
		}
		return list, err
	})},
	{"always the first version", "resolve", withResolve(func(_ string, info *athens.Info, err error) (*athens.Info, error) {
		if err == nil {
			info.Version = "v1.0.0"
		}
		return info, err
	})},
	{"the wrong time", "resolve", withResolve(func(_ string, info *athens.Info, err error) (*athens.Info, error) {
		if err == nil {
			info.Time = info.Time.AddDate(1, 0, 0)
		}
		return info, err
	})},
	{"one answer for all", "resolve-owned", func() func(*toy) athens.Fetcher {
		return func(f *toy) athens.Fetcher {
			var mu sync.Mutex
			held := make(map[string]*athens.Info)
			return &bent{toy: f, resolve: func(_ context.Context, path, query string, info *athens.Info, err error) (*athens.Info, error) {
				mu.Lock()
				defer mu.Unlock()
				if h := held[path+query]; h != nil {
					return h, nil
				}
				held[path+query] = info
				return info, err
			}}
		}
	}()},
	{"another .info", "content", withContent(func(c *bentContent) {
		c.info = func(i *athens.Info) (*athens.Info, error) { i.Version = "v1.0.1"; return i, nil }
	})},
	{"another .mod", "content", withContent(func(c *bentContent) {
		c.mod = func(m []byte) ([]byte, error) { return append(m, '\n'), nil }
	})},
	{"half of the zip, and no error", "content", withContent(func(c *bentContent) {
		c.zip = func(ctx context.Context, c athens.Content, w io.Writer) error {
			_ = c.Zip(ctx, &shortWriter{w, 100})
			return nil
		}
	})},
	{"no zip before the .mod", "any-order", withContent(func(c *bentContent) {
		var modAsked bool
		c.mod = func(m []byte) ([]byte, error) { modAsked = true; return m, nil }
		c.zip = func(ctx context.Context, c athens.Content, w io.Writer) error {
			if !modAsked {
				return errors.New("the .mod comes first")
			}
			return c.Zip(ctx, w)
		}
	})},
	{"parts that wait for each other's end", "at-once", withContent(func(c *bentContent) {
		var mu sync.Mutex
		busy := 0
		enter := func() error {
			mu.Lock()
			defer mu.Unlock()
			if busy++; busy > 1 {
				return errors.New("one at a time")
			}
			return nil
		}
		c.info = func(i *athens.Info) (*athens.Info, error) { return i, enter() }
		c.mod = func(m []byte) ([]byte, error) { return m, enter() }
	})},
	{"one .info for all", "info-owned", func(f *toy) athens.Fetcher {
		var mu sync.Mutex
		held := make(map[module.Version]*athens.Info)
		return &bent{toy: f, fetch: func(m module.Version, c athens.Content, err error) (athens.Content, error) {
			if err != nil {
				return nil, err
			}
			return &bentContent{Content: c, info: func(i *athens.Info) (*athens.Info, error) {
				mu.Lock()
				defer mu.Unlock()
				if h := held[m]; h != nil {
					return h, nil
				}
				held[m] = i
				return i, nil
			}}, nil
		}}
	}},
	{"a writer's error is dropped", "zip-writer", withContent(func(c *bentContent) {
		c.zip = func(ctx context.Context, c athens.Content, w io.Writer) error {
			_ = c.Zip(ctx, w)
			return nil
		}
	})},
	{"missing is any fs.ErrNotExist", "missing", withResolve(func(_ string, info *athens.Info, err error) (*athens.Info, error) {
		if err != nil {
			err = fs.ErrNotExist
		}
		return info, err
	})},
	{"what is missing is made up", "missing", withResolve(func(query string, info *athens.Info, err error) (*athens.Info, error) {
		if err != nil {
			return &athens.Info{Version: query}, nil
		}
		return info, err
	})},
	{"a list of a module that is missing", "missing", withVersions(func(list []string, err error) ([]string, error) {
		if err != nil {
			return []string{"v1.0.0"}, nil
		}
		return list, nil
	})},
	{"what is missing can be fetched", "missing", func(f *toy) athens.Fetcher {
		return &bent{toy: f, fetch: func(m module.Version, c athens.Content, err error) (athens.Content, error) {
			if err != nil {
				return &toyContent{toy: f, module: f.modules[0], is: f.modules[0].Contents[0]}, nil
			}
			return c, nil
		}}
	}},
	{"an empty path is as good as any", "hostile", func(f *toy) athens.Fetcher {
		return &bent{toy: f, resolve: func(_ context.Context, path, query string, info *athens.Info, err error) (*athens.Info, error) {
			if path == "" {
				return &athens.Info{Version: "v1.0.0"}, nil
			}
			return info, err
		}}
	}},
	{"an outage is missing", "down", withVersions(func(list []string, err error) ([]string, error) {
		if err != nil {
			err = &athens.MissingError{Path: "corp.test/m", Err: err}
		}
		return list, err
	})},
	{"an outage of a query is missing", "down", withResolve(func(query string, info *athens.Info, err error) (*athens.Info, error) {
		if err != nil {
			err = &athens.MissingError{Query: query, Err: err}
		}
		return info, err
	})},
	{"an outage of a version is missing", "down", func(f *toy) athens.Fetcher {
		return &bent{toy: f, fetch: func(m module.Version, c athens.Content, err error) (athens.Content, error) {
			if err != nil {
				err = &athens.MissingError{Path: m.Path, Err: err}
			}
			return c, err
		}}
	}},
	{"an outage is an fs.ErrNotExist", "down", withVersions(func(list []string, err error) ([]string, error) {
		if errors.As(err, new(*athens.UnavailableError)) {
			err = &fs.PathError{Op: "dial", Path: "agent.sock", Err: fs.ErrNotExist}
		}
		return list, err
	})},
	{"an outage is no versions", "down", withVersions(func(list []string, err error) ([]string, error) {
		if errors.As(err, new(*athens.UnavailableError)) {
			return nil, nil
		}
		return list, err
	})},
	{"a context's end is missing", "cancelled", withResolve(func(query string, info *athens.Info, err error) (*athens.Info, error) {
		if err != nil {
			err = &athens.MissingError{Query: query, Err: err}
		}
		return info, err
	})},
	{"a context's end is not noticed", "cancelled", withContent(func(c *bentContent) {
		c.zip = func(ctx context.Context, _ athens.Content, w io.Writer) error {
			if _, err := w.Write([]byte("PK")); err != nil {
				return err
			}
			select {} // hangs for good
		}
	})},
	{"the first who leaves ends it for all", "leaver", func(f *toy) athens.Fetcher {
		return &leaky{toy: f}
	}},
	{"answers go to the wrong ones", "concurrent", func(f *toy) athens.Fetcher {
		var mu sync.Mutex
		last := ""
		return &bent{toy: f, resolve: func(_ context.Context, path, query string, info *athens.Info, err error) (*athens.Info, error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil && last != "" && last != path {
				info.Version = "v9.9.9"
			}
			last = path
			return info, err
		}}
	}},
	{"each asks for itself", "shared", func(f *toy) athens.Fetcher {
		return &alone{f}
	}},
	{"each query is asked for itself", "shared", func(f *toy) athens.Fetcher {
		return &aloneInQueries{f}
	}},
}

func TestBrokenOnesAreSeen(t *testing.T) {
	cases := make(map[string]fetchertest.Case)
	for _, c := range fetchertest.Cases() {
		cases[c.Name] = c
	}
	seen := make(map[string]bool)
	for _, b := range broken {
		seen[b.seen] = true
		t.Run(b.seen+"/"+b.fault, func(t *testing.T) {
			t.Parallel()
			c, ok := cases[b.seen]
			if assert.True(t, ok, "there is no such case") {
				assert.Error(t, c.Check(harness(t, b.bend)), c.Promise)
			}
		})
	}
	for name := range cases {
		assert.True(t, seen[name], "nothing breaks %s", name)
	}
}
