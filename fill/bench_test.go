package fill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

// What a redirected miss pays, in memory and with a journal on disk: a version
// that is new, one that is pending already, and one that a full queue refuses.
func BenchmarkSchedule(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		benchmarkSchedule(b, func() (*Queue, error) { return New(nil) })
	})
	b.Run("journal", func(b *testing.B) {
		benchmarkSchedule(b, func() (*Queue, error) { return Open(b.TempDir(), nil) })
	})
}

func benchmarkSchedule(b *testing.B, create func() (*Queue, error)) {
	const limit = 10_000
	fills := make([]athens.Fill, limit+1)
	for i := range fills {
		fills[i] = whole(i)
	}
	full := func() *Queue {
		q, err := create()
		require.NoError(b, err)
		b.Cleanup(func() { _ = q.Close() })
		for _, f := range fills[:limit] {
			require.NoError(b, q.Schedule(b.Context(), f, time.Hour))
		}
		return q
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		var q *Queue
		b.Cleanup(func() { _ = q.Close() })
		for i := 0; b.Loop(); i++ {
			if i%limit == 0 {
				b.StopTimer()
				if q != nil {
					_ = q.Close()
				}
				q, _ = create()
				b.StartTimer()
			}
			_ = q.Schedule(b.Context(), fills[i%limit], time.Hour)
		}
	})
	b.Run("pending", func(b *testing.B) {
		b.ReportAllocs()
		q := full()
		for i := 0; b.Loop(); i++ {
			_ = q.Schedule(b.Context(), fills[i%limit], time.Hour)
		}
	})
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		q := full()
		for b.Loop() {
			_ = q.Schedule(b.Context(), fills[limit], time.Hour)
		}
	})
	b.Run("status", func(b *testing.B) {
		b.ReportAllocs()
		q := full()
		for b.Loop() {
			q.Status()
		}
	})
}

func TestScheduleAllocatesLittle(t *testing.T) {
	q, err := New(nil)
	require.NoError(t, err)
	fills := make([]athens.Fill, 2000)
	for i := range fills {
		fills[i] = small(i)
	}
	i := 0
	assert.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
		_ = q.Schedule(t.Context(), fills[i], time.Hour)
		i++
	}), 3.0, "a new version: the job, its name, the map's growth")
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		_ = q.Schedule(t.Context(), fills[0], time.Minute)
	}), "a pending one")
}
