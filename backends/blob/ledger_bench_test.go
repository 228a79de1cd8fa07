package blob_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// 64 callers add to one process, and to three that share the ledger, on a real S3 server.
func BenchmarkLedgerAdd(b *testing.B) {
	for name, processes := range map[string]int{"1": 1, "3": 3} {
		b.Run(name, func(b *testing.B) {
			server, key := modtest.NewS3(b, "modules"), newKey(b)
			var ledgers []*blob.Ledger
			for range processes {
				store, err := blob.OpenURL(b.Context(), server.URL("modules"), nil)
				require.NoError(b, err)
				b.Cleanup(func() { require.NoError(b, store.Close()) })
				ledgers = append(ledgers, openLedger(b, store, key, nil))
			}
			server.Reset()
			var next atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			for caller := range 64 {
				group.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := ledgertest.NewSample(int(i), "").Add(b.Context(), ledgers[caller%processes]); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "additions/s")
			b.ReportMetric(float64(server.Count(""))/float64(b.N), "requests/op")
		})
	}
}
