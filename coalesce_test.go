package athens_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// example is the version that most tests ask for.
var example = module.Version{Path: "example.com/m", Version: "v1.0.0"}

// ask asks a handler in this process; cut says that it cut the connection.
func ask(ctx context.Context, h http.Handler, path string) (w *httptest.ResponseRecorder, cut bool) {
	w = httptest.NewRecorder()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				panic(v)
			}
			cut = true
		}
	}()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return w, false
}

// bubble is a handler in a bubble of testing/synctest, and what is around it.
type bubble struct {
	*testing.T
	*athens.Handler
	store    *faultyStore
	vcs      *fake
	upstream *fakeUpstream
	fills    *fakeFills
}

// inBubble runs a test with a handler that fetches from vcs, or with through set
// by way of upstream. Whatever goroutine is left over at the end fails the test.
func inBubble(t *testing.T, through bool, test func(*bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, store: newFaultyStore(t), vcs: newFake(t, "vcs"), upstream: &fakeUpstream{newFake(t, "upstream"), ""}, fills: &fakeFills{}}
		opts := &athens.Options{Fetcher: b.vcs, Fills: b.fills}
		if through {
			opts.Upstream, opts.MissFetch = b.upstream, true
		}
		var err error
		b.Handler, err = athens.NewHandler(b.store, opts)
		require.NoError(t, err)
		test(b)
		require.NoError(t, b.Shutdown(t.Context()))
		require.Zero(t, b.store.count("stages"), "stages never closed")
	})
}

// source is where the handler fetches from.
func (b *bubble) source(through bool) *fake {
	if through {
		return b.upstream.fake
	}
	return b.vcs
}

// crowd starts n clients of each path. Its result waits for their answers.
func (b *bubble) crowd(ctx context.Context, n int, paths ...string) func() []*httptest.ResponseRecorder {
	var wg sync.WaitGroup
	answers := make([]*httptest.ResponseRecorder, n*len(paths))
	for i := range answers {
		wg.Go(func() { answers[i], _ = ask(ctx, b.Handler, paths[i%len(paths)]) })
	}
	synctest.Wait()
	return func() []*httptest.ResponseRecorder {
		wg.Wait()
		return answers
	}
}

const (
	infoPath   = "/example.com/m/@v/v1.0.0.info"
	modPath    = "/example.com/m/@v/v1.0.0.mod"
	zipPath    = "/example.com/m/@v/v1.0.0.zip"
	listPath   = "/example.com/m/@v/list"
	latestPath = "/example.com/m/@latest"
	queryPath  = "/example.com/m/@v/main.info"
)

func TestColdVersionIsFetchedOnce(t *testing.T) {
	t.Run("vcs", func(t *testing.T) {
		inBubble(t, false, func(b *bubble) {
			v := b.vcs.add(example)
			open := b.vcs.gate("fetch")
			answers := b.crowd(b.Context(), 100, zipPath)
			open()
			for _, w := range answers() {
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, v.Zip, w.Body.Bytes())
				require.Equal(t, answers()[0].Header(), w.Header())
			}
			assert.Equal(t, []string{"vcs.fetch", "vcs.info", "vcs.mod", "vcs.zip"}, b.vcs.take())
			assert.Equal(t, 1, b.store.count("put"))
			assert.Equal(t, 1, b.store.count("commit"))
		})
	})
	t.Run("upstream", func(t *testing.T) {
		inBubble(t, true, func(b *bubble) {
			v := b.upstream.add(example)
			open := b.upstream.gate("zip")
			answers := b.crowd(b.Context(), 100, infoPath, modPath, zipPath)
			open()
			for i, w := range answers() {
				require.Equal(t, http.StatusOK, w.Code)
				require.Equal(t, [][]byte{v.Info, v.Mod, v.Zip}[i%3], w.Body.Bytes())
			}
			assert.Equal(t, []string{"upstream.info", "upstream.mod", "upstream.zip"}, b.upstream.take())
			assert.Empty(t, b.vcs.take())
			assert.Equal(t, 1, b.store.count("put"))
			assert.Equal(t, 1, b.store.count("commit"))
		})
	})
}

