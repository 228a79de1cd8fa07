package athens_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// lies are what a fake says that is wrong, each time.
const lies = " other-version huge text truncated cut other-mod garbage "

// role is a server that is wired in one of the ways there are.
type role struct {
	name             string
	upstream, vcs    bool
	through, private bool
	checked, alone   bool // by a checksum database; without fills
}

// roles are the ways to wire a server.
var roles = []role{
	{name: "redirect", upstream: true, vcs: true},
	{name: "fetch", upstream: true, vcs: true, through: true},
	{name: "verified", upstream: true, vcs: true, through: true, checked: true},
	{name: "private", upstream: true, vcs: true, private: true},
	{name: "registry", vcs: true},
	{name: "registry alone", vcs: true, alone: true},
}

// trial is a server under a plan, and the truth.
type trial struct {
	*bubble
	role
	p     *plan
	held  athens.Storage // without the plan
	truth *modtest.Version

	sources []*fake

	mu    sync.Mutex
	wrong []string // promises that were not kept
}

// mend ends the fault.
func (s *trial) mend() {
	s.p.mu.Lock()
	s.p.mended = true
	s.p.mu.Unlock()
	for _, src := range s.sources {
		for _, f := range s.p.faults {
			src.fail(f.site, "")
		}
	}
}

// wrongly notes that a promise was not kept. A bubble would end at the first.
func (s *trial) wrongly(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// newTrial starts a server that holds nothing, "meta" or the "whole" version. Its
// result ends it.
func newTrial(b *bubble, r role, held string, faults []fault) (*trial, func()) {
	p := &plan{faults: faults, calls: map[string]int{}, now: map[string]int{}}
	store, err := storage.New(afero.NewMemMapFs(), "/", nil)
	require.NoError(b, err)
	vcs, up := newFake(b, "vcs"), newFake(b, "upstream")
	s := &trial{bubble: b, role: r, p: p, held: store, sources: []*fake{vcs, up}}
	for _, src := range s.sources {
		for _, f := range faults {
			if strings.Contains(lies, " "+f.how+" ") {
				src.fail(f.site, f.how)
			}
		}
		s.truth = src.add(example)
		src.queries[module.Version{Path: example.Path, Version: "main"}] = example.Version
	}
	if held != "" {
		holdIn(b, store, s.truth, held == "whole")
	}
	queue, err := fill.New(nil)
	require.NoError(b, err)
	source := func(f *fake) brokenSource {
		return brokenSource{fakeSumDB{&fakeUpstream{f, "http://registry.test/"}}, p}
	}
	opts := &athens.Options{
		MissFetch: r.through, MaxModBytes: 1 << 20,
		Route: func(module.Version) athens.Route {
			_, _ = under(b.Context(), p, "route", example, func() (int, error) { return 0, nil })
			return athens.Route{Private: r.private}
		},
		Allow: func(*http.Request, module.Version) error {
			_, _ = under(b.Context(), p, "allow", example, func() (int, error) { return 0, nil })
			return nil
		},
		Trace: func(ctx context.Context, op string, _ module.Version) (context.Context, func(error)) {
			_, _ = under(ctx, p, "trace", example, func() (int, error) { return 0, nil })
			return ctx, func(error) {
				_, _ = under(ctx, p, "traced", example, func() (int, error) { return 0, nil })
			}
		},
	}
	if r.vcs {
		opts.Fetcher = source(vcs)
	}
	if r.upstream {
		opts.Upstream = source(up)
	}
	if r.checked {
		opts.Checksums = source(up)
	}
	if !r.alone {
		opts.Fills = brokenFills{queue, p}
	}
	b.Handler, err = athens.NewHandler(brokenStore{store, p}, opts)
	require.NoError(b, err)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- queue.Run(ctx, b.Fill) }()
	return s, func() {
		stop()
		require.NoError(b, <-ended)
		require.NoError(b, b.Shutdown(b.Context()))
		if p.open != 0 {
			s.wrongly("%d bodies and stages were not closed", p.open)
		}
		for _, q := range p.twice {
			if len(faults) > 1 {
				break // where one file hangs and the other failed, who asks again starts anew
			}
			s.wrongly("asked while it was asked: %s", q)
		}
	}
}
