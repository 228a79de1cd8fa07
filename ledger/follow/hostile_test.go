package follow_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// lie is a wrong answer of a primary.
type lie struct {
	name string
	path string // which answers it changes: a beginning; empty is all
	says func(body []byte) ([]byte, error)
	want string // in the error
}

func replaced(body []byte) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) { return body, nil }
}

// changed changes a copy of an answer.
func changed(change func(body []byte) []byte) func([]byte) ([]byte, error) {
	return func(body []byte) ([]byte, error) { return change(bytes.Clone(body)), nil }
}

func flip(b []byte) []byte { b[len(b)/2] ^= 1; return b }

// swapRecords exchanges the first two records of a bundle.
func swapRecords(b []byte) []byte {
	parts := bytes.SplitAfterN(b, []byte("\n\n"), 3)
	return bytes.Join([][]byte{parts[1], parts[0], parts[2]}, nil)
}

// lies are answers in a round that reads the records 300 to 699.
func lies(t *testing.T) []lie {
	otherKey, _ := newKey(t)
	foreign := newPrimary(t, otherKey)
	foreign.add(t, 0, 700)
	head, err := foreign.Signed(t.Context())
	require.NoError(t, err)
	return []lie{
		{"signed with another key of that name", "latest", replaced(head), "not signed by this ledger's key"},
		{"no head", "latest", replaced([]byte("<html>sign in</html>")), "head can't be used"},
		{"an empty head", "latest", replaced(nil), "head can't be used"},
		{"a changed head", "latest", changed(func(b []byte) []byte { return bytes.Replace(b, []byte("\n700\n"), []byte("\n701\n"), 1) }), "head can't be used"},
		{"a huge head", "latest", replaced(make([]byte, 1<<20)), "latest has 1048576 bytes"},
		{"records in another order", "tile/8/data/001", changed(swapRecords), "are not those of the signed tree"},
		{"records of the last bundle in another order", "tile/8/data/002", changed(swapRecords), "is not that of the signed tree"},
		{"a record's hash is changed", "tile/8/data/001", changed(func(b []byte) []byte {
			i := bytes.Index(b, []byte("h1:")) + 3
			b[i] = 'A' + (b[i]+1)%26
			return b
		}), "are not those of the signed tree"},
		{"a record is malformed", "tile/8/data/001", changed(func(b []byte) []byte { b[0] = ' '; return b }), "malformed record"},
		{"a path that leads out of the store", "tile/8/data/001", changed(func(b []byte) []byte { return append([]byte("../../etc "), b...) }), "malformed record"},
		{"a record too few", "tile/8/data/001", changed(func(b []byte) []byte { return b[:bytes.LastIndex(b[:len(b)-2], []byte("\n\n"))+2] }), "it has 255 records, not 256"},
		{"a record too many", "tile/8/data/001", changed(func(b []byte) []byte { return append(b, b...) }), "more than 256 records"},
		{"a bundle without an end", "tile/8/data/001", replaced(bytes.Repeat([]byte("x"), 5<<20)), "more than"},
		{"a tile with another hash", "tile/8/0/", changed(flip), "its tiles are not those of the signed tree"},
		{"a tile that is cut", "tile/8/0/", changed(func(b []byte) []byte { return b[:len(b)-1] }), "bytes, not"},
		{"a huge tile", "tile/8/", changed(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }), "more than"},
		{"no tile", "tile/8/0/", func([]byte) ([]byte, error) { return nil, &athens.MissingError{Err: errors.New("gone")} }, "which the signed tree has"},
		{"no records", "tile/8/data/", func([]byte) ([]byte, error) { return nil, &athens.MissingError{Err: errors.New("gone")} }, "which the signed tree has"},
		{"nothing", "", func([]byte) ([]byte, error) {
			return nil, &athens.UnavailableError{Source: "it", Err: errors.New("down")}
		}, "it is unavailable: down"},
	}
}

// TestHostilePrimary lets a primary give each wrong answer to a follower that has
// verified something: the error says what is wrong, nothing changes, and the truth is
// taken over afterwards.
func TestHostilePrimary(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p := newPrimary(t, key)
	p.add(t, 0, 300)
	f := newFollower(t, t.TempDir(), public, p, nil)
	require.NoError(t, f.Poll(t.Context()))
	held, err := f.Signed(t.Context())
	require.NoError(t, err)
	p.add(t, 300, 700)
	sample := ledgertest.NewSample(650, "")
	for _, l := range lies(t) {
		p.says(func(path string, body []byte, err error) ([]byte, error) {
			if err != nil || !strings.HasPrefix(path, l.path) {
				return body, err
			}
			return l.says(body)
		})
		err := f.Poll(t.Context())
		require.ErrorContains(t, err, l.want, l.name)
		status := f.Status()
		require.NotEmpty(t, status.Error, l.name)
		require.EqualValues(t, 300, status.Records, l.name)
		now, err := f.Signed(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(held), string(now), l.name)
		if l.path != "latest" { // a look-up reads the same
			_, err = f.Lookup(t.Context(), sample.Module)
			require.ErrorContains(t, err, l.want, l.name)
		}
	}
	assert.NotZero(t, f.Status().Refused)
	p.says(nil)
	require.NoError(t, f.Poll(t.Context()))
	same(t, p, f)
}

