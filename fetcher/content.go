package fetcher

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// content is a version bound to its commit, all of which is here.
type content struct {
	module module.Version
	source *source
	found  *finding
}

// Info implements [athens.Content].
func (c *content) Info(ctx context.Context) (*athens.Info, error) {
	return c.found.info(), context.Cause(ctx)
}

// Mod implements [athens.Content]. It is the go.mod as it is stored: the one in
// the zip can differ from it in what git attributes change.
func (c *content) Mod(ctx context.Context) ([]byte, error) {
	return bytes.Clone(c.source.goMod(c.found.tree)), context.Cause(ctx)
}

// Zip implements [athens.Content].
func (c *content) Zip(ctx context.Context, w io.Writer) error {
	s := *c.source
	s.repo = s.repo.f.borrow(s.repo.url, s.repo.reach)
	defer s.repo.done()
	err := s.repo.ensure(ctx, s.refs, c.found.rev)
	if err == nil {
		err = s.zip(ctx, w, c.module, c.found.tree)
	}
	s.repo.f.repair(s.repo, err)
	return outward(c.module.Path, c.module.Version, err)
}
