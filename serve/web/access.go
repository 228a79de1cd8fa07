package web

import (
	"cmp"
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/pattern"
)

// privacy remembers for a minute which paths are private, so that each request does not
// ask the policy again.
type privacy struct {
	site *Site
	now  atomic.Pointer[patternsInForce]
}

// patternsInForce are a list of patterns, and what is known by them and the policy.
type patternsInForce struct {
	list     string // as it was given
	patterns *pattern.Private
	known    *cache.Cache[string, bool]
}

// What privacy remembers.
const (
	knownBytes = 4 << 20 // some ten thousand paths
	knownFor   = time.Minute
)

func newPrivacy(s *Site) *privacy { return &privacy{site: s} }

// use sets the list of patterns.
func (p *privacy) use(list string) error {
	patterns, err := pattern.ParsePrivate(list)
	if err != nil {
		return err
	}
	known := cache.New(knownBytes, func(path string, _ bool) int64 { return int64(len(path)) })
	p.now.Store(&patternsInForce{list, patterns, known})
	return nil
}

// private reports whether a module is private. One about which the policy can't be asked
// counts as private.
func (p *privacy) private(path string) bool {
	now := p.now.Load()
	private, ok := now.known.Get(path)
	if !ok {
		now = p.current()
		private = now.patterns.Match(path) || p.ask(path)
		now.known.PutFor(path, private, knownFor)
	}
	return private
}

// current returns the patterns that are in force now.
func (p *privacy) current() *patternsInForce {
	if list := p.site.privateList(); list != p.now.Load().list {
		if err := p.use(list); err != nil {
			p.site.opts.Logger.Warn("the patterns of private modules are malformed, those before stay", "error", err)
		}
	}
	return p.now.Load()
}

// privateList has the patterns of private modules; "none" is no path, and empty means those of
// the environment.
func (s *Site) privateList() string {
	if s.opts.CurrentPrivate != nil {
		return cmp.Or(s.opts.CurrentPrivate(), "none")
	}
	return s.watched.Load().Private
}

// ask asks the policy.
func (p *privacy) ask(path string) bool {
	watched := p.site.watched.Load()
	if watched.Route == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	route, err := watched.Route(ctx, module.Version{Path: path})
	return err != nil || route.Private
}

// reader is whoever asked for a page.
type reader struct {
	site  *Site
	r     *http.Request
	all   bool
	allow func(r *http.Request, m module.Version) error
}

func (s *Site) readerOf(r *http.Request) *reader {
	who := &reader{site: s, r: r, allow: s.opts.Allow}
	if who.allow == nil {
		who.allow = s.watched.Load().Allow
	}
	who.all = s.opts.AllowAll != nil && s.opts.AllowAll(r)
	return who
}

// sees reports whether the reader may see a module.
func (who *reader) sees(path string) bool {
	switch {
	case who.all:
		return true
	case who.allow != nil:
		return who.allow(who.r, module.Version{Path: path}) == nil
	}
	return !who.site.kinds.private(path)
}

// maxCounted is how many modules are asked about one by one for a total.
const maxCounted = 20_000

// totals counts what the reader may see. It reports false where that would take too long.
func (who *reader) totals() (modules, versions int, ok bool) {
	if len(who.site.index.now.Load().mods) > maxCounted {
		if !who.all {
			return 0, 0, false
		}
		modules, versions = who.site.index.counts()
		return modules, versions, true
	}
	who.site.index.all("", func(h *held) bool {
		if who.sees(h.path) {
			modules++
			versions += int(h.count)
		}
		return true
	})
	return modules, versions, true
}