func TestQuestionIsAskedOnce(t *testing.T) {
	inBubble(t, true, func(b *bubble) {
		b.upstream.add(example)
		b.upstream.queries[module.Version{Path: example.Path, Version: "main"}] = example.Version
		var opens []func()
		for _, kind := range []string{"list", "latest", "query"} {
			opens = append(opens, b.upstream.gate(kind))
		}
		answers := b.crowd(b.Context(), 50, listPath, latestPath, queryPath)
		for _, open := range opens {
			open()
		}
		for i, w := range answers() {
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, answers()[i%3].Body, w.Body)
		}
		assert.Equal(t, []string{"upstream.latest", "upstream.list", "upstream.query"}, b.upstream.take())
	})
}

func TestFailureIsSharedButNotKept(t *testing.T) {
	inBubble(t, false, func(b *bubble) {
		b.vcs.add(example)
		b.vcs.fail("zip", "down")
		open := b.vcs.gate("zip")
		answers := b.crowd(b.Context(), 20, zipPath)
		open()
		for _, w := range answers() {
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
		}
		assert.Equal(t, []string{"vcs.fetch", "vcs.info", "vcs.mod", "vcs.zip"}, b.vcs.take())
		b.vcs.fail("zip", "")
		w, _ := ask(b.Context(), b.Handler, zipPath)
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
		"info of vcs":      {false, "fetch", infoPath},
		"mod of vcs":       {false, "mod", modPath},
		"zip of vcs":       {false, "zip", zipPath},
		"info of upstream": {true, "info", infoPath},
		"zip of upstream":  {true, "zip", zipPath},
		"list":             {true, "list", listPath},
		"latest":           {false, "latest", latestPath},
		"query":            {false, "query", queryPath},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, c.through, func(b *bubble) {
				src := b.source(c.through)
				src.add(example)
				src.queries[module.Version{Path: example.Path, Version: "main"}] = example.Version
				open := src.gate(c.kind)
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
				asked := src.take()
				assert.Contains(t, asked, src.name+"."+c.kind)
				assert.LessOrEqual(t, len(asked), 4)
			})
		})
	}
}

// All leave, and what they wanted is stored all the same.
func TestAllLeave(t *testing.T) {
	inBubble(t, false, func(b *bubble) {
		b.vcs.add(example)
		open := b.vcs.gate("zip")
		ctx, leave := context.WithCancel(b.Context())
		leaving := b.crowd(ctx, 3, zipPath)
		leave()
		leaving()
		open()
		synctest.Wait()
		assert.Equal(t, []string{"info", "mod", "zip"}, holds(t, b.store, example))
	})
}

// What an upstream says is answered while it is still being stored.
func TestUpstreamIsAnsweredAhead(t *testing.T) {
	inBubble(t, true, func(b *bubble) {
		v := b.upstream.add(example)
		open := b.store.gate("put")
		for path, want := range map[string][]byte{infoPath: v.Info, modPath: v.Mod} {
			w, _ := ask(b.Context(), b.Handler, path)
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, want, w.Body.Bytes())
		}
		assert.Empty(t, holds(t, b.store, example))
		open()
		synctest.Wait()
		assert.Equal(t, []string{"info", "mod"}, holds(t, b.store, example))
		assert.Equal(t, []string{"upstream.info", "upstream.mod"}, b.upstream.take())
	})
}

// What comes from version control is stored before it is answered.
func TestVCSIsStoredFirst(t *testing.T) {
	inBubble(t, false, func(b *bubble) {
		b.vcs.add(example)
		open := b.store.gate("put")
		answers := b.crowd(b.Context(), 1, infoPath, modPath, zipPath)
		assert.Equal(t, []string{"vcs.fetch", "vcs.info", "vcs.mod"}, b.vcs.take(), "no zip before")
		open()
		for _, w := range answers() {
			assert.Equal(t, http.StatusOK, w.Code)
		}
	})
}

// Fills and clients share their work.
func TestFillJoinsClients(t *testing.T) {
	inBubble(t, true, func(b *bubble) {
		b.upstream.add(example)
		open := b.upstream.gate("zip")
		answers := b.crowd(b.Context(), 5, zipPath)
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, b.Fill(b.Context(), athens.Fill{Module: example, Zip: true})) })
		ctx, cancel := context.WithCancel(b.Context())
		wg.Go(func() { assert.ErrorIs(t, b.Fill(ctx, athens.Fill{Module: example, Zip: true}), context.Canceled) })
		synctest.Wait()
		cancel()
		open()
		wg.Wait()
		answers()
		assert.Equal(t, []string{"upstream.info", "upstream.mod", "upstream.zip"}, b.upstream.take())
	})
}
