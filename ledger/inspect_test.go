package ledger_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/ledger"
)

// inspect reads the folder with the public key, and returns how many records there are.
func (b *folder) inspect(t *testing.T, seen []byte) (records int, signed []byte, err error) {
	t.Helper()
	public, err := ledger.PublicKey(b.key)
	require.NoError(t, err)
	signed, err = ledger.Inspect(t.Context(), b.dir, public, seen, func(m module.Version, zipHash, modHash string) {
		assert.NotEmpty(t, m.Version+zipHash+modHash)
		records++
	})
	return records, signed, err
}

// A stopped ledger is checked with its public key, and not changed.
func TestInspect(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 10, "")
	n, old, err := b.inspect(t, nil)
	require.NoError(t, err)
	require.Equal(t, 10, n)
	fork := b.copied(t)
	fork.seen = filepath.Join(t.TempDir(), "seen")
	b.add(t, 10, 301, "")
	n, newest, err := b.inspect(t, old)
	require.NoError(t, err)
	require.Equal(t, 301, n)
	_, _, err = b.inspect(t, newest)
	require.NoError(t, err)

	l := b.open(t)
	_, _, err = b.inspect(t, nil)
	require.ErrorIs(t, err, ledger.ErrInUse)
	require.NoError(t, l.Close())

	damaged := func(b *folder, seen []byte, says string) {
		t.Helper()
		_, _, err := b.inspect(t, seen)
		_, ok := errors.AsType[*ledger.DamagedError](err)
		require.True(t, ok, "%v", err)
		require.ErrorContains(t, err, says)
	}
	damaged(fork, newest, "it was rolled back: it has 10 records, and 301 were signed")
	fork.add(t, 10, 305, "another")
	damaged(fork, newest, "it was forked: its first 301 records")
	for name, at := range map[string]int{"records": 5000, "head": 40} {
		c := b.copied(t)
		c.change(t, name, at)
		_, _, err = c.inspect(t, nil)
		_, ok := errors.AsType[*ledger.DamagedError](err)
		require.True(t, ok, "%s: %v", name, err)
	}
	c := b.copied(t)
	c.cut(t, 1)
	damaged(c, nil, "record 300 of 301 is missing")
	require.NoError(t, os.Remove(filepath.Join(c.dir, "records")))
	_, _, err = c.inspect(t, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}
