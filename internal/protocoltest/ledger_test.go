package protocoltest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/serve/metrics"
)

// ledgered is a handler with a ledger over fakes.
type ledgered struct {
	*athens.Handler
	t      *testing.T
	store  *athenstest.Store
	vcs    *athenstest.Source
	ledger *ledger.Ledger
}

func newLedgered(t *testing.T, opts athens.Options) *ledgered {
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	l, err := ledger.New(t.TempDir(), key, nil)
	require.NoError(t, err)
	g := &ledgered{t: t, store: athenstest.NewStore(t), vcs: athenstest.NewSource(t, "vcs"), ledger: l}
	opts.Fetcher, opts.Ledger = g.vcs, l
	if opts.Private == "" {
		opts.Private = "none"
	}
	g.Handler, err = athens.NewHandler(g.store, &opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, g.Shutdown(context.Background()))
		require.NoError(t, l.Close())
	})
	return g
}

// ask wants a status, and returns the body.
func (g *ledgered) ask(status int, path string) string {
	g.t.Helper()
	w, cut := athenstest.Ask(g.t.Context(), g, path)
	require.False(g.t, cut, path)
	require.Equal(g.t, status, w.Code, "%s: %s", path, w.Body)
	if status != http.StatusOK {
		require.NotContains(g.t, w.Header().Get("Cache-Control"), "immutable", path)
	}
	return w.Body.String()
}

const lookup = "/sumdb/sum.corp.example/lookup/"

// A look-up fetches what is not held, whole and once; what is missing or down is
// recorded nowhere.
func TestLedgerLookUp(t *testing.T) {
	g := newLedgered(t, athens.Options{Private: "corp.example", MissingTTL: -1, DownTTL: -1})
	m := module.Version{Path: "corp.example/m", Version: "v1.0.0"}
	v := g.vcs.Add(m, "m.go", "package m\n")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			w, _ := athenstest.Ask(t.Context(), g, lookup+"corp.example/m@v1.0.0")
			assert.Equal(t, http.StatusOK, w.Code, w.Body)
			assert.True(t, strings.HasPrefix(w.Body.String(), fmt.Sprintf("0\n%s %s %s\n%s %s/go.mod %s\n\n", m.Path, m.Version, v.Sum, m.Path, m.Version, v.GoModSum)), w.Body)
		})
	}
	group.Wait()
	asked := strings.Join(g.vcs.Take(), " ")
	assert.Equal(t, 1, strings.Count(asked, "vcs.zip"), asked)
	assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, g.store, m))

	g.ask(http.StatusNotFound, lookup+"corp.example/m@v1.9.0")
	g.vcs.Fail("", "down")
	g.ask(http.StatusServiceUnavailable, lookup+"corp.example/m@v1.9.0")
	g.ask(http.StatusOK, lookup+"corp.example/m@v1.0.0")
	assert.Equal(t, 1, strings.Count(g.ask(http.StatusOK, "/index"), "\n"))
}

// What is asked for in another way is recorded as well, before it is answered.
func TestLedgerRecordsWhatIsServed(t *testing.T) {
	g := newLedgered(t, athens.Options{Prefetch: -1})
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	g.vcs.Add(m, "m.go", "package m\n")
	g.ask(http.StatusOK, "/example.com/m/@v/v1.0.0.zip")
	id, err := g.ledger.Lookup(t.Context(), m)
	require.NoError(t, err)
	require.Zero(t, id)
}

// Other content for a recorded version is neither stored nor served, nor recorded.
func TestLedgerBinds(t *testing.T) {
	g := newLedgered(t, athens.Options{})
	hash := "h1:" + strings.Repeat("A", 43) + "="
	zip, mod := module.Version{Path: "example.com/zip", Version: "v1.0.0"}, module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	v := g.vcs.Add(zip, "m.go", "package m\n")
	w := g.vcs.Add(mod, "m.go", "package m\n")
	_, err := g.ledger.Add(t.Context(), zip, hash, v.GoModSum)
	require.NoError(t, err)
	_, err = g.ledger.Add(t.Context(), mod, w.Sum, hash)
	require.NoError(t, err)
	assert.Contains(t, g.ask(http.StatusBadGateway, "/example.com/zip/@v/v1.0.0.zip"), "conflict: the .zip held is "+hash)
	assert.Contains(t, g.ask(http.StatusBadGateway, "/example.com/mod/@v/v1.0.0.mod"), "conflict: the .mod held is "+hash)
	assert.NotContains(t, athenstest.Held(t, g.store, zip), "zip")
	assert.Empty(t, athenstest.Held(t, g.store, mod))
	assert.Contains(t, g.ask(http.StatusOK, lookup+"example.com/zip@v1.0.0"), hash)
	assert.NotZero(t, g.Stats().Conflicts)
}