// TestHostileLookup lets a primary answer look-ups with what its log does not have.
func TestHostileLookup(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p := newPrimary(t, key)
	p.add(t, 0, 10)
	f := newFollower(t, t.TempDir(), public, p, nil)
	m := ledgertest.NewSample(99, "").Module
	head, err := p.Signed(t.Context())
	require.NoError(t, err)
	other := ledgertest.NewSample(3, "").Text()
	for want, body := range map[string]string{
		"its log does not":    "5\n" + ledgertest.NewSample(99, "").Text() + "\n" + string(head),
		"it is the record of": "3\n" + other + "\n" + string(head),
		"head can't be used":  "5\n" + ledgertest.NewSample(99, "").Text() + "\n",
		"can't be used":       "never\n\n",
		"has 1048576 bytes":   strings.Repeat("x", 1<<20),
		"malformed record":    "5\n" + m.Path + " v1 h1:x\n\n" + string(head),
	} {
		p.says(func(path string, b []byte, err error) ([]byte, error) {
			if strings.HasPrefix(path, "lookup/") {
				return []byte(body), nil
			}
			return b, err
		})
		_, err := f.Lookup(t.Context(), m)
		require.ErrorContains(t, err, want)
		require.True(t, athens.Final(err), "%v", err)
	}
}

// TestFork offers a follower the heads of two servers that sign with one key.
func TestFork(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p, other := newPrimary(t, key), newPrimary(t, key)
	p.add(t, 0, 300)
	f := newFollower(t, t.TempDir(), public, p, nil)
	require.NoError(t, f.Poll(t.Context()))
	held, err := p.Signed(t.Context())
	require.NoError(t, err)
	other.add(t, 0, 1)
	for _, n := range []int{1, 299, 300, 301, 700} { // fewer, as many, and more records of another history
		for i := int(size(t, other)); i < n; i++ {
			_, err := ledgertest.NewSample(i, "other").Add(t.Context(), other)
			require.NoError(t, err)
		}
		offered, err := other.Signed(t.Context())
		require.NoError(t, err)
		p.says(func(path string, body []byte, err error) ([]byte, error) {
			return other.SumDB(context.Background(), path)
		})
		err = f.Poll(t.Context())
		fork, ok := errors.AsType[*follow.ForkError](err)
		if n == 1 && !ok { // the first record of both may be the same
			continue
		}
		require.True(t, ok, "%d: %v", n, err)
		assert.Equal(t, string(held), string(fork.Held))
		assert.Equal(t, string(offered), string(fork.Offered))
		_, err = f.Lookup(t.Context(), ledgertest.NewSample(min(n, 300)-1, "").Module)
		require.NoError(t, err, "%d: what was verified is still served", n)
	}
	_, err = f.Lookup(t.Context(), ledgertest.NewSample(650, "other").Module)
	require.ErrorAs(t, err, new(*follow.ForkError))
	require.True(t, athens.Final(err))
	p.says(nil)
	require.NoError(t, f.Poll(t.Context()))
	same(t, p, f)

	// A head that was signed before: the primary has lost records.
	p.add(t, 300, 301)
	require.NoError(t, f.Poll(t.Context()))
	p.says(func(path string, body []byte, err error) ([]byte, error) {
		if path == "latest" {
			return held, nil
		}
		return body, err
	})
	err = f.Poll(t.Context())
	require.ErrorAs(t, err, new(*follow.BehindError))
	require.ErrorContains(t, err, "300 records, and 301 were verified")
	require.EqualValues(t, 301, f.Status().Records)
}

// size is how many records a ledger has.
func size(t *testing.T, l athens.Ledger) int64 {
	t.Helper()
	tree, err := ledgertest.Head(t.Context(), l)
	require.NoError(t, err)
	return tree.N
}

// TestTakesOver opens a follower's folder as the primary, and the old primary's as a
// follower.
func TestTakesOver(t *testing.T) {
	t.Parallel()
	key, public := newKey(t)
	p, dir := newPrimary(t, key), t.TempDir()
	p.add(t, 0, 300)
	f, err := follow.New(dir, public, p, nil)
	require.NoError(t, err)
	require.NoError(t, f.Poll(t.Context()))
	before, err := ledgertest.Head(t.Context(), f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	l, err := ledger.New(dir, key, nil)
	require.NoError(t, err)
	defer l.Close()
	next := &primary{Ledger: l}
	third := newFollower(t, t.TempDir(), public, next, nil)
	next.add(t, 300, 600)
	require.NoError(t, ledgertest.Extends(t.Context(), next, before))
	require.NoError(t, third.Poll(t.Context()))
	same(t, next, third)
}
