package protocoltest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// fixture is a handler on fakes, in the time of testing/synctest.
type fixture struct {
	*testing.T
	*athens.Handler
	store    *athenstest.Store
	vcs      *athenstest.Source
	upstream *athenstest.Upstream
	fills    *athenstest.Fills
}

// withFixture runs a test with a handler that fetches from vcs, or with through set
// by way of upstream. Whatever goroutine is left over at the end fails the test.
func withFixture(t *testing.T, through bool, test func(*fixture)) {
	synctest.Test(t, func(t *testing.T) {
		b := &fixture{T: t, store: athenstest.NewStore(t), vcs: athenstest.NewSource(t, "vcs"), upstream: athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), ""), fills: &athenstest.Fills{}}
		opts := &athens.Options{Fetcher: b.vcs, Fills: b.fills}
		if through {
			opts.Upstream, opts.MissFetch = b.upstream, true
		}
		var err error
		b.Handler, err = athens.NewHandler(b.store, opts)
		require.NoError(t, err)
		test(b)
		require.NoError(t, b.Shutdown(t.Context()))
		require.Zero(t, b.store.Count("stages"), "stages never closed")
	})
}

// source is where the handler fetches from.
func (b *fixture) source(through bool) *athenstest.Source {
	if through {
		return b.upstream.Source
	}
	return b.vcs
}

// crowd starts n clients of each path. Its result waits for their answers.
func (b *fixture) crowd(ctx context.Context, n int, paths ...string) func() []*httptest.ResponseRecorder {
	var wg sync.WaitGroup
	answers := make([]*httptest.ResponseRecorder, n*len(paths))
	for i := range answers {
		wg.Go(func() { answers[i], _ = athenstest.Ask(ctx, b.Handler, paths[i%len(paths)]) })
	}
	synctest.Wait()
	return func() []*httptest.ResponseRecorder {
		wg.Wait()
		return answers
	}
}

func TestColdVersionIsFetchedOnce(t *testing.T) {
	t.Run("vcs", func(t *testing.T) {
		withFixture(t, false, func(b *fixture) {
			v := b.vcs.Add(athenstest.Example)
			open := b.vcs.Gate("fetch")
			answers := b.crowd(b.Context(), 100, athenstest.ZipPath)
			open()
			for _, w := range answers() {
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, v.Zip, w.Body.Bytes())
				require.Equal(t, answers()[0].Header(), w.Header())
			}
			assert.Equal(t, []string{"vcs.fetch", "vcs.info", "vcs.mod", "vcs.zip"}, b.vcs.Take())
			assert.Equal(t, 1, b.store.Count("put"))
			assert.Equal(t, 1, b.store.Count("commit"))
		})
	})
	t.Run("upstream", func(t *testing.T) {
		withFixture(t, true, func(b *fixture) {
			v := b.upstream.Add(athenstest.Example)
			open := b.upstream.Gate("zip")
			answers := b.crowd(b.Context(), 100, athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath)
			open()
			for i, w := range answers() {
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, [][]byte{v.Info, v.Mod, v.Zip}[i%3], w.Body.Bytes())
			}
			assert.Equal(t, []string{"upstream.info", "upstream.mod", "upstream.zip"}, b.upstream.Take())
			assert.Empty(t, b.vcs.Take())
			assert.Equal(t, 1, b.store.Count("put"))
			assert.Equal(t, 1, b.store.Count("commit"))
		})
	})
}

// A zip that is asked for at the instant when .info and .mod are in the store, but their
// fetch has not ended, is not a reason to ask for the .info again.
func TestZipWhileInfoIsStored(t *testing.T) {
	withFixture(t, true, func(b *fixture) {
		b.upstream.Add(athenstest.Example)
		open := b.store.Gate("stored")
		metadata := b.crowd(b.Context(), 1, athenstest.InfoPath, athenstest.ModPath)
		zips := b.crowd(b.Context(), 2, athenstest.ZipPath)
		open()
		for _, w := range append(metadata(), zips()...) {
			require.Equal(t, http.StatusOK, w.Code)
		}
		assert.Equal(t, []string{"upstream.info", "upstream.mod", "upstream.zip"}, b.upstream.Take())
	})
}

func TestQuestionIsAskedOnce(t *testing.T) {
	withFixture(t, true, func(b *fixture) {
		b.upstream.Add(athenstest.Example)
		b.upstream.SetQuery(athenstest.Example.Path, "main", athenstest.Example.Version)
		var opens []func()
		for _, kind := range []string{"list", "latest", "query"} {
			opens = append(opens, b.upstream.Gate(kind))
		}
		answers := b.crowd(b.Context(), 50, athenstest.ListPath, athenstest.LatestPath, athenstest.QueryPath)
		for _, open := range opens {
			open()
		}
		for i, w := range answers() {
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, answers()[i%3].Body, w.Body)
		}
		assert.Equal(t, []string{"upstream.latest", "upstream.list", "upstream.query"}, b.upstream.Take())
	})
}