// What a client may ask of the database gets the right status, and none is computed
// for ever.
func TestLedgerBadRequests(t *testing.T) {
	g := newLedgered(t, athens.Options{})
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	g.vcs.Add(m, "m.go", "package m\n")
	g.ask(http.StatusOK, lookup+"example.com/m@v1.0.0")
	const db = "/sumdb/sum.corp.example/"
	for path, status := range map[string]int{
		"supported":           http.StatusOK,
		"latest":              http.StatusOK,
		"tile/8/0/000.p/1":    http.StatusOK,
		"tile/8/data/000.p/1": http.StatusOK,
		"tile/8/0/000":        http.StatusNotFound,
		"tile/8/0/000.p/2":    http.StatusNotFound,
		"tile/8/0/001.p/1":    http.StatusNotFound,
		"tile/8/1/000.p/1":    http.StatusNotFound,
		"tile/8/63/000.p/1":   http.StatusNotFound,
		"tile/8/data/000":     http.StatusNotFound,
		"tile/8/data/x999/x999/x999/x999/x999/999": http.StatusNotFound,
		"tile/8/0/x999/x999/x999/x999/x999/999":    http.StatusNotFound,
		"tile/1/0/000.p/1":                         http.StatusNotFound,
		"tile/30/0/000.p/1":                        http.StatusNotFound,
		"tile/30/0/000.p/1073741823":               http.StatusNotFound,
		"tile/30/data/000":                         http.StatusNotFound,
		"tile/8/0/000.p/257":                       http.StatusBadRequest,
		"tile/8/0/000.p/0":                         http.StatusBadRequest,
		"tile/31/0/000":                            http.StatusBadRequest,
		"tile/8/64/000":                            http.StatusNotFound,
		"tile/8/999999999/000.p/1":                 http.StatusNotFound,
		"tile/8/-1/000":                            http.StatusBadRequest,
		"tile/8/0/1":                               http.StatusBadRequest,
		"tile/x":                                   http.StatusBadRequest,
		"lookup/example.com/m":                     http.StatusBadRequest,
		"lookup/example.com/m@":                    http.StatusBadRequest,
		"lookup/example.com/m@v1":                  http.StatusBadRequest,
		"lookup/example.com/m@latest":              http.StatusBadRequest,
		"lookup/example.com/M@v1.0.0":              http.StatusBadRequest,
		"other":                                    http.StatusNotFound,
	} {
		g.ask(status, db+path)
	}
	g.ask(http.StatusNotFound, "/sumdb/sum.other.example/supported")
}

