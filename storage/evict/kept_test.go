package evict_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/evict"
)

// Private versions alone exceed the bound: that is logged once, and a Put does not ask about
// each of them again. Public ones still come and go, and rules that change count from the
// next count on.
func TestOnlyPrivate(t *testing.T) {
	var log bytes.Buffer
	const held = 50
	asked, all, private := 0, true, map[module.Version]bool{}
	for n := range held {
		private[version(n)] = true
	}
	s, err := evict.New(storage.NewMemory(), 10*each, &evict.Options{
		Keep:   func(_ context.Context, m module.Version) bool { asked++; return all && private[m] },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	for n := range held {
		require.NoError(t, put(t.Context(), s, version(n), 1000))
	}
	assert.LessOrEqual(t, asked, held, "each is asked about once")
	assert.True(t, s.Stats().Exceeded)
	asked = 0
	for n := range 100 {
		require.NoError(t, put(t.Context(), s, version(held+n), 1000))
	}
	assert.LessOrEqual(t, asked, 3*100, "about the public ones alone")
	stats := s.Stats()
	assert.Equal(t, held+1, stats.Versions, "and the one that came last")
	assert.EqualValues(t, 99, stats.Evicted)
	assert.EqualValues(t, 99*each, stats.EvictedBytes)
	assert.WithinDuration(t, time.Now(), stats.LastEviction, time.Hour)
	for n := range held {
		assert.True(t, use(t, s, version(n)))
	}
	assert.Equal(t, 1, strings.Count(log.String(), "exceeds its bound"), "%s", &log)

	for n := range 20 {
		use(t, s, version(n)) // the others go first
	}
	all = false
	require.NoError(t, s.Recount(t.Context()))
	stats = s.Stats()
	assert.LessOrEqual(t, stats.Bytes, int64(10*each))
	assert.False(t, stats.Exceeded)
	for n := range held {
		assert.Equal(t, n >= 11 && n < 20, use(t, s, version(n)), n)
	}
}

// stuck is a medium that evicts nothing.
type stuck struct {
	evict.Medium
	tries int
}

func (m *stuck) Evict(context.Context, module.Version) error {
	m.tries++
	return errors.New("read-only")
}

// A medium that can't evict is not asked again and again.
func TestStuckMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		medium := &stuck{Medium: storage.NewMemory()}
		s, err := evict.New(medium, 10*each, nil)
		require.NoError(t, err)
		for n := range 60 {
			require.NoError(t, put(t.Context(), s, version(n), 1000))
		}
		assert.Equal(t, 3, medium.tries)
		time.Sleep(2 * time.Minute)
		require.NoError(t, put(t.Context(), s, version(60), 1000))
		assert.Equal(t, 6, medium.tries)
		assert.False(t, s.Stats().Exceeded, "it could be evicted")
	})
}
