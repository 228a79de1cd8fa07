package budget

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemoryIsShared(t *testing.T) {
	b := New(64<<20, 1<<30)
	first, second := b.Start(t.Context()), b.Start(t.Context())
	require.NoError(t, first.Grow(40<<20))
	assert.False(t, second.TryGrow(10<<20), "the large part has 48 MiB")
	small := b.Start(t.Context())
	require.NoError(t, small.Grow(smallBytes), "a small job has a part that large ones can't take")
	first.End()
	assert.True(t, second.TryGrow(10<<20))
	second.Shrink(5 << 20)
	second.End()
	small.End()
	assert.Equal(t, b.large.size, b.large.free)
	assert.Equal(t, b.small.size, b.small.free)
	var limit *LimitError
	require.ErrorAs(t, first.Grow(49<<20), &limit)
	assert.ErrorContains(t, limit, "MaxWorkBytes")
}

func TestWaitingForMemoryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(64<<20, 1<<30)
		first, second := b.Start(t.Context()), b.Start(t.Context())
		require.NoError(t, first.Grow(30<<20))
		start := time.Now()
		assert.ErrorAs(t, second.Grow(30<<20), new(*BusyError))
		assert.Equal(t, maxWait, time.Since(start))

		go func() {
			time.Sleep(time.Second)
			first.End()
		}()
		require.NoError(t, second.Grow(30<<20))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, b.Start(ctx).Grow(30<<20), context.DeadlineExceeded)
		second.End()
		assert.Equal(t, b.large.size, b.large.free)
	})
}

func TestStepsEnd(t *testing.T) {
	j := New(1<<20, 1000).Start(t.Context())
	defer j.End()
	j.Allow(1000)
	require.NoError(t, j.Step(2000))
	var limit *LimitError
	require.ErrorAs(t, j.Step(1), &limit)
	assert.ErrorContains(t, limit, "MaxWorkSteps")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, New(1<<20, 1000).Start(ctx).Step(1), context.Canceled)
	assert.NoError(t, (*Job)(nil).Step(1<<62))
	assert.NoError(t, (*Job)(nil).Grow(1<<62))
}

// Jobs that work for long take turns, and one that works for a moment only needs
// none.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1<<20, 1<<60)
		var working, most atomic.Int64
		for range 50 {
			go func() {
				j := b.Start(t.Context())
				defer j.End()
				for range 20 {
					if j.Step(freeSteps) != nil {
						t.Error("no steps left")
					}
					n := working.Add(1)
					for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
					}
					time.Sleep(time.Second)
					working.Add(-1)
				}
			}()
		}
		time.Sleep(time.Second / 2)
		quick := b.Start(t.Context())
		start := time.Now()
		require.NoError(t, quick.Step(freeSteps-1))
		assert.Zero(t, time.Since(start))
		time.Sleep(time.Hour)
		assert.LessOrEqual(t, most.Load(), int64(max(2, runtime.GOMAXPROCS(0))))
		assert.Empty(t, b.turns)
	})
}
