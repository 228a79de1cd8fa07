package fill

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// version is a module version of its own for each n.
func version(n int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/mod%d", n), Version: "v1.0.0"}
}

func small(n int) athens.Fill { return athens.Fill{Module: version(n)} }
func whole(n int) athens.Fill { return athens.Fill{Module: version(n), Zip: true} }

// worker runs a queue in a bubble and writes down what starts when, as
// "0 zip at 3s" for whole(0).
type worker struct {
	*Queue
	t      *testing.T
	begin  time.Time
	answer func(ctx context.Context, f athens.Fill) error
	stop   context.CancelFunc
	ended  chan struct{} // closed when Run has returned

	mu   sync.Mutex
	runs []string
}

// start makes a queue and runs it until the test ends.
func start(t *testing.T, opts *Options, answer func(context.Context, athens.Fill) error) *worker {
	q, err := New(opts)
	require.NoError(t, err)
	w := &worker{Queue: q, t: t, begin: time.Now(), answer: answer, ended: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() {
		defer close(w.ended)
		assert.NoError(t, q.Run(ctx, w.fill))
	}()
	t.Cleanup(w.end)
	return w
}

// end ends Run's context and waits for Run.
func (w *worker) end() {
	w.stop()
	<-w.ended
}

func (w *worker) fill(ctx context.Context, f athens.Fill) error {
	kind := "mod"
	if f.Zip {
		kind = "zip"
	}
	w.mu.Lock()
	w.runs = append(w.runs, fmt.Sprintf("%s %s at %v", strings.TrimPrefix(f.Module.Path, "example.com/mod"), kind, time.Since(w.begin)))
	w.mu.Unlock()
	return w.answer(ctx, f)
}

func (w *worker) schedule(f athens.Fill, after time.Duration) {
	w.t.Helper()
	require.NoError(w.t, w.Schedule(w.t.Context(), f, after))
}

// saw checks what has started so far.
func (w *worker) saw(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Equal(w.t, want, w.runs)
}

// takes is an answer that needs d.
func takes(d time.Duration) func(context.Context, athens.Fill) error {
	return func(ctx context.Context, _ athens.Fill) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestEarliestAskingWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, takes(0))
		synctest.Wait() // Run waits for nothing yet
		w.schedule(small(0), 10*time.Second)
		synctest.Wait() // Run waits for the tenth second
		w.schedule(small(0), 3*time.Second)
		w.schedule(small(0), 20*time.Second)
		time.Sleep(time.Hour)
		w.saw("0 mod at 3s")
	})
}

func TestLessThanNoDelayIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, takes(0))
		w.schedule(small(0), -time.Hour)
		w.saw("0 mod at 0s")
	})
}

func TestZipJoinsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, takes(0))
		w.schedule(small(0), 3*time.Second)
		w.schedule(whole(0), 10*time.Second)
		w.schedule(small(0), 10*time.Second)
		time.Sleep(time.Hour)
		w.saw("0 zip at 3s")
	})
}

func TestSameOrSmallerDuringRunIsDoneWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, takes(10*time.Second))
		w.schedule(whole(0), 0)
		synctest.Wait()
		w.schedule(whole(0), 0)
		w.schedule(small(0), 0)
		time.Sleep(time.Hour)
		w.saw("0 zip at 0s")
	})
}

func TestZipDuringRunFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, takes(10*time.Second))
		w.schedule(small(0), 0)
		synctest.Wait()
		w.schedule(whole(0), 30*time.Second)
		w.schedule(whole(0), 20*time.Second)
		w.schedule(small(0), 0) // it comes anyway, and the zip then too
		time.Sleep(time.Hour)
		w.saw("0 mod at 0s", "0 zip at 10s")

		w.schedule(small(1), 0)
		synctest.Wait()
		w.schedule(whole(1), 30*time.Second)
		time.Sleep(time.Hour)
		w.saw("0 mod at 0s", "0 zip at 10s", "1 mod at 1h0m0s", "1 zip at 1h0m30s")
	})
}

func TestZipDuringRunThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := false
		w := start(t, &Options{MinRetryDelay: time.Minute, MaxRetryDelay: time.Minute}, func(ctx context.Context, f athens.Fill) error {
			_ = takes(time.Second)(ctx, f)
			if failed {
				return nil
			}
			failed = true
			return errors.New("down")
		})
		w.schedule(small(0), 0)
		synctest.Wait()
		w.schedule(whole(0), 0)
		time.Sleep(2 * time.Second)
		pending := w.Status().Pending
		require.Len(t, pending, 1, "the two have become one, which waits")
		assert.True(t, pending[0].Zip)
		assert.Equal(t, 1, pending[0].Attempts)
		time.Sleep(time.Hour)
		assert.EqualValues(t, 1, w.Status().Counts.Done)
	})
}

func TestZipDuringRunThatFailsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, func(ctx context.Context, f athens.Fill) error {
			_ = takes(time.Second)(ctx, f)
			if !f.Zip {
				return &athens.InvalidError{Path: f.Module.Path, Err: errors.New("a bad .info")}
			}
			return nil
		})
		w.schedule(small(0), 0)
		synctest.Wait()
		w.schedule(whole(0), 0)
		time.Sleep(time.Hour)
		w.saw("0 mod at 0s", "0 zip at 1s")
		s := w.Status()
		assert.EqualValues(t, 1, s.Counts.Failed)
		assert.Empty(t, s.Failed, "done since")
		assert.EqualValues(t, 1, s.Counts.Done)
	})
}

func TestAskingDoesNotShortenTheWaitAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &Options{MinRetryDelay: time.Minute}, func(context.Context, athens.Fill) error {
			return errors.New("down")
		})
		w.schedule(small(0), 0)
		synctest.Wait()
		for range 100 {
			w.schedule(whole(0), 0)
		}
		time.Sleep(29 * time.Second)
		w.saw("0 mod at 0s")
		assert.True(t, w.Status().Pending[0].Zip, "but the zip is filled then")
	})
}

func TestFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &Options{Limit: 2, Workers: 1}, takes(10*time.Second))
		w.schedule(small(0), 0)
		synctest.Wait() // it runs, and still counts
		w.schedule(small(1), 0)
		assert.ErrorIs(t, w.Schedule(t.Context(), small(2), 0), ErrFull)
		assert.NoError(t, w.Schedule(t.Context(), whole(0), 0), "it is in already")
		assert.NoError(t, w.Schedule(t.Context(), whole(1), 0), "it is in already")
		assert.EqualValues(t, 1, w.Status().Counts.Rejected)

		time.Sleep(time.Hour)
		w.schedule(small(2), 0)
		time.Sleep(time.Hour)
		assert.EqualValues(t, 4, w.Status().Counts.Done)
	})
}

func TestNamesAreBounded(t *testing.T) {
	q, err := New(nil)
	require.NoError(t, err)
	for _, c := range []struct {
		m    module.Version
		want string
	}{
		{module.Version{}, `fill: "" has no path or no version`},
		{module.Version{Path: "example.com/mod"}, `fill: "example.com/mod" has no path or no version`},
		{module.Version{Path: strings.Repeat("a", 4096), Version: "v"}, "fill: the name of a module version has 4097 bytes, more than 4096"},
	} {
		assert.EqualError(t, q.Schedule(t.Context(), athens.Fill{Module: c.m}, 0), c.want)
	}
	assert.NoError(t, q.Schedule(t.Context(), athens.Fill{Module: module.Version{Path: strings.Repeat("a", 4095), Version: "v"}}, 0))
	assert.EqualValues(t, 3, q.Status().Counts.Rejected)
}

func TestDueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &Options{Workers: 1}, takes(time.Minute))
		w.schedule(small(9), 0)
		synctest.Wait()
		for i, after := range []time.Duration{5, 3, 4, 3, 1} {
			w.schedule(small(i), after*time.Second)
		}
		time.Sleep(time.Hour)
		w.saw("9 mod at 0s", "4 mod at 1m0s", "1 mod at 2m0s", "3 mod at 3m0s", "2 mod at 4m0s", "0 mod at 5m0s")
	})
}

// Filled with the longest names and errors, what is pending stays within 5 KB for each.
func TestPendingStaysWithinBytes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	synctest.Test(t, func(t *testing.T) {
		const most = 1000
		before := heap()
		q, err := New(&Options{Limit: most})
		require.NoError(t, err)
		long := errors.New(strings.Repeat("no", 1<<20))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- q.Run(ctx, func(context.Context, athens.Fill) error { return long })
		}()
		for i := range most {
			path := fmt.Sprintf("corp.test/%d/", i)
			path += strings.Repeat("x", 4096-len(path)-len("v1.0.0"))
			require.NoError(t, q.Schedule(ctx, athens.Fill{Module: module.Version{Path: path, Version: "v1.0.0"}}, 0))
		}
		time.Sleep(500 * time.Millisecond)
		s := q.Status()
		require.EqualValues(t, most, s.Counts.Pending+s.Counts.Running)
		require.NotEmpty(t, s.Pending[0].Reason)
		assert.LessOrEqual(t, heap()-before, int64(most*5<<10)+4<<20) // and the error itself, twice
		stop()
		<-ended
		runtime.KeepAlive(q)
	})
}
