package server

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/redirect/rules"
)

// useRules puts -rules and -private into force, and returns the patterns of what is
// private by them.
func (p *Parts) useRules() error {
	policy, err := p.Flags.Policy()
	if err != nil {
		return err
	}
	p.Private, p.Options.Route = policy.PrivatePatterns(), policy.Route
	if p.Flags.Rules == "" {
		return nil
	}
	dir, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	file, err := rules.Open(p.Flags.Rules, &rules.Options{
		Private: cmp.Or(p.Flags.Private, "none"),
		Store:   p.Store,
		SeenDir: filepath.Join(dir, ".seen"), // no module path can have that name
		Info:    p.sourceInfo,
		OpenUpstream: func(url string) (athens.Upstream, error) {
			return redirect.New(url, &redirect.Options{Logger: p.Log})
		},
		Logger: p.Log,
	})
	if err != nil {
		return err
	}
	p.closes(file)
	p.rules = file
	p.Options.Route, p.Options.Named = file.Route, file.Seen
	p.background = append(p.background, file.Run)
	p.reloads = append(p.reloads, file.Reload)
	return nil
}

// sourceInfo asks the source of a version for its .info, on the context of a question
// that the handler has put to it.
func (p *Parts) sourceInfo(ctx context.Context, m module.Version) (*athens.Info, error) {
	err := errors.New("there is no source to ask")
	for _, source := range p.sources(ctx, m) {
		if source == nil {
			continue
		}
		var content athens.Content
		if content, err = source.Fetch(ctx, m); err != nil {
			continue
		}
		var info *athens.Info
		if info, err = content.Info(ctx); err == nil {
			return info, nil
		}
	}
	return nil, err
}

// sources returns what a version may come from, in order.
func (p *Parts) sources(ctx context.Context, m module.Version) []athens.Fetcher {
	if private := athens.RequestInfoFrom(ctx).Private; private != nil && *private {
		return []athens.Fetcher{p.Options.Fetcher}
	}
	var sources []athens.Fetcher
	if route, err := p.Options.Route(ctx, module.Version{Path: m.Path}); err == nil {
		for _, from := range route.From {
			if from.Upstream != nil {
				sources = append(sources, from.Upstream)
			} else {
				sources = append(sources, p.Options.Fetcher)
			}
		}
	}
	switch {
	case len(sources) > 0:
		return sources
	case p.Options.Upstream != nil:
		return []athens.Fetcher{p.Options.Upstream}
	}
	return []athens.Fetcher{p.Options.Fetcher}
}
