package follow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger/follow"
)

// atOnce is a scheduler that runs each fill once, at once.
type atOnce struct {
	handler *athens.Handler
	runs    atomic.Int64
}

func (q *atOnce) Schedule(_ context.Context, f athens.Fill, _ time.Duration) error {
	q.runs.Add(1)
	go q.handler.Fill(context.Background(), f)
	return nil
}

func (q *atOnce) Run(ctx context.Context, _ func(context.Context, athens.Fill) error) error {
	<-ctx.Done()
	return nil
}

// served is a follower with a store and a handler.
type served struct {
	*follow.Follower
	store   *athenstest.Store
	handler *athens.Handler
}

// serve makes a handler whose misses come from a source, and follows until the test ends.
func serve(t *testing.T, p *primary, public string, source *athenstest.Source, opts *follow.Options) *served {
	t.Helper()
	s := &served{newFollower(t, t.TempDir(), public, p, opts), athenstest.NewStore(t), nil}
	o := athens.Options{Upstream: athenstest.NewUpstream(source, ""), MissFetch: true, Private: "none", Prefetch: -1}
	s.Watch(&o)
	var err error
	s.handler, err = athens.NewHandler(s.store, &o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, s.store, &atOnce{handler: s.handler})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		assert.NoError(t, s.handler.Shutdown(context.Background()))
	})
	return s
}

// TestStoresOnlyTheRecorded lets a primary give other files than it has recorded: of some
// versions the zip, of some the go.mod. These are not stored, and tried again; the right
// ones are there without having been asked for. Nobody else is asked, whatever the path.
func TestStoresOnlyTheRecorded(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p, source := newPrimary(t, key), athenstest.NewSource(t, "primary")
	at := func(path string) module.Version { return module.Version{Path: path, Version: "v1.0.0"} }
	right := []module.Version{at("example.com/right"), at("10.0.0.1/private"), at("corp.internal/secret")}
	wrongZip, wrongMod, lost := at("example.com/zip"), at("example.com/mod"), at("example.com/lost")
	record := func(m module.Version, sum, modSum string) {
		_, err := p.Add(t.Context(), m, sum, modSum)
		require.NoError(t, err)
	}
	other := athenstest.NewVersion(t, at("example.com/other"), "go.mod", "module example.com/other\n", "m.go", "package other\n")
	for _, m := range append(right, wrongZip, wrongMod) {
		v := source.Add(m)
		switch m {
		case wrongZip:
			record(m, other.Sum, v.GoModSum)
		case wrongMod:
			record(m, v.Sum, other.GoModSum)
		default:
			record(m, v.Sum, v.GoModSum)
		}
	}
	record(lost, other.Sum, other.GoModSum)
	s := serve(t, p, public, source, &follow.Options{Interval: 10 * time.Millisecond, RetryInterval: 20 * time.Millisecond})
	modtest.Eventually(t, "what is right is here, and what is wrong has failed", func() bool {
		status := s.Status()
		return status.Held == int64(len(right)) && status.Failed+status.Pending == 3
	})
	for _, m := range right {
		assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, s.store, m), m)
	}
	assert.NotContains(t, athenstest.Held(t, s.store, wrongZip), "zip")
	for _, m := range []module.Version{wrongMod, lost} {
		assert.Empty(t, athenstest.Held(t, s.store, m), m)
	}
	assert.NotZero(t, s.handler.Stats().Conflicts)
	assert.EqualValues(t, 3, s.Status().Lag)

	// A client gets the same answer.
	w, _ := athenstest.Ask(t.Context(), s.handler, "/example.com/mod/@v/v1.0.0.mod")
	assert.Equal(t, 502, w.Code)
}

// TestMiss has a version that the primary has not recorded: what it says there is no such
// version of is not stored, even if it gives the files.
func TestMiss(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p, source := newPrimary(t, key), athenstest.NewSource(t, "primary")
	source.Add(athenstest.Example)
	s := serve(t, p, public, source, nil)
	for _, path := range []string{athenstest.ModPath, athenstest.ZipPath, "/sumdb/" + ledgerName + "/lookup/" + athenstest.Example.String()} {
		w, cut := athenstest.Ask(t.Context(), s.handler, path)
		assert.True(t, cut || w.Code == 404, "%s: %d %s", path, w.Code, w.Body)
	}
	assert.NotContains(t, athenstest.Held(t, s.store, athenstest.Example), "zip")
	assert.NotContains(t, athenstest.Held(t, s.store, athenstest.Example), "mod")
}

// TestRecheck has the store lose a version that was there: it is fetched again once somebody
// says so, and counted as missing until then.
func TestRecheck(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p, source := newPrimary(t, key), athenstest.NewSource(t, "primary")
	v := source.Add(athenstest.Example)
	_, err := p.Add(t.Context(), athenstest.Example, v.Sum, v.GoModSum)
	require.NoError(t, err)
	s := serve(t, p, public, source, &follow.Options{Interval: 10 * time.Millisecond, RetryInterval: time.Hour})
	here := func() bool { return s.Status().Held == 1 && len(athenstest.Held(t, s.store, athenstest.Example)) == 3 }
	modtest.Eventually(t, "it is here", here)
	for range 2 {
		require.NoError(t, s.store.Evict(t.Context(), athenstest.Example))
		s.Recheck(module.Version{Path: "example.com/unknown", Version: "v1.0.0"})
		s.Recheck(athenstest.Example)
		modtest.Eventually(t, "it is here again", here)
	}
}
