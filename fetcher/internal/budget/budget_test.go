package budget

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unused fails the test unless all memory is free.
func unused(t *testing.T, b *Budget) {
	t.Helper()
	m := b.memory
	assert.Equal(t, m.size[:large], m.free[:])
	assert.Nil(t, m.alone)
	assert.Empty(t, m.queue)
}

func TestMemoryIsShared(t *testing.T) {
	b := New(64<<20, 1<<30)
	first, second := b.Start(t.Context()), b.Start(t.Context())
	require.NoError(t, first.Grow(40<<20))
	assert.True(t, second.TryGrow(8<<20), "the medium part")
	assert.False(t, second.TryGrow(1), "it is full")
	quick := b.Start(t.Context())
	require.NoError(t, quick.Grow(smallBytes), "a small job has a part that large ones can't take")
	assert.False(t, quick.TryGrow(1))
	second.Shrink(5 << 20)
	assert.True(t, quick.TryGrow(1))
	third := b.Start(t.Context())
	first.End()
	assert.False(t, third.TryGrow(40<<20), "the large part is not for what a job can do without")
	require.NoError(t, third.Grow(40<<20))
	for _, j := range []*Job{second, quick, third} {
		j.End()
	}
	unused(t, b)
	var limit *LimitError
	require.ErrorAs(t, first.Grow(49<<20), &limit)
	assert.ErrorContains(t, limit, "MaxWorkBytes")
}

// Jobs that each hold memory and want more all end, in the order in which they came.
func TestLargeJobsDoNotFailEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(160<<20, 1<<30)
		var ended []int
		for i := range 15 {
			go func() {
				j := b.Start(t.Context())
				defer j.End()
				time.Sleep(time.Duration(i) * time.Millisecond)
				for range 100 {
					if !assert.NoError(t, j.Grow(1<<20), "job %d", i) {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
				ended = append(ended, i) // one job at a time comes here
			}()
		}
		time.Sleep(time.Second)
		start := time.Now()
		quick := b.Start(t.Context())
		require.NoError(t, quick.Grow(smallBytes))
		assert.Zero(t, time.Since(start), "a small job does not wait for them")
		quick.End()
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, ended, 15)
		unused(t, b)
	})
}

func TestWaitingForMemoryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(64<<20, 1<<30)
		first, second := b.Start(t.Context()), b.Start(t.Context())
		require.NoError(t, first.Grow(30<<20))
		start := time.Now()
		assert.ErrorAs(t, second.Grow(30<<20), new(*BusyError))
		assert.Equal(t, maxWait, time.Since(start))

		for range b.memory.mostWaiting() {
			go func() { assert.ErrorIs(t, b.Start(t.Context()).Grow(30<<20), context.Canceled) }()
		}
		synctest.Wait()
		start = time.Now()
		assert.ErrorAs(t, second.Grow(30<<20), new(*BusyError), "too many wait already")
		assert.Zero(t, time.Since(start))
	})
	synctest.Test(t, func(t *testing.T) {
		b := New(64<<20, 1<<30)
		first, second := b.Start(t.Context()), b.Start(t.Context())
		require.NoError(t, first.Grow(30<<20))
		go func() {
			time.Sleep(time.Second)
			first.End()
		}()
		require.NoError(t, second.Grow(30<<20))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, b.Start(ctx).Grow(30<<20), context.DeadlineExceeded)
		second.End()
		unused(t, b)
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

// On one processor, large jobs do a moment's work at most each time that another goroutine
// waits for the processor.
func TestLargeJobsYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b := New(1<<20, 1<<60)
	ctx, cancel := context.WithCancel(t.Context())
	var steps atomic.Int64
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			j := b.Start(ctx)
			defer j.End()
			const n = 1 << 10
			for data := make([]byte, n); j.Step(n) == nil; steps.Add(n) {
				for i := range data {
					data[i] = data[(i*7)%n] + 1
				}
			}
		})
	}
	for steps.Load() < 8*freeSteps { // until all of them are large
		runtime.Gosched()
	}
	const waits = 50
	before := steps.Load()
	for range waits {
		runtime.Gosched()
	}
	each := (steps.Load() - before) / waits
	cancel()
	running.Wait()
	assert.Less(t, each, int64(16*contextSteps), "steps of large jobs while another goroutine waited")
}
