package nats_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
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

func TestOptions(t *testing.T) {
	js := inProcess(t)
	for _, o := range []nats.Options{
		{Name: "a.b"}, {Name: "*"}, {Name: strings.Repeat("n", 65)}, {Replicas: -1}, {Workers: -1}, {Limit: -1}, {Failed: -1}, {Recent: -1},
		{LeaseTimeout: time.Millisecond}, {LeaseTimeout: -1}, {RequestTimeout: -1}, {Timeout: -1}, {GiveUpAfter: -1}, {FailedTTL: -1},
		{MinRetryDelay: time.Minute, MaxRetryDelay: time.Second},
		{Replicas: 3}, // there is one server
	} {
		_, err := nats.New(t.Context(), js, &o)
		require.Error(t, err, o)
	}
	_, err := nats.New(t.Context(), nil, nil)
	require.Error(t, err)
	w := newWorker(t, js, &nats.Options{Name: "Mine_1-x"}).run(nil)
	w.schedule(0, small(1))
	w.idle() // so that it runs
	require.Error(t, w.Run(t.Context(), nil), "a second Run")
	for _, f := range []athens.Fill{{}, {Module: module.Version{Path: strings.Repeat("p", 3000), Version: "v1.0.0"}}} {
		require.Error(t, w.Schedule(t.Context(), f, 0))
	}
	require.Error(t, w.Schedule(t.Context(), small(1), 1000*time.Hour))
	st, err := w.Status(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, st.Counts.Rejected)
}

// The streams get the options of the last New; New keeps what an operator has changed
// besides.
func TestStreamsAreKept(t *testing.T) {
	js := inProcess(t)
	newWorker(t, js, nil).schedule(0, whole(1))
	stream, err := js.Stream(t.Context(), "athens-fills")
	require.NoError(t, err)
	config := stream.CachedInfo().Config
	config.Metadata = map[string]string{"owner": "ops"}
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)

	newWorker(t, js, &nats.Options{Limit: 7, LeaseTimeout: time.Minute})
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 7, info.Config.MaxMsgs)
	assert.Equal(t, "ops", info.Config.Metadata["owner"])
	assert.EqualValues(t, 1, info.State.Msgs)
	c, err := stream.Consumer(t.Context(), "workers")
	require.NoError(t, err)
	assert.Equal(t, time.Minute, c.CachedInfo().Config.AckWait)
}

func TestFull(t *testing.T) {
	w := newWorker(t, inProcess(t), &nats.Options{Limit: 2, MinRetryDelay: 50 * time.Millisecond})
	w.schedule(0, small(1), small(2))
	require.ErrorIs(t, w.Schedule(t.Context(), small(3), 0), nats.ErrFull)
	w.schedule(0, small(1), whole(2)) // they take no more room
	var failed sync.Map
	w.run(func(_ context.Context, f athens.Fill) error {
		if _, again := failed.LoadOrStore(f, true); !again {
			return errors.New("the first time it fails") // and has room to be postponed
		}
		return nil
	})
	w.idle()
	assert.Equal(t, []int{2, 0, 2}, []int{w.count(small(1)), w.count(small(2)), w.count(whole(2))})
	w.schedule(0, small(3))
	w.idle()
}

// A fill with Zip that is scheduled while its version runs without one waits for the end
// of that run, if both are in one process.
func TestZipAfterwards(t *testing.T) {
	w := newWorker(t, inProcess(t), &nats.Options{LeaseTimeout: lease, RequestTimeout: patience})
	hold, started := make(chan struct{}), make(chan struct{})
	w.schedule(0, small(1))
	w.run(func(_ context.Context, f athens.Fill) error {
		if f == small(1) {
			close(started)
			<-hold
		}
		return nil
	})
	<-started
	w.schedule(0, whole(1), whole(1), small(1))
	wait(300 * time.Millisecond)
	assert.Zero(t, w.count(whole(1)))
	close(hold)
	w.idle()
	assert.Equal(t, []int{1, 1}, []int{w.count(small(1)), w.count(whole(1))})
}

// The queue drops messages that are no fills; they harm none.
func TestHostileMessages(t *testing.T) {
	js := inProcess(t)
	var log syncBuffer
	w := newWorker(t, js, &nats.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	sent := 0
	for _, subject := range []string{"x", "YQ", "YR.YQ", "a.b.c", "ZXhhbXBsZS5jb20vbW9k.djEuMC4w"} {
		for _, body := range []string{"", "{", "null\x00", strings.Repeat("x", 8000), `{"after":-5}`, `{"after":9e18}`} {
			_, err := js.PublishMsg(t.Context(), &natsgo.Msg{Subject: "athens-fills.todo." + subject, Data: []byte(body)})
			require.NoError(t, err)
		}
		sent++
	}
	_, err := js.Publish(t.Context(), "athens-fills.todo.x", make([]byte, 1<<20))
	require.Error(t, err, "the server bounds them")
	garbage := athens.Fill{Module: module.Version{Path: "example.com/mod", Version: "v1.0.0"}, Zip: true}
	_, err = js.Publish(t.Context(), "athens-fills.failed.YQ.YQ", []byte("{"))
	require.NoError(t, err)

	w.schedule(0, whole(1))
	w.run(nil)
	w.idle()
	assert.Equal(t, 1, w.count(whole(1)))
	assert.Zero(t, w.count(garbage))
	assert.Equal(t, sent, strings.Count(log.String(), "dropped a message that is not a fill"), log.String())
	st, err := w.Status(t.Context())
	require.NoError(t, err)
	assert.Empty(t, st.Failed)
	w.schedule(0, garbage) // the garbage had its subject
	w.idle()
	assert.Equal(t, 1, w.count(garbage))
}

// A fill replaces garbage under its subject.
func TestGarbageInTheWay(t *testing.T) {
	js := inProcess(t)
	w := newWorker(t, js, nil)
	_, err := js.Publish(t.Context(), "athens-fills.todo.ZXhhbXBsZS5jb20vbW9kMQ.djEuMC4w", []byte("garbage"))
	require.NoError(t, err)
	w.schedule(0, whole(1))
	w.run(nil).idle()
	assert.Equal(t, 1, w.count(whole(1)))
}

// The queue gives up a fill that ends each process that runs it.
func TestNoEnd(t *testing.T) {
	js := inProcess(t)
	w := newWorker(t, js, nil)
	w.schedule(0, whole(1))
	c, err := js.Consumer(t.Context(), "athens-fills", "workers")
	require.NoError(t, err)
	for range 20 { // as if the process had died each time
		msg, err := c.Next(jetstream.FetchMaxWait(patience))
		require.NoError(t, err)
		require.NoError(t, msg.Nak())
	}
	w.run(nil).idle()
	assert.Zero(t, w.count(whole(1)))
	st, err := w.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, st.Failed, 1)
	assert.Contains(t, st.Failed[0].Reason, "started 20 times")
}

// Queues that start and stop leave nothing behind and lose no fill.
func TestLifecycle(t *testing.T) {
	js := inProcess(t)
	total := 0
	for n := range 20 {
		w := newWorker(t, js, nil).run(nil)
		w.schedule(0, whole(n))
		if n%2 == 0 {
			w.idle()
		}
		w.stop()
		total += w.count(whole(n))
	}
	last := newWorker(t, js, nil).run(nil)
	last.idle()
	last.stop()
	require.NotZero(t, total)
	assert.Zero(t, js.Conn().NumSubscriptions()-1, "what is left is for replies")
}

// syncBuffer is a log for several writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
