package blob_test

import (
	"crypto/rand"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// zero is before all records.
var zero time.Time

// newKey makes the private key of a ledger.
func newKey(t testing.TB) string {
	t.Helper()
	key, _, err := note.GenerateKey(rand.Reader, "sum.corp.example")
	require.NoError(t, err)
	return key
}

// openLedger opens a ledger in the bucket of a store.
func openLedger(t testing.TB, store *blob.Store, key string, opts *blob.LedgerOptions) *blob.Ledger {
	t.Helper()
	l, err := blob.NewLedger(t.Context(), store, key, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// Whether a process remembers what it knew or reads everything again makes no difference.
func TestLedgerKit(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]func(t *testing.T) *blob.LedgerOptions{
		"fresh":  func(*testing.T) *blob.LedgerOptions { return &blob.LedgerOptions{HeadTTL: -1} },
		"folder": func(t *testing.T) *blob.LedgerOptions { return &blob.LedgerOptions{Dir: t.TempDir()} },
	} {
		t.Run(name, func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
				store, _ := newFakeService().store(t)
				key, opts := newKey(t), opts(t)
				return func() (athens.Ledger, error) { return blob.NewLedger(t.Context(), store, key, opts) }
			})
		})
	}
}

func TestLedgerKitS3(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	n := 0
	ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
		n++
		store, err := blob.OpenURL(t.Context(), server.URL("modules")+"&prefix="+strconv.Itoa(n)+"/", nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		key := newKey(t)
		return func() (athens.Ledger, error) { return blob.NewLedger(t.Context(), store, key, nil) }
	})
}
