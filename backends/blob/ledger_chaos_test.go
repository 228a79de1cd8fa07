package blob_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// filled is a service with a ledger of n records.
func filled(t *testing.T, key string, n int) *fakeService {
	t.Helper()
	s := newFakeService()
	store, _ := s.store(t)
	l := openLedger(t, store, key, nil)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			_, err := ledgertest.NewSample(i, "").Add(t.Context(), l)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	require.False(t, t.Failed())
	return s
}

// witness knows all that was answered.
type witness struct {
	mu    sync.Mutex
	heads map[int64]tlog.Hash
	ids   map[int64]ledgertest.Sample
	forks []error
}

func newWitness() *witness {
	return &witness{heads: map[int64]tlog.Hash{}, ids: map[int64]ledgertest.Sample{}}
}

// add adds a sample, and keeps what was answered.
func (w *witness) add(t *testing.T, l *blob.Ledger, s ledgertest.Sample) error {
	id, err := s.Add(t.Context(), l)
	tree, headErr := ledgertest.Head(t.Context(), l)
	w.mu.Lock()
	defer w.mu.Unlock()
	if other, ok := w.ids[id]; err == nil && ok && other != s {
		w.forks = append(w.forks, fmt.Errorf("record %d is %s and %s", id, other.Module, s.Module))
	}
	if err == nil {
		w.ids[id] = s
		if headErr == nil && tree.N <= id {
			w.forks = append(w.forks, fmt.Errorf("record %d is not in the tree of %d", id, tree.N))
		}
	}
	if headErr == nil {
		if hash, ok := w.heads[tree.N]; ok && hash != tree.Hash {
			w.forks = append(w.forks, fmt.Errorf("two heads of %d records differ", tree.N))
		}
		w.heads[tree.N] = tree.Hash
	}
	return err
}

// agrees checks that a ledger has all that was answered.
func (w *witness) agrees(t *testing.T, l *blob.Ledger) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(t, w.forks)
	for id, s := range w.ids {
		got, err := l.Lookup(t.Context(), s.Module)
		require.NoError(t, err)
		require.Equal(t, id, got)
		require.NoError(t, s.Proved(t.Context(), l))
	}
	for n, hash := range w.heads {
		require.NoError(t, ledgertest.Extends(t.Context(), l, tlog.Tree{N: n, Hash: hash}))
	}
}

// A process dies at each request of an addition, which completes a tile, before the
// service has done it and after. What was answered stays, the others go on, and there is
// one history.
func TestLedgerWriterDies(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	base := filled(t, key, 255)
	for nth, done := 0, false; !done; nth++ {
		for _, late := range []bool{false, true} {
			what := fmt.Sprintf("request %d, late %v", nth, late)
			service, w := base.copied(), newWitness()
			dying, bucket := service.store(t)
			a := openLedger(t, dying, key, nil)
			other, _ := service.store(t)
			b := openLedger(t, other, key, &blob.LedgerOptions{HeadTTL: -1})
			bucket.dieAt(nth, late)
			samples := []ledgertest.Sample{ledgertest.NewSample(300, "a"), ledgertest.NewSample(301, "a")}
			answered := 0
			for _, s := range samples {
				if w.add(t, a, s) == nil {
					answered++
				}
			}
			require.True(t, bucket.died() || answered == 2, what)
			done = !bucket.died()

			err := w.add(t, b, ledgertest.NewSample(300, "b"))
			if answered > 0 {
				_, ok := errors.AsType[*athens.ConflictError](err)
				require.True(t, ok, "%s: %v", what, err)
			}
			require.NoError(t, w.add(t, b, ledgertest.NewSample(302, "")), what)
			w.agrees(t, b)
			fresh, _ := service.store(t)
			w.agrees(t, openLedger(t, fresh, key, nil))
		}
	}
}

