package athens

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/mod/module"
)

// First returns a Fetcher that asks several, each of which knows other kinds of
// repositories: usually one that reads git by itself (fetcher/), and then one that
// has a go command start the tools of the other version control systems
// (fetcher/gocmd).
//
// The next Fetcher is asked only when an error satisfies errors.Is(err,
// [errors.ErrUnsupported]): the repository was found, and this Fetcher can't read
// its kind. Any other error is the answer, an outage too, because another Fetcher
// would only hide it.
//
// First decides anew for each question. All parts of one [Content] come from one
// Fetcher, except for a zip that it does not support: then the next Fetcher makes
// the zip, if its .info names the same commit.
func First(first Fetcher, others ...Fetcher) Fetcher {
	return append(fetcherChain{first}, slices.Clone(others)...)
}

// fetcherChain asks its members in turn.
type fetcherChain []Fetcher

// Versions implements [Fetcher].
func (c fetcherChain) Versions(ctx context.Context, path string) ([]string, error) {
	return firstAble(c, func(f Fetcher) ([]string, error) { return f.Versions(ctx, path) })
}

// Resolve implements [Fetcher].
func (c fetcherChain) Resolve(ctx context.Context, path, query string) (*Info, error) {
	return firstAble(c, func(f Fetcher) (*Info, error) { return f.Resolve(ctx, path, query) })
}

// Fetch implements [Fetcher].
func (c fetcherChain) Fetch(ctx context.Context, m module.Version) (Content, error) {
	others := c
	return firstAble(c, func(f Fetcher) (Content, error) {
		others = others[1:]
		content, err := f.Fetch(ctx, m)
		if err != nil || len(others) == 0 {
			return content, err
		}
		return &linkedContent{Content: content, module: m, others: others, asking: make(chan struct{}, 1)}, nil
	})
}

// firstAble returns the first answer that is not "can't do that".
func firstAble[T any](c fetcherChain, ask func(Fetcher) (T, error)) (answer T, err error) {
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
	Content
	module module.Version
	others fetcherChain

	asking chan struct{} // held while the .info is asked for
	info   *Info         // once it was asked for
}

// Info implements [Content]. Zip may need it too, and Content may be
// asked only once.
func (c *linkedContent) Info(ctx context.Context) (*Info, error) {
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

// Zip implements [Content].
func (c *linkedContent) Zip(ctx context.Context, w io.Writer) error {
	used := false
	err := c.Content.Zip(ctx, &firstWrite{w: w, then: func() { used = true }})
	if used || !errors.Is(err, errors.ErrUnsupported) {
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
		return &InvalidError{Path: c.module.Path, Version: c.module.Version,
			Err: errors.New("two fetchers do not agree on its commit")}
	}
	return other.Zip(ctx, w)
}

func agree(a, b *Info) bool {
	if a.Version != b.Version || !a.Time.Equal(b.Time) {
		return false
	}
	return a.Origin == nil || b.Origin == nil || a.Origin.Hash == b.Origin.Hash
}

// firstWrite calls then before the first byte is written to w.
type firstWrite struct {
	w    io.Writer
	then func()
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.then != nil {
		f.then()
		f.then = nil
	}
	return f.w.Write(p)
}
