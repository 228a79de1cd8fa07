package ledger_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/ledger"
)

// BenchmarkAdd has 64 writers add one record after the other, in memory and on a disk,
// and reports how many they add in a second and the 99th percentile of their wait. The
// table of package bench compares both with their targets.
func BenchmarkAdd(b *testing.B) {
	for name, parent := range map[string]string{"tmpfs": "/dev/shm", "disk": "/var/tmp"} {
		b.Run(name, func(b *testing.B) {
			dir, err := os.MkdirTemp(parent, "athens-ledger-")
			if err != nil {
				b.Skip(err)
			}
			b.Cleanup(func() { require.NoError(b, os.RemoveAll(dir)) })
			l, err := ledger.New(dir+"/ledger", newKey(b), &ledger.Options{Seen: dir + "/seen"})
			require.NoError(b, err)
			took := make([]time.Duration, b.N)
			addMany(b, l, 64, took)
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "additions/s")
			require.NoError(b, l.Close())
		})
	}
}

// addMany adds a version for each element of took by so many writers, and notes there how
// long each waited.
func addMany(b *testing.B, l *ledger.Ledger, writers int, took []time.Duration) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(took) {
					return
				}
				begun := time.Now()
				if _, err := l.Add(b.Context(), version(i), hashOf(i, 'A'), hashOf(i, 'B')); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	group.Wait()
}

// BenchmarkLookup finds a record and reads it, among a few thousand that are in the file
// of the index.
func BenchmarkLookup(b *testing.B) {
	l, err := ledger.New(b.TempDir(), newKey(b), nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, l.Close()) })
	const n = 4000
	addMany(b, l, 64, make([]time.Duration, n))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id, err := l.Lookup(b.Context(), version(i%n))
		if err == nil {
			_, err = l.ReadRecords(b.Context(), id, 1)
		}
		require.NoError(b, err)
	}
}

// version makes a version of usual length from a number.
func version(i int) module.Version {
	return module.Version{Path: fmt.Sprintf("git.corp.example/team-%03d/service-%05d", i%997, i/100), Version: fmt.Sprintf("v1.%d.%d", i/10%10, i%10)}
}

func hashOf(i int, letter byte) string {
	n := fmt.Sprintf("%012d", i)
	return "h1:" + strings.Repeat(string(letter), 31) + n + "="
}
