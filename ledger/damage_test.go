package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// folder is a ledger's folder, with the copy of its head beside it.
type folder struct {
	dir, seen, key string
}

func newFolder(t *testing.T) *folder {
	dir := t.TempDir()
	return &folder{filepath.Join(dir, "ledger"), filepath.Join(dir, "elsewhere", "head"), newKey(t)}
}

func (b *folder) try() (*ledger.Ledger, error) {
	return ledger.New(b.dir, b.key, &ledger.Options{Seen: b.seen})
}

func (b *folder) open(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := b.try()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// add adds the samples of these numbers and closes the ledger.
func (b *folder) add(t *testing.T, from, to int, content string) {
	t.Helper()
	l, err := b.try()
	require.NoError(t, err)
	done := make(chan error)
	for i := from; i < to; i++ {
		go func() { _, err := ledgertest.NewSample(i, content).Add(t.Context(), l); done <- err }()
	}
	for range to - from {
		require.NoError(t, <-done)
	}
	require.NoError(t, l.Check(t.Context()))
	require.NoError(t, l.Close())
}

// copied returns a copy of the folder, without the copy of the head.
func (b *folder) copied(t *testing.T) *folder {
	t.Helper()
	c := *b
	c.dir = filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, os.CopyFS(c.dir, os.DirFS(b.dir)))
	return &c
}

// refused wants New to refuse, and to say this.
func (b *folder) refused(t *testing.T, says string) {
	t.Helper()
	l, err := b.try()
	if err == nil {
		require.NoError(t, l.Close())
	}
	_, ok := errors.AsType[*ledger.DamagedError](err)
	require.True(t, ok, "%v", err)
	assert.ErrorContains(t, err, says)
	_, again := b.try()
	assert.Equal(t, err.Error(), fmt.Sprint(again), "looking twice makes no difference")
}

// change changes a byte of a file of the ledger, counted from the end if it is
// negative.
func (b *folder) change(t *testing.T, name string, at int) {
	t.Helper()
	name = filepath.Join(b.dir, name)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	data[(at+len(data))%len(data)] ^= 1
	require.NoError(t, os.WriteFile(name, data, 0o666))
}

// A folder that has less than was signed, or something else, is refused.
func TestRolledBack(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 300, "")
	old := b.copied(t)
	b.add(t, 300, 310, "")
	for name, damage := range map[string]struct {
		do   func(t *testing.T, b *folder)
		says string
	}{
		"an older copy of the folder": {func(_ *testing.T, b *folder) { b.dir = old.dir }, "it has 300 records, and " + b.seen + " says that 310 were signed; restore"},
		"an older copy of the head": {func(t *testing.T, b *folder) {
			data, err := os.ReadFile(filepath.Join(old.dir, "head"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(b.dir, "head"), data, 0o666))
		}, "310 were signed"},
		"an older copy of the records": {func(t *testing.T, b *folder) {
			data, err := os.ReadFile(filepath.Join(old.dir, "records"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(b.dir, "records"), data, 0o666))
		}, "record 300 of 310 is missing"},
		"an empty folder":  {func(t *testing.T, b *folder) { b.dir = t.TempDir() }, "it is empty, and"},
		"no head":          {func(t *testing.T, b *folder) { require.NoError(t, os.Remove(filepath.Join(b.dir, "head"))) }, "no head; restore the file head"},
		"no records":       {func(t *testing.T, b *folder) { require.NoError(t, os.Remove(filepath.Join(b.dir, "records"))) }, "the file records is missing"},
		"one byte cut off": {func(t *testing.T, b *folder) { b.cut(t, 1) }, "record 309 of 310 is missing"},
		"all cut off":      {func(t *testing.T, b *folder) { b.cut(t, 1<<40) }, "record 0 of 310 is missing"},
		"the first byte":   {func(t *testing.T, b *folder) { b.change(t, "records", 0) }, "record 0 of 310"},
		"a middle byte":    {func(t *testing.T, b *folder) { b.change(t, "records", 20000) }, "is missing or was changed"},
		"the last byte":    {func(t *testing.T, b *folder) { b.change(t, "records", -1) }, "record 309 of 310"},
		"the head's hash":  {func(t *testing.T, b *folder) { b.change(t, "head", 40) }, "can't be used: invalid signature"},
		"another key":      {func(t *testing.T, b *folder) { b.key = newKey(t) }, "start with the key that signed it"},
	} {
		t.Run(name, func(t *testing.T) {
			c := b.copied(t)
			damage.do(t, c)
			c.refused(t, damage.says)
		})
	}
	l := b.open(t)
	require.NoError(t, l.Check(t.Context()))
}

