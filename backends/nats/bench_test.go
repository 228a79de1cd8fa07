package nats_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
	"github.com/athens-go/athens/backends/nats/embedded"
)

// measured is a queue on a server in this process whose disk is written to at
// each message, or now and then.
func measured(b *testing.B, every time.Duration) (*nats.Queue, *natsgo.Conn, string) {
	dir := b.TempDir()
	s, err := embedded.New(dir, &embedded.Options{SyncInterval: every})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	js, err := jetstream.New(s.Conn())
	require.NoError(b, err)
	q, err := nats.New(b.Context(), js, &nats.Options{Limit: 1_000_000})
	require.NoError(b, err)
	return q, s.Conn(), dir
}

var disks = map[string]time.Duration{"synced": 0, "each minute": time.Minute}

// BenchmarkSchedule is what one call waits, of a version that is new, and of one
// that is pending.
func BenchmarkSchedule(b *testing.B) {
	for name, every := range disks {
		for _, pending := range []bool{false, true} {
			b.Run(name+map[bool]string{false: "/new", true: "/pending"}[pending], func(b *testing.B) {
				q, _, dir := measured(b, every)
				n := 0
				for b.Loop() {
					if !pending {
						n++
					}
					require.NoError(b, q.Schedule(b.Context(), whole(n), time.Hour))
				}
				if !pending {
					b.ReportMetric(float64(size(dir))/float64(n), "disk-B/op")
				}
			})
		}
	}
}

// BenchmarkFill is a fill from Schedule to its end, of which many are under way,
// and what it costs in messages and bytes.
func BenchmarkFill(b *testing.B) {
	for name, after := range map[string]time.Duration{"at once": 0, "later": 5 * time.Second} {
		b.Run(name, func(b *testing.B) {
			q, conn, _ := measured(b, time.Minute)
			ctx, stop := context.WithCancel(b.Context())
			var left sync.WaitGroup
			done := make(chan error)
			go func() { done <- q.Run(ctx, func(context.Context, athens.Fill) error { left.Done(); return nil }) }()
			before := conn.Stats()
			n := 0
			for b.Loop() {
				n++
				left.Add(1)
				require.NoError(b, q.Schedule(ctx, whole(n), after))
			}
			left.Wait()
			stop()
			require.NoError(b, <-done)
			after := conn.Stats()
			b.ReportMetric(float64(after.OutMsgs-before.OutMsgs)/float64(n), "sent/op")
			b.ReportMetric(float64(after.InMsgs-before.InMsgs)/float64(n), "received/op")
			b.ReportMetric(float64(after.OutBytes-before.OutBytes+after.InBytes-before.InBytes)/float64(n), "wire-B/op")
		})
	}
}

// size is how much there is in a folder.
func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, statErr := os.Stat(path); statErr == nil && !info.IsDir() {
			n += info.Size()
		}
		return err
	})
	return n
}
