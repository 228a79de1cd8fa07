package server

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
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
		Logger:  p.Log,
	})
	if err != nil {
		return err
	}
	p.closes(file)
	p.Options.Route, p.Options.Named = file.Route, file.Seen
	p.background = append(p.background, file.Run)
	p.reloads = append(p.reloads, file.Reload)
	return nil
}

// sourceInfo asks the source of a version for its .info, on the context of a question
// that the handler has put to it.
func (p *Parts) sourceInfo(ctx context.Context, m module.Version) (*athens.Info, error) {
	var source athens.Fetcher = p.Options.Upstream
	if private := athens.RequestInfoFrom(ctx).Private; private != nil && *private || p.Options.Upstream == nil {
		source = p.Options.Fetcher
	}
	if source == nil {
		return nil, errors.New("there is no source to ask")
	}
	content, err := source.Fetch(ctx, m)
	if err != nil {
		return nil, err
	}
	return content.Info(ctx)
}
