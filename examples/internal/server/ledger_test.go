package server

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger"
)

// A server that shares a ledger needs the key that the others have, and its own folder.
func TestSharedLedger(t *testing.T) {
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	t.Setenv("SHARED_LEDGER_KEY", key)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"none":       {nil, ""},
		"no name":    {[]string{"-ledger-key", "SHARED_LEDGER_KEY"}, "-ledger-key needs -ledger NAME"},
		"no key":     {[]string{"-ledger", "sum.corp.example"}, "-ledger needs -ledger-key"},
		"other name": {[]string{"-ledger", "sum.other.example", "-ledger-key", "SHARED_LEDGER_KEY"}, "the key of -ledger-key is of sum.corp.example"},
		"no file":    {[]string{"-ledger", "sum.corp.example", "-ledger-key", "/no/such/file"}, "-ledger-key: open /no/such/file"},
		"all":        {[]string{"-ledger", "sum.corp.example", "-ledger-key", "SHARED_LEDGER_KEY"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			flags := NewFlags("replica", "127.0.0.1:3000")
			shared := flags.SharedLedgerFlags()
			require.NoError(t, flags.ParseArgs(append(c.args, "-dir", dir), io.Discard, t.Output()))
			p, opened := &Parts{Flags: flags}, 0
			err := p.UseSharedLedger(shared, func(got, old, index string) (athens.Ledger, error) {
				opened++
				assert.Equal(t, []string{key, "", dir + "/.ledger"}, []string{got, old, index})
				return struct{ athens.Ledger }{}, nil
			})
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				require.Zero(t, opened)
				return
			}
			require.NoError(t, err)
			require.Equal(t, len(c.args) > 0, opened == 1)
			require.Equal(t, opened == 1, p.sumdb != "")
		})
	}
}
