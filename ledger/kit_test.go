package ledger_test

import (
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/ledgertest"
	"github.com/stretchr/testify/require"
)

// newKey makes a key for the tests' ledger.
func newKey(t testing.TB) string {
	t.Helper()
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	return key
}

func TestKit(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
		dir, key := t.TempDir(), newKey(t)
		return func() (athens.Ledger, error) { return ledger.New(dir, key, nil) }
	})
}