func TestFailureIsSharedButNotKept(t *testing.T) {
	withFixture(t, false, func(b *fixture) {
		b.vcs.Add(athenstest.Example)
		b.vcs.Fail("zip", "down")
		open := b.vcs.Gate("zip")
		answers := b.crowd(b.Context(), 20, athenstest.ZipPath)
		open()
		for _, w := range answers() {
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
		}
		assert.Equal(t, []string{"vcs.fetch", "vcs.info", "vcs.mod", "vcs.zip"}, b.vcs.Take())
		b.vcs.Fail("zip", "")
		w, _ := athenstest.Ask(b.Context(), b.Handler, athenstest.ZipPath)
		assert.Equal(t, http.StatusOK, w.Code, "a file is asked for again at once")
	})
}

// Who leaves is let go at once, and the work goes on for the others.
func TestWaiterLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		through bool
		kind    string
		path    string
	}{
		"info of vcs":      {false, "fetch", athenstest.InfoPath},
		"mod of vcs":       {false, "mod", athenstest.ModPath},
		"zip of vcs":       {false, "zip", athenstest.ZipPath},
		"info of upstream": {true, "info", athenstest.InfoPath},
		"zip of upstream":  {true, "zip", athenstest.ZipPath},
		"list":             {true, "list", athenstest.ListPath},
		"latest":           {false, "latest", athenstest.LatestPath},
		"query":            {false, "query", athenstest.QueryPath},
	} {
		t.Run(name, func(t *testing.T) {
			withFixture(t, c.through, func(b *fixture) {
				src := b.source(c.through)
				src.Add(athenstest.Example)
				src.SetQuery(athenstest.Example.Path, "main", athenstest.Example.Version)
				open := src.Gate(c.kind)
				ctx, leave := context.WithCancel(b.Context())
				leaving := b.crowd(ctx, 10, c.path)
				staying := b.crowd(b.Context(), 3, c.path)
				leave()
				for _, w := range leaving() { // before the source says a word
					assert.GreaterOrEqual(t, w.Code, 500)
				}
				open()
				for _, w := range staying() {
					assert.Equal(t, http.StatusOK, w.Code)
				}
				asked := src.Take()
				assert.Contains(t, asked, src.Name+"."+c.kind)
				assert.LessOrEqual(t, len(asked), 4)
			})
		})
	}
}

// All leave, and what they wanted is stored all the same.
func TestAllLeave(t *testing.T) {
	withFixture(t, false, func(b *fixture) {
		b.vcs.Add(athenstest.Example)
		open := b.vcs.Gate("zip")
		ctx, leave := context.WithCancel(b.Context())
		leaving := b.crowd(ctx, 3, athenstest.ZipPath)
		leave()
		leaving()
		open()
		synctest.Wait()
		assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, b.store, athenstest.Example))
	})
}

// What an upstream says is answered while it is still being stored.
func TestUpstreamIsAnsweredAhead(t *testing.T) {
	withFixture(t, true, func(b *fixture) {
		v := b.upstream.Add(athenstest.Example)
		open := b.store.Gate("put")
		for path, want := range map[string][]byte{athenstest.InfoPath: v.Info, athenstest.ModPath: v.Mod} {
			w, _ := athenstest.Ask(b.Context(), b.Handler, path)
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, want, w.Body.Bytes())
		}
		assert.Empty(t, athenstest.Held(t, b.store, athenstest.Example))
		open()
		synctest.Wait()
		assert.Equal(t, []string{"info", "mod"}, athenstest.Held(t, b.store, athenstest.Example))
		assert.Equal(t, []string{"upstream.info", "upstream.mod"}, b.upstream.Take())
	})
}

// What comes from version control is stored before it is answered.
func TestVCSIsStoredFirst(t *testing.T) {
	withFixture(t, false, func(b *fixture) {
		b.vcs.Add(athenstest.Example)
		open := b.store.Gate("put")
		answers := b.crowd(b.Context(), 1, athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath)
		assert.Equal(t, []string{"vcs.fetch", "vcs.info", "vcs.mod"}, b.vcs.Take(), "no zip before")
		open()
		for _, w := range answers() {
			assert.Equal(t, http.StatusOK, w.Code)
		}
	})
}

// Fills and clients share their work.
func TestFillJoinsClients(t *testing.T) {
	withFixture(t, true, func(b *fixture) {
		b.upstream.Add(athenstest.Example)
		open := b.upstream.Gate("zip")
		answers := b.crowd(b.Context(), 5, athenstest.ZipPath)
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, b.Fill(b.Context(), athens.Fill{Module: athenstest.Example, Zip: true})) })
		ctx, cancel := context.WithCancel(b.Context())
		wg.Go(func() {
			assert.ErrorIs(t, b.Fill(ctx, athens.Fill{Module: athenstest.Example, Zip: true}), context.Canceled)
		})
		synctest.Wait()
		cancel()
		open()
		wg.Wait()
		answers()
		assert.Equal(t, []string{"upstream.info", "upstream.mod", "upstream.zip"}, b.upstream.Take())
	})
}
