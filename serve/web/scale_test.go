package web

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
)

// manyStore lists many versions, which it makes up.
type manyStore struct {
	*storage.Store
	modules, versions int // versions of each module
}

func (s *manyStore) All(context.Context) iter.Seq2[module.Version, error] {
	return func(yield func(module.Version, error) bool) {
		for i := range s.modules {
			for j := range s.versions {
				m := module.Version{Path: fmt.Sprintf("host%d.example.com/team-%d/project-%d", i%7, i%1000, i), Version: fmt.Sprintf("v1.%d.0", j)}
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// heap is the memory in use.
func heap() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// newMany returns a site over a number of versions, and how many bytes of memory each takes.
func newMany(t testing.TB, modules, versions int) (s *Site, each float64) {
	store := &manyStore{storage.NewMemory(), modules, versions}
	s, err := New(store, &Options{MaxMeasured: -1, CurrentPrivate: func() string { return "" }})
	require.NoError(t, err)
	s.Watch(&athens.Options{Private: "none"})
	before := heap()
	s.rebuild(t.Context())
	return s, float64(heap()-before) / float64(modules*versions)
}

// The index takes at most 200 bytes for each version, where each is of a module of its own
// and where each module has many.
func TestIndexIsSmall(t *testing.T) {
	n := 50_000
	if os.Getenv("ATHENS_FULL") != "" {
		n = 1_000_000
	}
	for _, versions := range []int{1, 10} {
		s, each := newMany(t, n/versions, versions)
		t.Logf("%d modules with %d versions each: %.0f bytes a version", n/versions, versions, each)
		assert.Less(t, each, 200.0)
		modules, all, _, ok := s.Held()
		assert.True(t, ok)
		assert.Equal(t, n/versions, modules)
		assert.Equal(t, n, all)
		runtime.KeepAlive(s)
	}
}

// What comes in beside a catalog ends up in it, with what it requires.
func TestIndexMerges(t *testing.T) {
	s, _ := newMany(t, 300, 2)
	for i := range 300 {
		path := fmt.Sprintf("example.com/new-%d", i)
		s.index.add(module.Version{Path: path, Version: "v1.0.0"}, time.Unix(int64(i), 0))
		s.index.change(path, func(h *held) { h.requires = []uint64{hash("example.com/base")} })
	}
	s.index.add(module.Version{Path: "host0.example.com/team-0/project-0", Version: "v1.0.5"}, time.Unix(7, 0))
	modules, versions := s.index.counts()
	assert.Equal(t, []int{600, 901}, []int{modules, versions})
	dependents := func() (n int) {
		s.index.dependents("example.com/base", func(held) bool { n++; return true })
		return n
	}
	require.Equal(t, 300, dependents())
	for range 2 {
		s.index.merge(true)
		assert.Equal(t, 300, dependents())
		assert.Equal(t, 600, len(s.index.now.Load().mods))
		h, ok := s.index.get("host0.example.com/team-0/project-0")
		assert.True(t, ok)
		assert.Equal(t, "v1.0.0 v1.0.5 v1.1.0", h.versions)
		s.index.change("example.com/new-7", func(h *held) { h.requires = []uint64{} })
		assert.Equal(t, 299, dependents(), "it requires another now")
		s.index.change("example.com/new-7", func(h *held) { h.requires = []uint64{hash("example.com/base")} })
	}
	seen, last := 0, ""
	s.index.all("", func(h *held) bool {
		assert.Less(t, last, h.path)
		seen, last = seen+1, h.path
		return true
	})
	assert.Equal(t, 600, seen)
	s.rebuild(t.Context())
	assert.Zero(t, dependents(), "the store does not have them")
}

// A search finds what a look at each path finds, wherever the path stands in its block.
func TestSearchFindsAll(t *testing.T) {
	s, _ := newMany(t, 1000, 1)
	for _, query := range []string{"project-77", "project-777", "77", "7", "team-7 host3", "host3 team-7/", "example.com/team-999/project-999", "0/project-0", "zzz", "xample", "COM/TEAM-12", "-1 -1 t5", "\n", "om/te om/te"} {
		var want []string
		for _, h := range s.index.now.Load().mods {
			if words := strings.Fields(strings.ToLower(query)); len(words) > 0 && containsAll(h.path, words) {
				want = append(want, h.path)
			}
		}
		found, more := s.index.search(query)
		assert.False(t, more)
		var got []string
		for _, h := range found {
			got = append(got, h.path)
		}
		assert.ElementsMatch(t, want, got, query)
	}
}

// A store of more modules than a page counts is counted when the index is made.
func TestStoreIsLarge(t *testing.T) {
	s, _ := newMany(t, maxCounted+10, 1)
	s.opts.AllowAll = func(*http.Request) bool { return true }
	r := httptest.NewRequest("GET", "/-/store", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	assert.Contains(t, w.Body.String(), "<dd>20\u202f010</dd>")
	s.opts.AllowAll = nil
	w = httptest.NewRecorder()
	s.ServeHTTP(w, r)
	assert.Contains(t, w.Body.String(), "<dd>20\u202f000+</dd>")
}

// At a million versions. The first page, a list and three kinds of search.
func BenchmarkMillion(b *testing.B) {
	for _, versions := range []int{1, 10} {
		s, each := newMany(b, 1_000_000/versions, versions)
		for _, page := range []string{"/", "/-/modules", "/-/modules?q=project-77777", "/-/modules?q=nothing-has-this", "/-/modules?q=example", "/-/modules?q=team-7+host3", "/-/modules?q=0%2Fproject-0%2F", "/-/store"} {
			b.Run(fmt.Sprintf("versions=%d%s", versions, page), func(b *testing.B) {
				for b.Loop() {
					r := httptest.NewRequest("GET", page, nil)
					r.Header.Set("Accept", "text/html")
					w := httptest.NewRecorder()
					s.ServeHTTP(w, r)
					require.Equal(b, 200, w.Code)
				}
				b.ReportMetric(each, "index-B/version")
			})
		}
	}
}

// What watching costs a request.
func BenchmarkObserve(b *testing.B) {
	s, _ := newMany(b, 10, 1)
	e := athens.Event{Op: athens.OpRequest, File: "info", Outcome: athens.OutcomeHeld, Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}, Bytes: 1000}
	for b.Loop() {
		s.observe(&e)
	}
}
