package nats_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
	"github.com/athens-go/athens/backends/nats/embedded"
)

// If a worker is killed while it runs a fill, another worker runs the fill.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), &embedded.Options{Addr: "127.0.0.1:0"})
	w := newWorker(t, jetStream(t, s.Conn()), nil)
	p := startProcess(t, "worker", "NATS_TEST_ADDR="+s.Addr())
	w.schedule(0, whole(1))
	require.Equal(t, "running example.com/mod1@v1.0.0", p.says())
	w.run(nil)
	wait(2 * lease)
	require.Zero(t, w.count(whole(1)), "it runs in the other process")
	w.schedule(0, whole(1), small(1)) // they are pending already
	p.kill()
	w.idle()
	assert.Equal(t, 1, w.count(whole(1)))
	assert.Zero(t, w.count(small(1)))
}

// A process that ends gives its unfinished fills back at once.
func TestWorkerStopped(t *testing.T) {
	t.Parallel()
	js := inProcess(t)
	opts := &nats.Options{LeaseTimeout: time.Hour, GraceTimeout: -1}
	first, second := newWorker(t, js, opts), newWorker(t, js, opts)
	started := make(chan struct{})
	first.run(func(ctx context.Context, _ athens.Fill) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	})
	first.schedule(0, whole(1))
	<-started
	first.stop()
	second.run(nil).idle()
	assert.Equal(t, 1, second.count(whole(1)))
	first.schedule(0, whole(2)) // it can still be asked
	second.idle()
	assert.Equal(t, 1, second.count(whole(2)))
}

// A server that is killed at any instant loses no fill that it accepted, and its
// clients continue when it is back.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, "server", "NATS_TEST_DIR="+dir, "NATS_TEST_ADDR=127.0.0.1:0")
	addr := p.says()
	js := connect(t, addr)
	opts := &nats.Options{LeaseTimeout: time.Second, RequestTimeout: time.Second, MinRetryDelay: 10 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond}
	w := newWorker(t, js, opts)
	var runs atomic.Int64
	w.run(func(context.Context, athens.Fill) error { runs.Add(1); return nil })
	var accepted []athens.Fill
	next := 0
	for range 3 { // kills
		kill := sync.OnceFunc(func() { time.AfterFunc(150*time.Millisecond, p.kill) })
		for failed := false; !failed; next++ {
			after := time.Duration(0)
			if next%2 == 0 {
				after = time.Second
			}
			if err := w.Schedule(t.Context(), whole(next), after); err != nil {
				failed = true
				continue
			}
			accepted = append(accepted, whole(next))
			kill()
		}
		p.kill()
		p = startProcess(t, "server", "NATS_TEST_DIR="+dir, "NATS_TEST_ADDR="+addr)
		require.Equal(t, addr, p.says())
		eventually(t, "connected", js.Conn().IsConnected)
	}
	require.NotEmpty(t, accepted)
	w.idle()
	for _, f := range accepted {
		assert.NotZero(t, w.count(f), f)
	}
	t.Logf("%d accepted, %d runs", len(accepted), runs.Load())
}

// A server that is started again on its folder continues where it was: pending fills
// keep their delay, failures stay known, and interrupted fills run again.
func TestServerRestarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, nil)
	js := jetStream(t, s.Conn())
	delay := max(3*time.Second, 20*roundTrip(t, js))
	w := newWorker(t, js, nil)
	begun := time.Now()
	w.schedule(delay, whole(1))
	w.schedule(0, whole(2), small(3))
	w.run(func(ctx context.Context, f athens.Fill) error {
		if f == small(3) {
			return &athens.MissingError{Path: f.Module.Path, Query: f.Module.Version}
		}
		<-ctx.Done()
		return ctx.Err()
	})
	eventually(t, "one runs, one has failed", func() bool {
		st, err := w.Status(t.Context())
		return err == nil && w.count(whole(2)) == 1 && st.Counts.Failed == 1
	})
	require.NoError(t, s.Close()) // so the worker can't acknowledge its fill

	again := newWorker(t, jetStream(t, start(t, dir, nil).Conn()), nil).run(nil)
	again.idle()
	assert.Equal(t, 1, again.count(whole(1)))
	assert.GreaterOrEqual(t, time.Since(begun), delay, "the delay is forgotten")
	assert.Equal(t, 1, again.count(whole(2)))
	st, err := again.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, st.Failed, 1)
	assert.Equal(t, small(3).Module.Path, st.Failed[0].Path)
}
