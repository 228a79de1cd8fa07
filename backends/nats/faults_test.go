package nats_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
	"github.com/athens-go/athens/backends/nats/embedded"
	"github.com/athens-go/athens/internal/modtest"
)

// wire is a TCP proxy in front of a server that can lose requests, replies or both.
type wire struct {
	net.Listener
	to string

	mu       sync.Mutex
	requests bool // the wire loses what clients send
	replies  bool // the wire loses what the server sends
	down     bool // the wire accepts no connection
	conns    []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{Listener: l, to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.set(false, false, true)
		all.Wait()
	})
	return w
}

// set says what the wire loses from now on.
func (w *wire) set(requests, replies, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.replies, w.down = requests, replies, down
	if down {
		w.cutLocked()
	}
}

// cut ends the present connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutLocked()
}

func (w *wire) cutLocked() {
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *wire) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer server.Close()
	w.mu.Lock()
	down := w.down
	if !down {
		w.conns = append(w.conns, client, server)
	}
	w.mu.Unlock()
	if down {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { w.copy(server, client, &w.requests) })
	both.Go(func() { w.copy(client, server, &w.replies) })
	both.Wait()
}

func (w *wire) copy(to, from net.Conn, lost *bool) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		w.mu.Lock()
		drop := *lost
		w.mu.Unlock()
		if drop {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// behindWire returns a wire to a server, a worker behind it, and a worker with a
// connection of its own. Neither runs yet.
func behindWire(t *testing.T) (*wire, *worker, *worker) {
	s := start(t, t.TempDir(), &embedded.Options{Addr: "127.0.0.1:0"})
	w := newWire(t, s.Addr())
	near := newWorker(t, jetStream(t, s.Conn()), nil)
	// One worker, or others of the far one would run again what it could not acknowledge.
	opts := &nats.Options{Workers: 1, LeaseTimeout: lease, RequestTimeout: time.Second, MinRetryDelay: 10 * time.Millisecond, MaxRetryDelay: 50 * time.Millisecond, GraceTimeout: time.Second}
	far := newWorker(t, connect(t, w.Addr().String()), opts)
	eventually(t, "the far one has the streams", func() bool {
		_, err := far.Status(t.Context())
		return err == nil
	})
	return w, far, near
}

// The two halves of a Schedule that fails: it did not happen, or it did.
func TestScheduleFails(t *testing.T) {
	t.Parallel()
	for _, happened := range []bool{false, true} {
		w, far, near := behindWire(t)
		w.set(!happened, happened, false)
		begin := time.Now()
		require.Error(t, far.Schedule(t.Context(), whole(1), 0))
		assert.Less(t, time.Since(begin), patience, "it waits longer than Options.Wait")
		near.run(nil)
		if happened {
			eventually(t, "it runs all the same", func() bool { return near.count(whole(1)) == 1 })
		}
		near.idle()
		w.set(false, false, false)
		w.cut()
		eventually(t, "the next miss", func() bool { return far.Schedule(t.Context(), whole(1), 0) == nil })
		eventually(t, "it runs", func() bool { return near.count(whole(1)) > 0 })
		near.idle()
		if !happened {
			assert.Equal(t, 1, near.count(whole(1)))
		}
	}
}

// If an ack is lost, the fill runs again.
func TestAckLost(t *testing.T) {
	t.Parallel()
	w, far, near := behindWire(t)
	far.schedule(0, whole(1))
	far.run(func(context.Context, athens.Fill) error {
		w.set(true, false, false)
		return nil
	})
	eventually(t, "it has run", func() bool { return far.count(whole(1)) == 1 })
	near.run(nil).idle()
	assert.Equal(t, 1, near.count(whole(1)), "the server was not told")
	w.set(false, false, true) // otherwise the far one would take its work again
}

// A worker that loses its connection goes on with its fill. Its result changes nothing
// if another worker has run the fill meanwhile.
func TestWorkerCutOff(t *testing.T) {
	t.Parallel()
	w, far, near := behindWire(t)
	hold := make(chan struct{})
	far.schedule(0, small(1))
	far.run(func(_ context.Context, f athens.Fill) error {
		<-hold
		return &athens.UnavailableError{Source: "vcs", Err: context.DeadlineExceeded}
	})
	eventually(t, "it runs", func() bool { return far.count(small(1)) == 1 })
	w.set(false, false, true)
	near.run(nil).idle()
	assert.Equal(t, 1, near.count(small(1)))
	w.set(false, false, false)
	close(hold)
	far.stop()
	near.idle()
	assert.Equal(t, 1, near.count(small(1)), "the error of the old run no longer counts")
}

// While there is no connection, Schedule fails at once; Run continues when there is a
// connection again.
func TestOffline(t *testing.T) {
	t.Parallel()
	w, far, near := behindWire(t)
	far.run(nil)
	far.schedule(0, whole(1))
	near.idle()
	w.set(false, false, true)
	eventually(t, "it has noticed", func() bool {
		begin := time.Now()
		err := far.Schedule(t.Context(), whole(2), 0)
		require.Error(t, err)
		require.Less(t, time.Since(begin), patience, "it waits longer than Options.Wait")
		return err == nats.ErrOffline
	})
	near.schedule(0, whole(3))
	w.set(false, false, false)
	near.idle()
	assert.Equal(t, 1, far.count(whole(3)))
}

// A queue can be made before its server runs, and works once it does.
func TestServerComesLater(t *testing.T) {
	t.Parallel()
	addr := modtest.FreeAddr(t)
	// A question that a starting server loses must not be waited for long.
	w := newWorker(t, connect(t, "nats://"+addr), &nats.Options{LeaseTimeout: lease, RequestTimeout: time.Second}).run(nil)
	require.ErrorIs(t, w.Schedule(t.Context(), whole(1), 0), nats.ErrOffline)
	_, err := w.Status(t.Context())
	require.ErrorIs(t, err, nats.ErrOffline)

	start(t, t.TempDir(), &embedded.Options{SyncInterval: time.Minute, Addr: addr})
	eventually(t, "it can be scheduled", func() bool { return w.Schedule(t.Context(), whole(1), 0) == nil })
	w.idle()
	assert.Equal(t, 1, w.count(whole(1)))
}

// If the server has lost the streams, the queue creates them again.
func TestStreamsLost(t *testing.T) {
	t.Parallel()
	js := inProcess(t)
	w := newWorker(t, js, nil).run(nil)
	require.NoError(t, js.DeleteStream(t.Context(), "athens-fills"))
	eventually(t, "it can be scheduled again", func() bool { return w.Schedule(t.Context(), whole(1), 0) == nil })
	w.idle()
	assert.Equal(t, 1, w.count(whole(1)))
}
