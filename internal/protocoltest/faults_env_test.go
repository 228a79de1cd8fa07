package protocoltest_test

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
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// lyingFaults are what a fake says that is wrong, each time.
const lyingFaults = " other-version huge text truncated cut other-mod garbage "

// wiring is a server that is wired in one of the ways there are.
type wiring struct {
	name             string
	upstream, vcs    bool
	through, private bool
	checked, alone   bool // by a checksum database; without fills
}

// wirings are the ways to wire a server.
var wirings = []wiring{
	{name: "redirect", upstream: true, vcs: true},
	{name: "fetch", upstream: true, vcs: true, through: true},
	{name: "verified", upstream: true, vcs: true, through: true, checked: true},
	{name: "private", upstream: true, vcs: true, private: true},
	{name: "registry", vcs: true},
	{name: "registry verified", vcs: true, checked: true},
	{name: "registry alone", vcs: true, alone: true},
}

// faultEnv is a server under a plan, and the truth.
type faultEnv struct {
	*fixture
	wiring
	p     *plan
	held  athens.Storage // without the plan
	truth *modtest.Version

	sources []*athenstest.Source

	mu    sync.Mutex
	wrong []string // promises that were not kept
}

// mend ends the fault.
func (s *faultEnv) mend() {
	s.p.mu.Lock()
	s.p.mended = true
	s.p.mu.Unlock()
	for _, src := range s.sources {
		for _, f := range s.p.faults {
			src.Fail(f.call, "")
		}
	}
}

// wrongly notes that a promise was not kept. The test would end at the first.
func (s *faultEnv) wrongly(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// newFaultEnv starts a server that holds nothing, "meta" or the "whole" version. Its
// result ends it.
func newFaultEnv(b *fixture, r wiring, held string, faults []fault) (*faultEnv, func()) {
	p := &plan{faults: faults, calls: map[string]int{}, now: map[string]int{}}
	store, err := storage.New(afero.NewMemMapFs(), "/", nil)
	require.NoError(b, err)
	vcs, up := athenstest.NewSource(b, "vcs"), athenstest.NewSource(b, "upstream")
	s := &faultEnv{fixture: b, wiring: r, p: p, held: store, sources: []*athenstest.Source{vcs, up}}
	for _, src := range s.sources {
		for _, f := range faults {
			if strings.Contains(lyingFaults, " "+f.how+" ") {
				src.Fail(f.call, f.how)
			}
		}
		s.truth = src.Add(athenstest.Example)
		src.SetQuery(athenstest.Example.Path, "main", athenstest.Example.Version)
	}
	if held != "" {
		athenstest.Hold(b, store, s.truth, held == "whole")
	}
	queue, err := fill.New(nil)
	require.NoError(b, err)
	source := func(f *athenstest.Source) brokenSource {
		return brokenSource{athenstest.SumDBUpstream{Upstream: athenstest.NewUpstream(f, "http://registry.test/")}, p}
	}
	opts := &athens.Options{
		MissFetch: r.through, MaxModBytes: 1 << 20,
		Route: func(context.Context, module.Version) (athens.Route, error) {
			_, _ = callUnder(b.Context(), p, "route", athenstest.Example, func() (int, error) { return 0, nil })
			return athens.Route{Private: r.private}, nil
		},
		Allow: func(*http.Request, module.Version) error {
			_, _ = callUnder(b.Context(), p, "allow", athenstest.Example, func() (int, error) { return 0, nil })
			return nil
		},
		Trace: func(ctx context.Context, op string, _ module.Version) (context.Context, func(error)) {
			_, _ = callUnder(ctx, p, "trace", athenstest.Example, func() (int, error) { return 0, nil })
			return ctx, func(error) {
				_, _ = callUnder(ctx, p, "traced", athenstest.Example, func() (int, error) { return 0, nil })
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