// Several processes add the same and different hashes of the same versions at once, and
// are killed at random. What was answered stays, and there is one history.
func TestLedgerChaos(t *testing.T) {
	t.Parallel()
	kills, random := modtest.Soak(8, 300), modtest.Rand(t)
	const replicas = 3
	key, service, w := newKey(t), newFakeService(), newWitness()
	var group sync.WaitGroup
	for replica := range replicas {
		mine := rand.New(rand.NewPCG(random.Uint64(), 0))
		group.Go(func() {
			for range kills {
				store, bucket := service.store(t)
				bucket.dieAt(mine.IntN(80), mine.IntN(2) == 0)
				l, err := blob.NewLedger(t.Context(), store, key, nil)
				if err != nil {
					assert.True(t, bucket.died(), "%v", err)
					continue
				}
				var adders sync.WaitGroup
				for range 3 {
					seed := mine.Uint64()
					adders.Go(func() {
						mine := rand.New(rand.NewPCG(seed, 0))
						for !bucket.died() {
							i := mine.IntN(40 * kills)
							err := w.add(t, l, ledgertest.NewSample(i, fmt.Sprint(mine.IntN(2))))
							_, conflict := errors.AsType[*athens.ConflictError](err)
							assert.True(t, err == nil || conflict || bucket.died(), "replica %d: %v", replica, err)
						}
					})
				}
				adders.Wait()
				assert.NoError(t, l.Close())
			}
		})
	}
	group.Wait()
	store, _ := service.store(t)
	l := openLedger(t, store, key, nil)
	w.agrees(t, l)
	seen := map[string]bool{}
	require.NoError(t, l.Since(t.Context(), zero, func(m module.Version, _ time.Time) bool {
		require.False(t, seen[m.Version], "%s is recorded twice", m.Version)
		seen[m.Version] = true
		return true
	}))
	t.Logf("%d records in %d bundles, %d heads seen", len(seen), len(service.keys("sumdb/sum.corp.example/log/")), len(w.heads))
}

// A service that stops honoring conditions is noticed by the next addition, and nothing is
// signed. Once it honors them again, the ledger goes on.
func TestLedgerWithoutConditions(t *testing.T) {
	t.Parallel()
	key, w := newKey(t), newWitness()
	service := filled(t, key, 3)
	one, _ := service.store(t)
	two, _ := service.store(t)
	a, b := openLedger(t, one, key, nil), openLedger(t, two, key, nil)
	service.set(true)
	for i, l := range []*blob.Ledger{a, b, a} {
		err := w.add(t, l, ledgertest.NewSample(10+i, ""))
		require.ErrorContains(t, err, "If-None-Match")
		require.False(t, athens.Final(err))
	}
	require.Len(t, w.heads, 1)
	fresh, _ := service.store(t)
	_, err := blob.NewLedger(t.Context(), fresh, key, nil)
	require.ErrorContains(t, err, "If-None-Match")
	service.set(false)
	require.NoError(t, w.add(t, a, ledgertest.NewSample(20, "")))
	require.NoError(t, w.add(t, b, ledgertest.NewSample(21, "")))
	w.agrees(t, a)
	w.agrees(t, openLedger(t, fresh, key, nil))
}

// Two processes that add at the same time, while the service stops honoring conditions and
// begins again, never sign two trees of one size.
func TestLedgerRaceWithoutConditions(t *testing.T) {
	t.Parallel()
	key, service, w := newKey(t), newFakeService(), newWitness()
	var ledgers []*blob.Ledger
	for range 2 {
		store, _ := service.store(t)
		ledgers = append(ledgers, openLedger(t, store, key, nil))
	}
	var group sync.WaitGroup
	for replica, l := range ledgers {
		group.Go(func() {
			for i := range 40 {
				if replica == 0 {
					service.set(i >= 10 && i < 20)
				}
				_ = w.add(t, l, ledgertest.NewSample(i, fmt.Sprint(replica))) // it may fail
			}
		})
	}
	group.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(t, w.forks)
}
