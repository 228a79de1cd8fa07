package fill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

func TestWorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		w := start(t, &Options{Workers: 3}, func(ctx context.Context, f athens.Fill) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return takes(time.Second)(ctx, f)
		})
		for i := range 30 {
			w.schedule(small(i), 0)
		}
		time.Sleep(9*time.Second + time.Second/2)
		assert.EqualValues(t, 27, w.Status().Counts.Done)
		assert.EqualValues(t, 3, w.Status().Counts.Running)
		assert.EqualValues(t, 3, most.Load())
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &Options{Timeout: time.Minute}, takes(time.Hour))
		w.schedule(small(0), 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		pending := w.Status().Pending
		require.Len(t, pending, 1)
		assert.Equal(t, "timeout after 1m0s: context deadline exceeded", pending[0].Reason)
	})
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := start(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(context.Context, athens.Fill) error {
			return &athens.UnavailableError{Source: "registry.example.com", Err: errors.New("connection refused")}
		})
		w.schedule(whole(0), 0)
		time.Sleep(24*time.Hour - time.Minute)
		require.EqualValues(t, 1, w.Status().Counts.Pending, "still tried")
		time.Sleep(2 * time.Minute)
		synctest.Wait()

		s := w.Status()
		assert.Zero(t, s.Counts.Pending)
		require.Len(t, s.Failed, 1)
		failed := s.Failed[0]
		assert.Equal(t, "registry.example.com is unavailable: connection refused", failed.Reason)
		// Between half a minute and a minute each, once it has settled.
		assert.Greater(t, failed.Attempts, 24*60)
		assert.Less(t, failed.Attempts, 24*60*2)
		assert.Contains(t, log.String(), `level=WARN msg="fill failed" module=example.com/mod0 version=v1.0.0`)

		w.schedule(whole(0), 0)
		synctest.Wait()
		assert.Equal(t, 1, w.Status().Pending[0].Attempts, "asked for again, it starts anew")
	})
}

func TestFillsResumeWhenTheSourceIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		w := start(t, nil, func(context.Context, athens.Fill) error {
			if up.Load() {
				return nil
			}
			return &athens.UnavailableError{Source: "registry", RetryAfter: time.Hour, Err: errors.New("down")}
		})
		const n = 100
		for i := range n {
			w.schedule(whole(i), 10*time.Second)
		}
		time.Sleep(5 * time.Hour)
		assert.EqualValues(t, n, w.Status().Counts.Pending)
		up.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, n, w.Status().Counts.Done)
	})
}

func TestPanicIsAnErrorOfThatFill(t *testing.T) {
	for name, end := range map[string]func(){
		"panic: a bug":                      func() { panic("a bug") },
		"panic: " + nilPanic():              func() { panic(nil) },
		"fill: the function did not return": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				n := 0
				w := start(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(context.Context, athens.Fill) error {
					if n++; n == 1 {
						end()
					}
					return nil
				})
				w.schedule(small(0), 0)
				synctest.Wait()
				assert.Equal(t, name, w.Status().Pending[0].Reason)
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.EqualValues(t, 1, w.Status().Counts.Done)
				if name == "panic: a bug" {
					assert.Contains(t, log.String(), "run_test.go", "the stack is logged")
				}
			})
		})
	}
}

func nilPanic() (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(nil)
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, takes(0))
		synctest.Wait()
		assert.EqualError(t, w.Run(t.Context(), takes(0)), "fill: Run was called before")
		w.end()
		assert.EqualError(t, w.Run(t.Context(), takes(0)), "fill: Run was called before")
		assert.ErrorIs(t, w.Schedule(t.Context(), small(0), 0), ErrClosed)
		assert.EqualValues(t, 1, w.Status().Counts.Rejected)
	})
}

