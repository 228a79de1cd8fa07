package fetcher

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// First returns a Fetcher that asks several, each of which knows other kinds of
// repositories: usually a [*Fetcher], which reads git by itself, and then one that has a
// go command start the tools of the other version control systems (package gocmd).
//
// The next Fetcher is asked only when an error satisfies errors.Is(err,
// [errors.ErrUnsupported]): the repository was found, and this Fetcher can't read
// its kind. Any other error is the answer, an outage too, because another Fetcher
// would only hide it.
//
// First decides anew for each question. All parts of one [athens.Content] come from one
// Fetcher, except for a zip that it does not support: then the next Fetcher makes
// the zip, if its .info names the same commit.
func First(first athens.Fetcher, others ...athens.Fetcher) athens.Fetcher {
	return append(fetcherChain{first}, slices.Clone(others)...)
}

// fetcherChain asks its members in turn.
type fetcherChain []athens.Fetcher

// Versions implements [athens.Fetcher].
func (c fetcherChain) Versions(ctx context.Context, path string) ([]string, error) {
	return firstAble(c, func(f athens.Fetcher) ([]string, error) { return f.Versions(ctx, path) })
}

// Resolve implements [athens.Fetcher].
func (c fetcherChain) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	return firstAble(c, func(f athens.Fetcher) (*athens.Info, error) { return f.Resolve(ctx, path, query) })
}

// Fetch implements [athens.Fetcher].
func (c fetcherChain) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	others := c
	return firstAble(c, func(f athens.Fetcher) (athens.Content, error) {
		others = others[1:]
		content, err := f.Fetch(ctx, m)
		if err != nil || len(others) == 0 {
			return content, err
		}
		return &linkedContent{Content: content, module: m, others: others, asking: make(chan struct{}, 1)}, nil
	})
}

// firstAble returns the first answer that is not "can't do that".
func firstAble[T any](c fetcherChain, ask func(athens.Fetcher) (T, error)) (answer T, err error) {
	for _, f := range c {
		if answer, err = ask(f); !errors.Is(err, errors.ErrUnsupported) {
			break
		}
	}
	return answer, err
}

// linkedContent is a Content of one member of a fetcherChain, whose zip may have to come
// from another.
type linkedContent struct {
	athens.Content
	module module.Version
	others fetcherChain

	asking chan struct{} // held while the .info is asked for
	info   *athens.Info  // once it was asked for
}

// Info implements [athens.Content]. Zip may need it too, and Content may be
// asked only once.
func (c *linkedContent) Info(ctx context.Context) (*athens.Info, error) {
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c.info == nil {
		info, err := c.Content.Info(ctx)
		if err != nil {
			return nil, err
		}
		c.info = info
	}
	info := *c.info
	if info.Origin != nil {
		origin := *info.Origin
		info.Origin = &origin
	}
	return &info, nil
}

// Zip implements [athens.Content].
func (c *linkedContent) Zip(ctx context.Context, w io.Writer) error {
	out := &touched{Writer: w}
	err := c.Content.Zip(ctx, out)
	if out.used || !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	other, err := c.others.Fetch(ctx, c.module)
	if err != nil {
		return err
	}
	otherInfo, err := other.Info(ctx)
	if err != nil {
		return err
	}
	if !agree(info, otherInfo) {
		return &athens.InvalidError{Path: c.module.Path, Version: c.module.Version,
			Err: errors.New("two fetchers do not agree on its commit")}
	}
	return other.Zip(ctx, w)
}

func agree(a, b *athens.Info) bool {
	if a.Version != b.Version || !a.Time.Equal(b.Time) {
		return false
	}
	return a.Origin == nil || b.Origin == nil || a.Origin.Hash == b.Origin.Hash
}

// touched is a writer that knows whether anything was written.
type touched struct {
	io.Writer
	used bool
}

func (t *touched) Write(p []byte) (int, error) {
	t.used = true
	return t.Writer.Write(p)
}
