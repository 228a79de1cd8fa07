package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// messages is a log that a test reads as it is written.
type messages chan string

func (messages) Enabled(context.Context, slog.Level) bool { return true }
func (m messages) WithAttrs([]slog.Attr) slog.Handler     { return m }
func (m messages) WithGroup(string) slog.Handler          { return m }

// Handle passes on a message and its attributes.
func (m messages) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	m <- text
	return nil
}

// openLarge opens a ledger as a large one, which is checked in the background.
func (b *folder) openLarge(t *testing.T) (*ledger.Ledger, messages) {
	t.Helper()
	log := make(messages, 100)
	l, err := ledger.OpenChecking(b.dir, b.key, &ledger.Options{Seen: b.seen, Logger: slog.New(log)}, 100)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l, log
}

// newLarge makes a ledger with so many records, which is large for openLarge, and returns
// copies of it.
func newLarge(t *testing.T, records int) func(t *testing.T) *folder {
	b := newFolder(t)
	b.add(t, 0, records, "")
	return func(t *testing.T) *folder {
		c := b.copied(t)
		c.seen = filepath.Join(t.TempDir(), "seen")
		return c
	}
}

// A large ledger serves at once, and its log is checked meanwhile. Tiles that are wrong
// are made again: by the start if it reads them, otherwise by the check.
//
// An ordinary run has few records, so that the start reads all tiles. With ATHENS_SOAK
// set there are so many that it does not.
func TestLargeIsCheckedBehind(t *testing.T) {
	records, made := 600, "ledger: rebuilding the index and tiles"
	if os.Getenv("ATHENS_SOAK") != "" {
		records, made = 66_000, "ledger: rebuilt a tile"
	}
	fresh := newLarge(t, records)
	for name, damage := range map[string]struct {
		do   func(t *testing.T, b *folder)
		says string
	}{
		"a sound one":    {func(*testing.T, *folder) {}, ""},
		"a changed tile": {func(t *testing.T, b *folder) { b.change(t, "tile/8/0/000", 40) }, made},
		"lost tiles":     {func(t *testing.T, b *folder) { require.NoError(t, os.RemoveAll(filepath.Join(b.dir, "tile"))) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := fresh(t)
			whole, err := os.ReadFile(filepath.Join(b.dir, "tile/8/0/000"))
			require.NoError(t, err)
			damage.do(t, b)
			l, log := b.openLarge(t)
			said := <-log
			if damage.says != "" {
				assert.Contains(t, said, damage.says)
				said = <-log
			}
			require.Contains(t, said, "ledger: checked")
			require.Contains(t, said, fmt.Sprintf("records=%d", records))
			got, err := os.ReadFile(filepath.Join(b.dir, "tile/8/0/000"))
			require.NoError(t, err)
			assert.Equal(t, whole, got)
			require.NoError(t, l.Check(t.Context()))
			_, err = ledgertest.NewSample(records, "").Add(t.Context(), l)
			require.NoError(t, err)
		})
	}
}

// A large ledger whose records are not those that were signed, or that its index does
// not find, signs nothing any more as soon as the check comes upon that.
func TestLargeDamage(t *testing.T) {
	fresh := newLarge(t, 600)
	for name, damage := range map[string]struct {
		do   func(t *testing.T, b *folder)
		says string
	}{
		"a changed record": {func(t *testing.T, b *folder) { b.change(t, "records", 1000) }, "is missing or was changed; restore the folder"},
		"the index lacks a record": {func(t *testing.T, b *folder) {
			db, err := bbolt.Open(filepath.Join(b.dir, "index.db"), 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
				versions := tx.Bucket([]byte("versions"))
				first, _ := versions.Cursor().First()
				return versions.Delete(first)
			}))
			require.NoError(t, db.Close())
		}, "remove index.db to have it rebuilt"},
	} {
		t.Run(name, func(t *testing.T) {
			b := fresh(t)
			damage.do(t, b)
			l, log := b.openLarge(t)
			said := <-log
			assert.Contains(t, said, "no longer signs anything")
			assert.Contains(t, said, damage.says)
			_, err := l.Signed(t.Context())
			wrong, ok := errors.AsType[*ledger.DamagedError](err)
			require.True(t, ok, "%v", err)
			_, err = ledgertest.NewSample(600, "").Add(t.Context(), l)
			assert.ErrorIs(t, err, wrong)
			_, err = l.Lookup(t.Context(), ledgertest.NewSample(1, "").Module)
			assert.ErrorIs(t, err, wrong)
		})
	}
}

// The index of a large ledger is made again in rounds, without its records in memory.
func TestLargeIndexIsMadeAgain(t *testing.T) {
	b := newLarge(t, 600)(t)
	require.NoError(t, os.Remove(filepath.Join(b.dir, "index.db")))
	l, log := b.openLarge(t)
	said := <-log
	assert.Contains(t, said, "rebuilding the index and tiles")
	assert.Contains(t, said, "the index has 0 records of 600")
	assert.Contains(t, <-log, "ledger: checked")
	for i := 0; i < 600; i += 50 {
		require.NoError(t, ledgertest.NewSample(i, "").Proved(t.Context(), l))
	}
}
