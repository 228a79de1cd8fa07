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
// repositories: usually a [*Fetcher], which is fast and needs nothing on the
// machine, and then one that has a go command ask the tools of the other version
// control systems.
//
// The next one is asked only when an error satisfies errors.Is(err,
// [errors.ErrUnsupported]): the repository was found, and is of a kind that this
// Fetcher can't read. A [*Fetcher] says so of every version control system but
// git, of a URL scheme that it does not speak, of repositories with SHA-256
// hashes, and of those that are served as mere files. What is missing, down, blocked or invalid is the answer: a source of
// truth has no second opinion, and to ask another one would hide an outage.
//
// Which Fetcher answers is found out anew for each question. The parts of one
// [athens.Content] come from one of them, but for a zip that this one can't make,
// such as one with files in an encoding that it does not know: then the next one
// does, if it says that the version is the same commit. When the last one can't
// either, its error is the answer.
func First(first athens.Fetcher, others ...athens.Fetcher) athens.Fetcher {
	return append(chain{first}, slices.Clone(others)...)
}

// chain asks its members in turn.
type chain []athens.Fetcher

// Versions implements [athens.Fetcher].
func (c chain) Versions(ctx context.Context, path string) ([]string, error) {
	return firstAble(c, func(f athens.Fetcher) ([]string, error) { return f.Versions(ctx, path) })
}

// Resolve implements [athens.Fetcher].
func (c chain) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	return firstAble(c, func(f athens.Fetcher) (*athens.Info, error) { return f.Resolve(ctx, path, query) })
}

// Fetch implements [athens.Fetcher].
func (c chain) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	others := c
	return firstAble(c, func(f athens.Fetcher) (athens.Content, error) {
		others = others[1:]
		content, err := f.Fetch(ctx, m)
		if err != nil || len(others) == 0 {
			return content, err
		}
		return &linked{Content: content, module: m, others: others, asking: make(chan struct{}, 1)}, nil
	})
}

// firstAble returns the first answer that is not "can't do that".
func firstAble[T any](c chain, ask func(athens.Fetcher) (T, error)) (answer T, err error) {
	for _, f := range c {
		if answer, err = ask(f); !errors.Is(err, errors.ErrUnsupported) {
			break
		}
	}
	return answer, err
}

// linked is a Content of one member of a chain, whose zip may have to come
// from another.
type linked struct {
	athens.Content
	module module.Version
	others chain

	asking chan struct{} // held by whoever asks for the .info
	info   *athens.Info  // once it was asked for
}

// Info implements [athens.Content]. Zip may need it too, and Content may be
// asked only once.
func (c *linked) Info(ctx context.Context) (*athens.Info, error) {
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
func (c *linked) Zip(ctx context.Context, w io.Writer) error {
	out := &errorWriter{ctx: ctx, w: w}
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
	if !sameCommit(info, otherInfo) {
		return &athens.InvalidError{Path: c.module.Path, Version: c.module.Version,
			Err: errors.New("two ways to fetch it do not agree about its commit")}
	}
	return other.Zip(ctx, w)
}

func sameCommit(a, b *athens.Info) bool {
	if a.Version != b.Version || !a.Time.Equal(b.Time) {
		return false
	}
	return a.Origin == nil || b.Origin == nil || a.Origin.Hash == b.Origin.Hash
}
