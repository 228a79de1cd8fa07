package fetcher

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// content is a version whose commit has been fetched.
type content struct {
	module   module.Version
	codeRepo *codeRepo
	version  *resolved
}

// newContent keeps nothing of the references, which may be a large list.
func newContent(m module.Version, s *codeRepo, v *resolved) *content {
	repo, version, root, rev := *s, *v, *v.root, *v.rev
	repo.refs, repo.revs, repo.listed, repo.release = nil, nil, nil, nil
	rev.tags = nil
	root.rev, version.root, version.rev = &rev, &root, &rev
	return &content{module: m, codeRepo: &repo, version: &version}
}

// Info implements [athens.Content].
func (c *content) Info(ctx context.Context) (*athens.Info, error) {
	return c.version.info(), context.Cause(ctx)
}

// Mod implements [athens.Content]. It returns the go.mod as it is stored in git. The
// one in the zip can differ if git attributes convert it. A
// large one is not copied.
func (c *content) Mod(ctx context.Context) ([]byte, error) {
	mod := c.codeRepo.goMod(c.version.root)
	if len(mod) <= countedList {
		mod = bytes.Clone(mod)
	}
	return mod, context.Cause(ctx)
}

// Zip implements [athens.Content].
func (c *content) Zip(ctx context.Context, w io.Writer) error {
	s := *c.codeRepo
	s.repo = s.repo.f.acquireRepo(s.repo.url, s.repo.policy)
	defer s.repo.release()
	err := s.repo.ensureRevision(ctx, c.version.rev)
	if err == nil {
		err = s.zip(ctx, w, c.module, c.version.root)
	}
	s.repo.f.repair(s.repo, err)
	return toAthensError(c.module.Path, c.module.Version, err)
}