func TestDrain(t *testing.T) {
	deaf := func(d time.Duration) func(context.Context, athens.Fill) error {
		return func(context.Context, athens.Fill) error {
			time.Sleep(d)
			return nil
		}
	}
	for _, c := range []struct {
		name                string
		grace               time.Duration
		answer              func(context.Context, athens.Fill) error
		took                time.Duration // of Run, after its context is done
		pending, done, busy int64
	}{
		{"in time", 10 * time.Second, takes(8 * time.Second), 8 * time.Second, 1, 1, 0},
		{"cut", 10 * time.Second, takes(time.Hour), 10 * time.Second, 2, 0, 0},
		{"no grace", -1, takes(time.Hour), 0, 2, 0, 0},
		{"deaf", 10 * time.Second, deaf(12 * time.Second), 12 * time.Second, 1, 1, 0},
		{"deaf for long", 10 * time.Second, deaf(time.Hour), 15 * time.Second, 1, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, &Options{Workers: 1, GraceTimeout: c.grace, Logger: slog.New(slog.DiscardHandler)}, c.answer)
				w.schedule(small(0), 0)
				synctest.Wait()
				w.schedule(small(1), 0)
				at := time.Now()
				w.end()
				assert.Equal(t, c.took, time.Since(at))
				s := w.Status()
				assert.Equal(t, []int64{c.pending, c.done, c.busy}, []int64{s.Counts.Pending, s.Counts.Done, s.Counts.Running})
				for _, e := range s.Pending {
					assert.Zero(t, e.Attempts, "that the queue ended it is no fault of the fill")
					assert.Empty(t, e.Reason)
				}
				w.saw("0 mod at 0s")
				time.Sleep(2 * time.Hour) // the bubble wants all to end
			})
		})
	}
}

func TestDrainKeepsWhatIsKnownOfAFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w := start(t, nil, func(ctx context.Context, f athens.Fill) error {
			switch n++; n {
			case 1:
				return errors.New("down")
			case 2:
				_ = takes(time.Hour)(ctx, f)
				return errors.New("cut off")
			}
			return nil
		})
		w.schedule(small(0), 0)
		time.Sleep(2 * time.Second)
		w.schedule(whole(0), 0)
		w.end()
		e := w.Status().Pending[0]
		assert.Equal(t, []any{true, 1, "down"}, []any{e.Zip, e.Attempts, e.Reason})
	})
}

func TestDrainKeepsFinalErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil, func(ctx context.Context, f athens.Fill) error {
			<-ctx.Done()
			return &athens.MissingError{Path: f.Module.Path, Query: f.Module.Version}
		})
		w.schedule(small(0), 0)
		synctest.Wait()
		w.end()
		assert.EqualValues(t, 1, w.Status().Counts.Failed)
	})
}

func TestFillSeesRunsValues(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		q, err := New(nil)
		require.NoError(t, err)
		require.NoError(t, q.Schedule(t.Context(), small(0), 0))
		ctx, stop := context.WithCancel(context.WithValue(t.Context(), key{}, "the server's"))
		require.NoError(t, q.Run(ctx, func(ctx context.Context, _ athens.Fill) error {
			assert.Equal(t, "the server's", ctx.Value(key{}))
			stop()
			return nil
		}))
	})
}

// Starts and stops under load, with fills that take long, fail and panic. The
// bubble fails when a goroutine is left.
func TestLifecycle(t *testing.T) {
	for round := range 50 {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int64
			w := start(t, &Options{Workers: 8, Limit: 300}, func(ctx context.Context, f athens.Fill) error {
				switch i := n.Add(1); i % 5 {
				case 0:
					panic("a bug")
				case 1:
					return errors.New("down")
				case 2:
					return &athens.MissingError{Path: f.Module.Path}
				default:
					return takes(time.Duration(i%40)*time.Second)(ctx, f)
				}
			})
			asking, enough := context.WithCancel(t.Context())
			var refused atomic.Int64
			var askers sync.WaitGroup
			for asker := range 8 {
				askers.Go(func() {
					for i := 0; asking.Err() == nil; i++ {
						f := athens.Fill{Module: version((i*7 + asker) % 400), Zip: i%3 == 0}
						if w.Schedule(asking, f, time.Duration(i%5)*time.Second) != nil {
							refused.Add(1)
						}
						if i%20 == 0 {
							w.Status()
							time.Sleep(time.Second)
						}
					}
				})
			}
			time.Sleep(time.Duration(round) * 200 * time.Millisecond)
			w.end()
			enough()
			askers.Wait()

			s := w.Status()
			assert.Zero(t, s.Counts.Running)
			assert.LessOrEqual(t, s.Counts.Pending, int64(300))
			assert.Equal(t, refused.Load(), s.Counts.Rejected)
			assert.Len(t, w.jobs, int(s.Counts.Pending), "what ended is forgotten")
		})
	}
}
