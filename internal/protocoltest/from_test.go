package protocoltest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// several are two upstreams, version control, and a handler whose route names them.
type several struct {
	t       *testing.T
	a, b    *athenstest.Source
	vcs     *athenstest.Source
	handler *athens.Handler
}

// withSeveral runs test for a route to a, b and version control, of which a and b are
// followed by the next source after any error if onError is set.
func withSeveral(t *testing.T, onError bool, opts athens.Options, test func(s *several)) {
	synctest.Test(t, func(t *testing.T) {
		s := &several{t: t, a: athenstest.NewSource(t, "upstream"), b: athenstest.NewSource(t, "upstream"), vcs: athenstest.NewSource(t, "vcs")}
		from := []athens.Source{
			{Upstream: athenstest.NewUpstream(s.a, "https://a.test/"), OnError: onError},
			{Upstream: athenstest.NewUpstream(s.b, "https://b.test/"), OnError: onError},
			{},
		}
		opts.Fetcher, opts.Prefetch, opts.ListTTL, opts.MissingTTL, opts.DownTTL = s.vcs, -1, -1, -1, -1
		if opts.Private == "" {
			opts.Private = "none"
		}
		opts.Route = func(_ context.Context, m module.Version) (athens.Route, error) { return athens.Route{From: from}, nil }
		var err error
		s.handler, err = athens.NewHandler(athenstest.NewStore(t), &opts)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.handler.Shutdown(context.Background())) }()
		test(s)
	})
}

func (s *several) get(path string) *httptest.ResponseRecorder {
	s.t.Helper()
	w, cut := athenstest.Ask(s.t.Context(), s.handler, path)
	require.False(s.t, cut, path)
	return w
}

var severalPaths = []string{
	"/example.com/m/@v/list", "/example.com/m/@latest", "/example.com/m/@v/main.info",
	athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath,
}

// Behind a comma the next source is asked after a "not found" only, behind a | after any
// error: of each question and each file, as the go command does.
func TestSeveralSources(t *testing.T) {
	add := func(s *athenstest.Source) {
		s.Add(athenstest.Example)
		s.SetQuery(athenstest.Example.Path, "main", athenstest.Example.Version)
	}
	for _, path := range severalPaths {
		for _, c := range []struct {
			name    string
			onError bool
			set     func(s *several)
			status  int
			from    string // what was asked last
		}{
			{"the first has it", false, func(s *several) { add(s.a); add(s.b); add(s.vcs) }, 200, "a"},
			{"the second has it", false, func(s *several) { add(s.b); add(s.vcs) }, 200, "b"},
			{"version control has it", false, func(s *several) { add(s.vcs) }, 200, "vcs"},
			{"nobody has it", false, func(*several) {}, 404, "vcs"},
			{"the first is down", false, func(s *several) { s.a.Fail("", "down"); add(s.b); add(s.vcs) }, 503, "a"},
			{"the first is down, any error", true, func(s *several) { s.a.Fail("", "down"); add(s.b); add(s.vcs) }, 200, "b"},
			{"both are down", true, func(s *several) { s.a.Fail("", "down"); s.b.Fail("", "down"); add(s.vcs) }, 200, "vcs"},
			{"one is down, nobody else has it", true, func(s *several) { s.a.Fail("", "down") }, 503, "vcs"},
			{"all are down", true, func(s *several) {
				for _, src := range []*athenstest.Source{s.a, s.b, s.vcs} {
					src.Fail("", "down")
				}
			}, 503, "vcs"},
		} {
			t.Run(c.name+path, func(t *testing.T) {
				withSeveral(t, c.onError, athens.Options{}, func(s *several) {
					c.set(s)
					w := s.get(path)
					assert.Equal(t, c.status, w.Code, w.Body.String())
					if c.status == http.StatusOK && path == athenstest.ZipPath {
						assert.Equal(t, athenstest.NewVersion(t, athenstest.Example).Zip, w.Body.Bytes())
					}
					assert.NotEmpty(t, s.a.Heard())
					assert.Equal(t, c.from != "a", len(s.b.Heard()) > 0, "b")
					assert.Equal(t, c.from == "vcs", len(s.vcs.Heard()) > 0, "version control")
				})
			})
		}
	}
}

