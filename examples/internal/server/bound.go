package server

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/evict"
)

// bound makes the store evict public versions beyond so many bytes; 0 is no bound. An
// offline server evicts nothing: it could not fetch that again.
func (p *Parts) bound(most int64) error {
	if most == 0 || p.Flags.Offline {
		return nil
	}
	medium, ok := p.Store.(evict.Medium)
	if !ok {
		return fmt.Errorf("-max-bytes: a %T can't evict versions", p.Store)
	}
	dir, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	store, err := evict.New(medium, most, &evict.Options{
		Keep:      p.keeps,
		StateFile: filepath.Join(dir, ".used"), // no module path can have that name
		Observe: func(e athens.Event) {
			if p.Options.Observe != nil {
				p.Options.Observe(e)
			}
		},
		Logger: p.Log,
	})
	if err != nil {
		return err
	}
	p.Store, p.evicting = store, store
	p.background = append(p.background, store.Run)
	return nil
}

// keeps reports whether a version is private, as far as can be told: then its repository
// may be gone, and this store has the last copy.
func (p *Parts) keeps(ctx context.Context, m module.Version) bool {
	route, err := p.Options.Route(ctx, module.Version{Path: m.Path})
	return err != nil || route.Private
}
