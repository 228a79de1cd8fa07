package fetcher

import (
	"context"

	"github.com/athens-go/athens"
)

// The methods of this file make a codeRepo a versionSource.

func (s *codeRepo) named(ctx context.Context, revision string) (*athens.Info, error) {
	if err := isRevision(revision); err != nil {
		return nil, notFound{err}
	}
	v, err := s.find(ctx, revision)
	if err != nil {
		return nil, err
	}
	return v.info(), nil
}

func (s *codeRepo) tip(ctx context.Context) (*athens.Info, error) {
	v, err := s.head(ctx)
	if err != nil {
		return nil, err
	}
	return v.info(), nil
}

func (s *codeRepo) mod(ctx context.Context, version string) ([]byte, error) {
	if version == "" {
		v, err := s.head(ctx)
		if err != nil {
			return nil, err
		}
		return s.goMod(v.root), nil
	}
	t, err := s.findModule(ctx, version)
	if err != nil {
		return nil, err
	}
	return s.goMod(t), nil
}