// cut removes bytes from the end of the records.
func (b *folder) cut(t *testing.T, n int64) {
	t.Helper()
	name := filepath.Join(b.dir, "records")
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(name, max(0, info.Size()-n)))
}

// Two histories that begin in one folder can't replace each other.
func TestForked(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 10, "")
	fork := b.copied(t)
	fork.seen = filepath.Join(t.TempDir(), "seen")
	b.add(t, 10, 20, "")
	fork.add(t, 10, 20, "another")
	fork.seen = b.seen
	fork.refused(t, "the log was forked")
	fork.seen = ""
	require.NoError(t, fork.open(t).Check(t.Context()), "without the copy of the head nothing is noticed here")
}

// A record that is exchanged for another one with a right checksum is not what was
// signed.
func TestExchangedRecord(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 1, "")
	other := newFolder(t)
	other.key = b.key
	other.add(t, 0, 1, "other")
	data, err := os.ReadFile(filepath.Join(other.dir, "records"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, "records"), data, 0o666))
	b.refused(t, "are not those that were signed")
}

// What is derived is made again.
func TestDerivedIsMadeAgain(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 600, "")
	for name, damage := range map[string]func(t *testing.T, b *folder){
		"no index":       func(t *testing.T, b *folder) { require.NoError(t, os.Remove(filepath.Join(b.dir, "index.db"))) },
		"no tiles":       func(t *testing.T, b *folder) { require.NoError(t, os.RemoveAll(filepath.Join(b.dir, "tile"))) },
		"one tile":       func(t *testing.T, b *folder) { require.NoError(t, os.Remove(filepath.Join(b.dir, "tile/8/0/001"))) },
		"a changed tile": func(t *testing.T, b *folder) { b.change(t, "tile/8/0/000", 100) },
		"a short tile": func(t *testing.T, b *folder) {
			require.NoError(t, os.Truncate(filepath.Join(b.dir, "tile/8/0/000"), 5))
		},
		"no index file": func(t *testing.T, b *folder) {
			require.NoError(t, os.WriteFile(filepath.Join(b.dir, "index.db"), []byte("no index"), 0o666))
		},
		"another ledger's index": func(t *testing.T, b *folder) {
			other := newFolder(t)
			other.add(t, 100, 700, "")
			data, err := os.ReadFile(filepath.Join(other.dir, "index.db"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(b.dir, "index.db"), data, 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := b.copied(t)
			c.seen = filepath.Join(t.TempDir(), "seen")
			damage(t, c)
			l := c.open(t)
			require.NoError(t, l.Check(t.Context()))
			for i := 0; i < 600; i += 50 {
				require.NoError(t, ledgertest.NewSample(i, "").Proved(t.Context(), l))
			}
			_, err := ledgertest.NewSample(600, "").Add(t.Context(), l)
			require.NoError(t, err)
			require.NoError(t, l.Check(t.Context()))
		})
	}
}

// A tile that is lost while the ledger runs is made again, too.
func TestTileLostMeanwhile(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 300, "")
	l := b.open(t)
	require.NoError(t, os.RemoveAll(filepath.Join(b.dir, "tile")))
	for i := range 300 { // which of them are in the tile depends on the order of add
		require.NoError(t, ledgertest.NewSample(i, "").Proved(t.Context(), l))
	}
	require.FileExists(t, filepath.Join(b.dir, "tile", "8", "0", "000"))
}