// The index is that of the ledger, in pages, for those who may see it.
func TestLedgerIndex(t *testing.T) {
	secret := "example.com/m2"
	allow := func(r *http.Request, m module.Version) error {
		if m.Path == secret && r.Header.Get("Authorization") == "" {
			return &athens.RefusedError{Status: http.StatusUnauthorized}
		}
		return nil
	}
	g := newLedgered(t, athens.Options{Allow: allow})
	var paths []string
	for i := range 5 {
		m := module.Version{Path: fmt.Sprintf("example.com/m%d", i), Version: "v1.0.0"}
		paths = append(paths, m.Path)
		_, err := g.ledger.Add(t.Context(), m, "h1:"+strings.Repeat("A", 43)+"=", "h1:"+strings.Repeat("B", 43)+"=")
		require.NoError(t, err)
	}
	all := strings.SplitAfter(g.ask(http.StatusOK, "/index"), "\n")
	require.Len(t, all, 5) // without the secret one, and what is behind the last line
	for i, line := range all[:4] {
		path := paths[i]
		if i >= 2 {
			path = paths[i+1]
		}
		assert.Regexp(t, `^\{"Path":"`+path+`","Version":"v1\.0\.0","Timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"\}\n$`, line)
	}
	at := strings.TrimSuffix(strings.SplitN(all[1], `"Timestamp":"`, 2)[1], "\"}\n")
	assert.Equal(t, strings.Join(all[1:], ""), g.ask(http.StatusOK, "/index?since="+at))
	assert.Equal(t, all[1]+all[2], g.ask(http.StatusOK, "/index?limit=2&since="+at))
	assert.Equal(t, strings.Join(all, ""), g.ask(http.StatusOK, "/index?limit=100000"))
	assert.Empty(t, g.ask(http.StatusOK, "/index?since=2100-01-01T00:00:00Z"))
	for _, bad := range []string{"limit=0", "limit=-1", "limit=x", "since=yesterday", "since=2100"} {
		g.ask(http.StatusBadRequest, "/index?"+bad)
	}

	without, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{Private: "none"})
	require.NoError(t, err)
	w, _ := athenstest.Ask(t.Context(), without, "/index")
	assert.Equal(t, http.StatusNotFound, w.Code)
	assert.Contains(t, w.Body.String(), "a server without a ledger")
}

// manyHidden is a ledger whose index has many entries, of which clients may see the last.
type manyHidden struct {
	athens.Ledger
	entries int
	looked  *int
}

func (l manyHidden) Since(_ context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error {
	for i := range l.entries {
		m, at := module.Version{Path: "example.com/secret", Version: "v1.0.0"}, time.Unix(int64(i+1), 7)
		if i == l.entries-1 {
			m.Path = "example.com/seen"
		}
		if at.Before(since) {
			continue
		}
		if *l.looked++; !yield(m, at) {
			break
		}
	}
	return nil
}

// A request for the index looks at so many entries and no more, and says where to go on
// although it may show none of them.
func TestLedgerIndexIsBounded(t *testing.T) {
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	l, err := ledger.New(t.TempDir(), key, nil)
	require.NoError(t, err)
	var looked int
	h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{
		Ledger: manyHidden{l, 45_000, &looked}, Private: "none",
		Allow: func(_ *http.Request, m module.Version) error {
			if m.Path == "example.com/secret" {
				return &athens.RefusedError{Status: http.StatusUnauthorized}
			}
			return nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, h.Shutdown(context.Background()))
		require.NoError(t, l.Close())
	})
	link := regexp.MustCompile(`^<(\?limit=7&since=[^>]*)>; rel="next"$`)
	path := "/index?limit=7"
	for page := range 3 {
		looked = 0
		w, _ := athenstest.Ask(t.Context(), h, path)
		require.Equal(t, http.StatusOK, w.Code)
		require.LessOrEqual(t, looked, 20_001)
		if page == 2 {
			assert.Equal(t, `{"Path":"example.com/seen","Version":"v1.0.0","Timestamp":"1970-01-01T12:30:00.000000007Z"}`+"\n", w.Body.String())
			assert.Empty(t, w.Header().Get("Link"))
			break
		}
		assert.Empty(t, w.Body.String())
		next := link.FindStringSubmatch(w.Header().Get("Link"))
		require.NotNil(t, next, "%q", w.Header())
		path = "/index" + next[1]
	}
}

// Observers learn of each addition, and how many records there are.
func TestLedgerIsObserved(t *testing.T) {
	events := make(chan athens.Event, 100)
	g := newLedgered(t, athens.Options{Prefetch: -1, Observe: func(e athens.Event) { events <- e }})
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	g.vcs.Add(m, "m.go", "package m\n")
	require.Zero(t, g.Stats().LedgerRecords)
	g.ask(http.StatusOK, "/example.com/m/@v/v1.0.0.zip")
	for e := range events {
		if e.Op == athens.OpRecord {
			assert.Equal(t, m, e.Module)
			assert.Equal(t, athens.OutcomeDone, e.Outcome)
			break
		}
	}
	assert.Equal(t, int64(1), g.Stats().LedgerRecords)
	counts := metrics.New()
	counts.Track(g.Handler, nil)
	w := httptest.NewRecorder()
	counts.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Contains(t, w.Body.String(), "\nathens_ledger_records 1\n")
}
