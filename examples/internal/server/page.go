package server

import (
	"net/http"
	"path/filepath"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/web"
	"github.com/athens-go/athens/storage"
)

// Handler returns the handler of the parts, with the page watching it.
func (p *Parts) Handler() (*athens.Handler, error) {
	if p.Flags.web != "off" || p.metrics != nil { // which tell what the site knows
		if err := p.useSite(); err != nil {
			return nil, err
		}
	}
	p.useGauges()
	if p.events != nil {
		p.events.Watch(&p.Options)
	}
	handler, err := athens.NewHandler(p.Store, &p.Options)
	if err != nil {
		return nil, err
	}
	p.handler.Store(handler)
	return handler, p.useFollower(handler)
}

// stats are the counts of the handler, once there is one.
func (p *Parts) stats() athens.Stats {
	if h := p.handler.Load(); h != nil {
		return h.Stats()
	}
	return athens.Stats{}
}

// lines are the rules in force.
func (p *Parts) lines() []web.Rule {
	var all []web.Rule
	for _, l := range p.rules.Rules().Lines() {
		all = append(all, web.Rule{Place: l.Place, Text: l.Text, Reason: l.Reason})
	}
	return all
}

// useSite opens the pages that show what is held and done.
func (p *Parts) useSite() error {
	opts := &web.Options{Name: "Athens " + p.Flags.Name, CurrentPrivate: p.pastePatterns, NoSumDB: p.Flags.published, SumDB: p.ownSumDB(), Logger: p.Log}
	opts.Stats = p.stats
	medium := p.Store
	if p.evicting != nil {
		medium, _ = p.evicting.Medium.(Store)
	}
	if _, onDisk := medium.(*storage.Store); !onDisk {
		opts.MaxMeasured = -1 // each look at a bucket costs a request
	} else if p.Flags.web != "off" {
		dir, err := p.Flags.StoreDir()
		if err != nil {
			return err
		}
		opts.StateFile = filepath.Join(dir, ".web", "state") // no module path can have that name
	}
	if p.evicting != nil {
		opts.Evictions = func() web.Evictions {
			s := p.evicting.Stats()
			return web.Evictions{HeldBytes: s.Bytes, MaxBytes: s.MaxBytes, Versions: s.Evicted, Bytes: s.EvictedBytes, Last: s.LastEviction, Exceeded: s.Exceeded}
		}
	}
	if p.rules != nil {
		opts.Rules = p.lines
	}
	if p.follower != nil {
		opts.Following = p.following
	}
	opts.FollowedBy = p.followerRows()
	if p.tokens != nil {
		opts.Allow, opts.AllowAll = p.tokens.Allow, p.tokens.AllowAll
	}
	if p.Flags.web == "all" {
		opts.AllowAll = func(*http.Request) bool { return true }
	}
	var err error
	if p.site, err = web.New(p.Store, opts); err != nil {
		return err
	}
	p.site.Watch(&p.Options)
	p.background = append(p.background, p.site.Run)
	return nil
}

// Page is what a reader with a browser sees.
func (p *Parts) Page() http.Handler {
	if p.site != nil && p.Flags.web != "off" {
		return p.site
	}
	return serve.NewPage(&serve.PageOptions{Name: "an Athens " + p.Flags.Name, CurrentPrivate: p.pasteUnverified, SumDB: p.ownSumDB()})
}
