package ledger_test

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// copies returns the records of a ledger from a number on; change may replace one.
func copies(t *testing.T, l *ledger.Ledger, change func(id int64, text []byte) []byte) func(int64) iter.Seq2[ledger.Record, error] {
	return func(id int64) iter.Seq2[ledger.Record, error] {
		return func(yield func(ledger.Record, error) bool) {
			tree, err := ledgertest.Head(t.Context(), l)
			require.NoError(t, err)
			for ; id < tree.N; id++ {
				texts, err := l.ReadRecords(t.Context(), id, 1)
				require.NoError(t, err)
				if change != nil {
					texts[0] = change(id, texts[0])
				}
				if !yield(ledger.Record{Text: texts[0], Time: time.Now()}, nil) {
					return
				}
			}
		}
	}
}

// TestMirror copies a log, refuses what is not of it, and goes on as the log.
func TestMirror(t *testing.T) {
	t.Parallel()
	ctx, key := t.Context(), newKey(t)
	l, err := ledger.New(t.TempDir(), key, nil)
	require.NoError(t, err)
	defer l.Close()
	parent := t.TempDir()
	dir, opts := filepath.Join(parent, "copy"), &ledger.Options{Seen: filepath.Join(parent, "seen")}
	m, err := ledger.NewMirror(dir, l.VerifierKey(), opts)
	require.NoError(t, err)
	_, err = m.Signed(ctx)
	require.ErrorAs(t, err, new(*athens.UnavailableError))

	// A copy that has nothing yet begins no other log.
	require.NoError(t, m.Close())
	_, err = ledger.New(dir, key, opts)
	require.ErrorAs(t, err, new(*ledger.DamagedError))
	require.ErrorContains(t, err, "would begin another one")
	m, err = ledger.NewMirror(dir, l.VerifierKey(), opts)
	require.NoError(t, err)

	extend := func(change func(int64, []byte) []byte) error {
		signed, err := l.Signed(ctx)
		require.NoError(t, err)
		return m.Extend(ctx, signed, copies(t, l, change))
	}
	done := 0
	for _, size := range []int{0, 1, 300, 520} {
		for ; done < size; done++ {
			_, err := ledgertest.NewSample(done, "").Add(ctx, l)
			require.NoError(t, err)
		}
		if before := m.Size(); size > 1 {
			// Each of these leaves the copy as it was.
			last := int64(size - 1)
			other := ledgertest.NewSample(size+1000, "").Text()
			require.ErrorIs(t, extend(func(id int64, text []byte) []byte {
				if id == last {
					return []byte(other)
				}
				return text
			}), ledger.ErrForked)
			require.ErrorIs(t, extend(func(id int64, text []byte) []byte {
				if id == last {
					return []byte(ledgertest.NewSample(0, "again").Text())
				}
				return text
			}), ledger.ErrForked)
			require.ErrorContains(t, extend(func(id int64, text []byte) []byte { return text[1:] }), "malformed record")
			signed, err := l.Signed(ctx)
			require.NoError(t, err)
			require.ErrorContains(t, m.Extend(ctx, signed, func(int64) iter.Seq2[ledger.Record, error] {
				return func(func(ledger.Record, error) bool) {}
			}), "the head is of")
			require.Equal(t, before, m.Size())
		}
		require.NoError(t, extend(nil))
		require.EqualValues(t, size, m.Size())
		require.NoError(t, m.Check(ctx))
		if size == 300 { // a restart, with an index that is behind
			require.NoError(t, m.Close())
			m, err = ledger.NewMirror(dir, l.VerifierKey(), opts)
			require.NoError(t, err)
		}
	}
	tree, err := ledgertest.Head(ctx, m)
	require.NoError(t, err)
	id, err := ledgertest.NewSample(7, "").Add(ctx, m)
	require.NoError(t, err)
	assert.EqualValues(t, 7, id)
	_, err = ledgertest.NewSample(7, "other").Add(ctx, m)
	require.ErrorAs(t, err, new(*athens.ConflictError))
	_, err = ledgertest.NewSample(done, "").Add(ctx, m)
	require.ErrorIs(t, err, os.ErrNotExist, "another server records")
	then, err := m.Tree(100)
	require.NoError(t, err)
	require.NoError(t, ledgertest.Extends(ctx, l, then))

	// With the key, it is the log.
	require.NoError(t, m.Close())
	next, err := ledger.New(dir, key, opts)
	require.NoError(t, err)
	require.NoError(t, ledgertest.Extends(ctx, next, tree))
	id, err = ledgertest.NewSample(done, "").Add(ctx, next)
	require.NoError(t, err)
	assert.EqualValues(t, done, id)
	require.NoError(t, ledgertest.Extends(ctx, next, tree))
	require.NoError(t, next.Close())
	require.NoError(t, errors.Join(os.RemoveAll(dir), os.Remove(opts.Seen)))
}
