package nats_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
)

// patience bounds each wait for something that happens at once on an idle machine.
const patience = time.Minute

// lease is long enough for a busy machine, and short enough for tests that wait until it
// has ended.
const lease = 3 * time.Second

// worker is a queue that runs, and counts the runs of each fill.
type worker struct {
	*nats.Queue
	t      *testing.T
	answer func(context.Context, athens.Fill) error // if nil, every fill succeeds
	stop   func()                                   // ends Run, and waits for it

	mu   sync.Mutex
	runs map[athens.Fill]int
}

// newWorker makes a queue; run runs it.
func newWorker(t *testing.T, js jetstream.JetStream, opts *nats.Options) *worker {
	t.Helper()
	if opts == nil {
		opts = &nats.Options{LeaseTimeout: lease, RequestTimeout: 10 * time.Second, GraceTimeout: time.Second, MinRetryDelay: 10 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond}
	}
	q, err := nats.New(t.Context(), js, opts)
	require.NoError(t, err)
	return &worker{t: t, Queue: q, runs: map[athens.Fill]int{}}
}

// run calls Run until the test ends or stop is called.
func (w *worker) run(answer func(context.Context, athens.Fill) error) *worker {
	w.answer = answer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, w.fill) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(w.t, <-done)
	})
	w.t.Cleanup(w.stop)
	return w
}

func (w *worker) fill(ctx context.Context, f athens.Fill) error {
	w.mu.Lock()
	w.runs[f]++
	w.mu.Unlock()
	if w.answer == nil {
		return nil
	}
	return w.answer(ctx, f)
}

// count is how often f was started here.
func (w *worker) count(f athens.Fill) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[f]
}

// schedule schedules fills, each of which must be accepted.
func (w *worker) schedule(after time.Duration, fills ...athens.Fill) {
	w.t.Helper()
	for _, f := range fills {
		require.NoError(w.t, w.Schedule(w.t.Context(), f, after))
	}
}

// idle waits until nothing is pending or running anywhere.
func (w *worker) idle() {
	w.t.Helper()
	eventually(w.t, "nothing is left to do", func() bool {
		s, err := w.Status(w.t.Context())
		return err == nil && s.Counts.Pending+s.Counts.Running == 0
	})
}

// roundTrip returns how long it takes now to schedule a fill, run it and see that it has
// run: a delay of many times as much leaves a busy machine enough time.
func roundTrip(t *testing.T, js jetstream.JetStream) time.Duration {
	t.Helper()
	begin := time.Now()
	w := newWorker(t, js, &nats.Options{Name: "measured", RequestTimeout: patience, LeaseTimeout: lease}).run(nil)
	w.schedule(0, small(1))
	w.idle()
	w.stop()
	return time.Since(begin)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 5*time.Millisecond, what)
}

func small(n int) athens.Fill {
	return athens.Fill{Module: module.Version{Path: fmt.Sprintf("example.com/mod%d", n), Version: "v1.0.0"}}
}

func whole(n int) athens.Fill {
	f := small(n)
	f.Zip = true
	return f
}

// workerProcess is a process that starts fills and finishes none.
func workerProcess(addr string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	conn, err := natsgo.Connect(addr)
	fail(err)
	js, err := jetstream.New(conn)
	fail(err)
	q, err := nats.New(ctx, js, &nats.Options{LeaseTimeout: lease})
	fail(err)
	fail(q.Run(ctx, func(ctx context.Context, f athens.Fill) error {
		fmt.Println("running", f.Module)
		<-ctx.Done()
		return ctx.Err()
	}))
}