// A server that has the .info and not the zip is followed by the next one, unless it has
// sent a part of it.
func TestSeveralSourcesOfOneVersion(t *testing.T) {
	want := athenstest.NewVersion(t, athenstest.Example).Zip
	for how, status := range map[string]int{"down": 200, "cut": 502, "text": 502} {
		withSeveral(t, true, athens.Options{MissFetch: false}, func(s *several) {
			s.a.Add(athenstest.Example)
			s.b.Add(athenstest.Example)
			s.a.Fail("zip", how)
			w, cut := athenstest.Ask(s.t.Context(), s.handler, athenstest.ZipPath)
			if status == 200 {
				assert.Equal(t, want, w.Body.Bytes())
			} else {
				assert.True(t, cut || w.Code >= 500, "%s: %d", how, w.Code)
			}
		})
	}
	withSeveral(t, true, athens.Options{}, func(s *several) { // version control is at another commit
		s.a.Add(athenstest.Example)
		s.a.Fail("info", "commit-a")
		s.a.Fail("zip", "down")
		s.vcs.Add(athenstest.Example)
		s.get(athenstest.ZipPath)
		s.b.Fail("", "down")
		w := s.get(athenstest.ZipPath)
		assert.NotEqual(t, http.StatusOK, w.Code)
	})
}

// What comes from version control in the end is stored whole before it is answered.
func TestSeveralSourcesStoreWhole(t *testing.T) {
	withSeveral(t, false, athens.Options{}, func(s *several) {
		s.vcs.Add(athenstest.Example)
		assert.Equal(t, http.StatusOK, s.get(athenstest.ModPath).Code)
		synctest.Wait() // the zip, which nobody has asked for, is fetched
		s.vcs.Fail("", "down")
		s.a.Fail("", "down")
		assert.Equal(t, http.StatusOK, s.get(athenstest.ZipPath).Code)
	})
}

// A private path reaches no upstream, whatever a route names for it.
func TestSeveralSourcesPrivate(t *testing.T) {
	withSeveral(t, true, athens.Options{Private: "example.com"}, func(s *several) {
		s.vcs.Add(athenstest.Example)
		for _, path := range severalPaths {
			s.get(path)
		}
		assert.Empty(t, s.a.Heard())
		assert.Empty(t, s.b.Heard())
	})
}

// A proxy sends clients to the one server that a route names, and to none of several; a
// registry sends them nowhere.
func TestFromRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := athenstest.NewSource(t, "upstream"), athenstest.NewSource(t, "upstream")
		for _, s := range []*athenstest.Source{a, b} {
			s.Add(athenstest.Example)
		}
		for _, c := range []struct {
			from     []athens.Source
			upstream athens.Upstream
			location string
		}{
			{[]athens.Source{{Upstream: athenstest.NewUpstream(a, "https://a.test/")}}, athenstest.NewUpstream(b, "https://b.test/"), "https://a.test" + athenstest.ModPath},
			{nil, athenstest.NewUpstream(b, "https://b.test/"), "https://b.test" + athenstest.ModPath},
			{[]athens.Source{{Upstream: athenstest.NewUpstream(a, "https://a.test/")}, {}}, athenstest.NewUpstream(b, "https://b.test/"), ""},
			{[]athens.Source{{Upstream: athenstest.NewUpstream(a, "https://a.test/")}}, nil, ""},
		} {
			h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{Upstream: c.upstream, Private: "none", Prefetch: -1,
				Route: func(context.Context, module.Version) (athens.Route, error) { return athens.Route{From: c.from}, nil }})
			require.NoError(t, err)
			w, _ := athenstest.Ask(t.Context(), h, athenstest.ModPath)
			assert.Equal(t, c.location, w.Header().Get("Location"))
			assert.Equal(t, map[bool]int{true: http.StatusFound, false: http.StatusOK}[c.location != ""], w.Code, w.Body.String())
			require.NoError(t, h.Shutdown(context.Background()))
		}
	})
}