// What no head covers was never answered, and is cut off.
func TestUnfinishedTail(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 10, "")
	more := b.copied(t)
	more.seen = ""
	more.add(t, 10, 12, "")
	data, err := os.ReadFile(filepath.Join(more.dir, "records"))
	require.NoError(t, err)
	whole := len(data)
	for _, cut := range []int{0, 1, 100} {
		c := b.copied(t)
		c.seen = ""
		require.NoError(t, os.WriteFile(filepath.Join(c.dir, "records"), data[:whole-cut], 0o666))
		l := c.open(t)
		require.NoError(t, l.Check(t.Context()))
		_, err := l.Lookup(t.Context(), ledgertest.NewSample(10, "").Module)
		require.Error(t, err)
		_, err = ledgertest.NewSample(10, "moved").Add(t.Context(), l)
		require.NoError(t, err)
		require.NoError(t, l.Check(t.Context()))
	}
}

// A log whose file is changed under a running ledger is not signed any more.
func TestChangedMeanwhile(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 10, "")
	l := b.open(t)
	b.change(t, "records", 30)
	_, err := l.ReadRecords(t.Context(), 0, 1)
	damage, ok := errors.AsType[*ledger.DamagedError](err)
	require.True(t, ok, "%v", err)
	assert.ErrorContains(t, damage, "record 0 can't be read")
	_, err = l.Signed(t.Context())
	assert.ErrorIs(t, err, damage)
	_, err = ledgertest.NewSample(11, "").Add(t.Context(), l)
	assert.ErrorIs(t, err, damage)
}

func TestOneWriter(t *testing.T) {
	b := newFolder(t)
	l := b.open(t)
	_, err := b.try()
	require.ErrorIs(t, err, ledger.ErrInUse)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "a second Close does nothing")
	_, err = ledgertest.NewSample(1, "").Add(t.Context(), l)
	require.ErrorContains(t, err, "closed")
	b.add(t, 0, 1, "")
}

// Clients change from one key to the next while both sign.
func TestChangeOfKey(t *testing.T) {
	b := newFolder(t)
	b.add(t, 0, 3, "")
	old, next := b.key, newKey(t)
	oldPublic, err := ledger.PublicKey(old)
	require.NoError(t, err)
	b.key = next
	b.refused(t, "give that key as the old key")

	l, err := ledger.New(b.dir, next, &ledger.Options{Seen: b.seen, OldKey: old})
	require.NoError(t, err)
	for range 2 {
		signed, err := l.Signed(t.Context())
		require.NoError(t, err)
		for _, key := range []string{oldPublic, l.VerifierKey()} {
			tree, err := ledgertest.ParseHead(signed, key)
			require.NoError(t, err)
			require.GreaterOrEqual(t, tree.N, int64(3))
		}
		_, err = ledgertest.NewSample(4, "").Add(t.Context(), l)
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())

	l = b.open(t)
	signed, err := l.Signed(t.Context())
	require.NoError(t, err)
	_, err = ledgertest.ParseHead(signed, oldPublic)
	require.Error(t, err, "the old key has done its duty")
	require.NoError(t, ledgertest.NewSample(4, "").Proved(t.Context(), l))
}

func TestKeys(t *testing.T) {
	for _, name := range []string{"", "two words", "a+b"} {
		_, err := ledger.NewKey(name)
		assert.Error(t, err, "%q", name)
	}
	for _, key := range []string{"", "PRIVATE+KEY", "sum.corp.example+00000000+AAAA", newKey(t) + "A", newKey(t)[:60]} {
		_, err := ledger.PublicKey(key)
		assert.Error(t, err, "%q", key)
		_, err = ledger.New(t.TempDir(), key, nil)
		assert.Error(t, err, "%q", key)
	}
	other, err := ledger.NewKey("other.example")
	require.NoError(t, err)
	key := newKey(t)
	for _, old := range []string{other, key, "x"} {
		_, err = ledger.New(t.TempDir(), key, &ledger.Options{OldKey: old})
		assert.Error(t, err)
	}
}
