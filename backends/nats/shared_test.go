package nats_test

import (
	"context"
	"fmt"
	"slices"
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

// If the clients of two proxies ask for the same version at once, it is filled once.
func TestSharedCoalescing(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), &embedded.Options{Addr: "127.0.0.1:0"})
	proxies := []*worker{newWorker(t, connect(t, s.Addr()), nil).run(nil), newWorker(t, connect(t, s.Addr()), nil).run(nil)}
	n := 0
	for delay := time.Second; ; delay *= 2 { // until it is not due before the last has asked
		n++
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				w := proxies[i%2]
				assert.NoError(t, w.Schedule(t.Context(), whole(n), delay))
				assert.NoError(t, w.Schedule(t.Context(), small(n), delay))
			})
		}
		all.Wait()
		if time.Since(begin) < delay {
			break
		}
	}
	proxies[0].idle()
	assert.Equal(t, 1, proxies[0].count(whole(n))+proxies[1].count(whole(n)))
	// A small one that ran before the other was asked for would be a run too many.
	assert.Zero(t, proxies[0].count(small(n))+proxies[1].count(small(n)))
}

// All free workers share the work.
func TestSharedWork(t *testing.T) {
	t.Parallel()
	js := inProcess(t)
	opts := &nats.Options{Workers: 2, LeaseTimeout: lease, RequestTimeout: patience}
	var both sync.WaitGroup
	both.Add(4)
	together := func(context.Context, athens.Fill) error {
		both.Done()
		both.Wait() // all workers of both have one
		return nil
	}
	a := newWorker(t, js, opts).run(together)
	b := newWorker(t, js, opts).run(together)
	a.schedule(0, whole(1), whole(2), whole(3), whole(4))
	a.idle()
	b.idle()
}

// cluster starts n servers that form a cluster.
func cluster(t *testing.T, n int) []*embedded.Server {
	t.Helper()
	addrs := freeAddrs(t, n)
	servers := make([]*embedded.Server, n)
	var all sync.WaitGroup
	for i := range servers {
		all.Go(func() {
			servers[i] = start(t, t.TempDir(), &embedded.Options{
				Name:    fmt.Sprintf("proxy%d", i),
				Cluster: &embedded.Cluster{Name: "proxies", Addr: addrs[i], Peers: slices.Concat(addrs[:i], addrs[i+1:])},
			})
		})
	}
	all.Wait()
	return servers
}

func freeAddrs(t *testing.T, n int) (addrs []string) {
	for range n {
		addrs = append(addrs, modtest.FreeAddr(t))
	}
	return addrs
}

// Three proxies, each with a server of its own inside, form a cluster, which keeps the
// promises even when one of the three is gone.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers := cluster(t, 3)
	opts := &nats.Options{Replicas: 3, LeaseTimeout: lease, RequestTimeout: 10 * time.Second, GraceTimeout: time.Second, MinRetryDelay: 10 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond}
	var workers []*worker
	for _, s := range servers {
		js := jetStream(t, s.Conn())
		eventually(t, "the cluster has a leader", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := nats.New(ctx, js, opts)
			return err == nil
		})
		workers = append(workers, newWorker(t, js, opts))
	}
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() { assert.NoError(t, workers[i%3].Schedule(t.Context(), whole(1), time.Second)) })
	}
	all.Wait()
	for _, w := range workers {
		w.run(nil)
	}
	workers[0].idle()
	runs := 0
	for _, w := range workers {
		runs += w.count(whole(1))
	}
	assert.Equal(t, 1, runs)

	workers[2].stop()
	require.NoError(t, servers[2].Close())
	for n := 2; n < 10; n++ {
		eventually(t, "two of three are enough", func() bool { return workers[0].Schedule(t.Context(), whole(n), 0) == nil })
	}
	workers[0].idle()
	for n := 2; n < 10; n++ {
		assert.NotZero(t, workers[0].count(whole(n))+workers[1].count(whole(n)), n)
	}
}
