package redirect

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
)

// Fetch asks nothing: each part of the Content is one GET, made when it is
// wanted. The zip is streamed; its pieces are written as they come.
func (u *Upstream) Fetch(_ context.Context, m module.Version) (athens.Content, error) {
	if !protocol.Canonical(m) {
		return nil, &athens.InvalidError{Path: m.Path, Version: m.Version, Err: protocol.ErrVersion}
	}
	return &content{u, m}, nil
}

// content is one version at the upstream.
type content struct {
	u *Upstream
	m module.Version
}

// question is the GET of one file.
func (c *content) question(f athens.File, limit int64) (question, error) {
	q := question{limit: limit, module: c.m.Path, version: c.m.Version}
	var err error
	if q.path, err = protocol.FilePath(c.m, f.String()); err != nil {
		err = q.invalid(err)
	}
	return q, err
}

func (c *content) Info(ctx context.Context) (*athens.Info, error) {
	return c.u.info(ctx, c.m.Path, c.m.Version)
}

func (c *content) Mod(ctx context.Context) ([]byte, error) {
	q, err := c.question(athens.ModFile, c.u.opts.MaxModBytes)
	if err != nil {
		return nil, err
	}
	q.counted = true
	body, err := c.u.get(ctx, q)
	if err == nil && modfile.ModulePath(body) == "" {
		return nil, c.u.client.notAsked("something that has no module line")
	}
	if len(body) <= smallAnswer {
		body = bytes.Clone(body) // others may hold the same answer
	}
	return body, err
}

func (c *content) Zip(ctx context.Context, w io.Writer) error {
	q, err := c.question(athens.ZipFile, c.u.opts.MaxZipBytes)
	if err != nil {
		return err
	}
	return c.u.client.stream(ctx, q, w)
}
