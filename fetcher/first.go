package fetcher

import (
	"context"
	"errors"
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
// git, of a URL scheme that it does not speak, and of repositories with SHA-256
// hashes. What is missing, down, blocked or invalid is the answer: a source of
// truth has no second opinion, and to ask another one would hide an outage.
//
// Which Fetcher answers is found out anew for each question; the parts of one
// [athens.Content] always come from one of them. When the last one can't either,
// its error is the answer.
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
	return firstAble(c, func(f athens.Fetcher) (athens.Content, error) { return f.Fetch(ctx, m) })
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
