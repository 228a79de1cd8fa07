package server

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Uploads need a file that says who may publish; clients don't verify what is published
// with a public database.
func TestPublishFlag(t *testing.T) {
	open := func(args ...string) (*Parts, error) {
		f := NewFlags("registry", "127.0.0.1:3001")
		f.PublishFlag()
		require.NoError(t, f.Parse(append([]string{"-dir", t.TempDir(), "-private", "corp.test"}, args...)))
		return Open(f, slog.New(slog.DiscardHandler))
	}
	_, err := open("-publish", "gen.test")
	assert.ErrorContains(t, err, "-publish needs -tokens")
	p, err := open()
	require.NoError(t, err)
	assert.Equal(t, "corp.test", p.pasteUnverified())
	p.close()
	p.Flags.published = "gen.test"
	assert.Equal(t, "corp.test,gen.test", p.pasteUnverified())
}
