package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// Where the objects of the tests' ledger are.
const (
	logRoot  = "sumdb/sum.corp.example/log/"
	headRoot = "sumdb/sum.corp.example/head/"
	tileRoot = "sumdb/sum.corp.example/tile/"
)

// grown is a service with a ledger of n records, each in a bundle of its own.
func grown(t *testing.T, key string, n int) *fakeService {
	t.Helper()
	s := newFakeService()
	store, _ := s.store(t)
	l := openLedger(t, store, key, nil)
	for i := range n {
		_, err := ledgertest.NewSample(i, "").Add(t.Context(), l)
		require.NoError(t, err)
	}
	return s
}

// A bucket that contradicts what was signed is refused, and the error says what to do.
func TestLedgerDamage(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	base := grown(t, key, 4)
	fork := func(t *testing.T, key string, n int) map[string][]byte {
		service := base.copied()
		service.change(func(objects map[string][]byte) { drop(objects, 4-n) })
		if key == other {
			service = newFakeService()
		}
		store, _ := service.store(t)
		l := openLedger(t, store, key, nil)
		for i := n; i < 5; i++ {
			_, err := ledgertest.NewSample(100+i, "").Add(t.Context(), l)
			require.NoError(t, err)
		}
		return service.copied().objects
	}
	cases := map[string]struct {
		change func(t *testing.T, objects map[string][]byte)
		says   string // by a start that remembers nothing
		knows  string // by a start that remembers the four records
	}{
		"rolled back":        {func(_ *testing.T, o map[string][]byte) { drop(o, 1) }, "", "rolled back"},
		"emptied":            {func(_ *testing.T, o map[string][]byte) { clear(o) }, "", "rolled back"},
		"last bundle lost":   {func(_ *testing.T, o map[string][]byte) { delete(o, logRoot+"0000000003") }, "0000000003 is missing", ""},
		"middle bundle lost": {func(_ *testing.T, o map[string][]byte) { delete(o, logRoot+"0000000001") }, "0000000001 is missing", ""},
		"byte changed": {func(_ *testing.T, o map[string][]byte) {
			name := logRoot + "0000000001"
			o[name] = bytes.Replace(o[name], []byte("v1.1.0 h1:"), []byte("v1.1.0 h1:A"), 1)
		}, "malformed", ""},
		"bundle replaced": {func(t *testing.T, o map[string][]byte) {
			o[logRoot+"0000000003"] = fork(t, key, 3)[logRoot+"0000000003"]
		}, "and not of the 4", ""},
		"early replaced": {func(t *testing.T, o map[string][]byte) {
			o[logRoot+"0000000001"] = fork(t, key, 1)[logRoot+"0000000001"]
		}, "parts of two logs", ""},
		"forked":    {func(t *testing.T, o map[string][]byte) { maps.Copy(o, fork(t, key, 2)) }, "", "and not of the 4"},
		"other key": {func(t *testing.T, o map[string][]byte) { clear(o); maps.Copy(o, fork(t, other, 0)) }, "not signed by this ledger's key", "not signed by this ledger's key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service, dir := base.copied(), t.TempDir()
			store, _ := service.store(t)
			l, err := blob.NewLedger(t.Context(), store, key, &blob.LedgerOptions{Dir: dir})
			require.NoError(t, err)
			require.NoError(t, l.Close())
			service.change(func(objects map[string][]byte) { c.change(t, objects) })
			for says, opts := range map[*string]*blob.LedgerOptions{&c.says: nil, &c.knows: {Dir: dir}} {
				l, err := blob.NewLedger(t.Context(), store, key, opts)
				if *says == "" {
					require.NoError(t, err)
					require.NoError(t, l.Close())
					continue
				}
				require.ErrorContains(t, err, *says)
				require.NotErrorIs(t, err, fs.ErrNotExist)
			}
		})
	}
}

// drop removes the last n of four bundles, and their heads.
func drop(objects map[string][]byte, n int) {
	for i := 4 - n; i < 4; i++ {
		delete(objects, fmt.Sprintf("%s%010d", logRoot, i))
		delete(objects, fmt.Sprintf("%s%010d", headRoot, 9_999_999_999-i))
	}
}

// A process that runs notices what somebody else has written: what no key has signed is not
// recorded, and another history ends the signing.
func TestLedgerNoticesOthers(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	service := grown(t, key, 2)
	forked := service.copied()
	store, _ := service.store(t)
	l := openLedger(t, store, key, nil)
	next := grown(t, newKey(t), 3).objects[logRoot+"0000000002"]
	service.change(func(objects map[string][]byte) { objects[logRoot+"0000000002"] = next })
	_, err := ledgertest.NewSample(3, "").Add(t.Context(), l)
	require.Error(t, err)
	_, err = l.Lookup(t.Context(), ledgertest.NewSample(7, "").Module)
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)

	otherStore, _ := forked.store(t)
	otherLedger := openLedger(t, otherStore, key, nil)
	for i := range 2 {
		_, err = ledgertest.NewSample(50+i, "").Add(t.Context(), otherLedger)
		require.NoError(t, err)
	}
	quiet, _ := service.store(t)
	service.change(func(objects map[string][]byte) { delete(objects, logRoot+"0000000002") })
	l = openLedger(t, quiet, key, nil)
	_, err = ledgertest.NewSample(3, "").Add(t.Context(), l)
	require.NoError(t, err)
	service.change(func(objects map[string][]byte) { objects[logRoot+"0000000003"] = forked.objects[logRoot+"0000000003"] })
	_, err = ledgertest.NewSample(4, "").Add(t.Context(), l)
	_, ok := errors.AsType[*blob.DamagedLedgerError](err)
	require.True(t, ok, "%v", err)
	_, err = l.Signed(t.Context())
	require.ErrorContains(t, err, "parts of two logs")
}

// Tiles that are lost or changed are made again from the records.
func TestLedgerTilesAreMadeAgain(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	service := filled(t, key, 600)
	want := service.copied().objects
	store, _ := service.store(t)
	require.Equal(t, []string{tileRoot + "8/0/000", tileRoot + "8/0/001"}, service.keys(tileRoot))
	service.change(func(objects map[string][]byte) {
		delete(objects, tileRoot+"8/0/000")
		objects[tileRoot+"8/0/001"] = make([]byte, 256*32)
	})
	l := openLedger(t, store, key, nil)
	for n := range int64(2) {
		data, err := l.ReadTileData(t.Context(), tlog.Tile{H: 8, L: 0, N: n, W: 256})
		require.NoError(t, err)
		require.Equal(t, want[fmt.Sprintf("%s8/0/00%d", tileRoot, n)], data)
	}
	require.Equal(t, want, service.copied().objects)
}

// Caches may keep bundles and tiles for ever, and must ask for heads. A bundle is bounded,
// and additions that wait at once share one.
func TestLedgerObjects(t *testing.T) {
	t.Parallel()
	const n = 1500
	key, service := newKey(t), newFakeService()
	store, _ := service.store(t)
	l := openLedger(t, store, key, nil)
	open, waits, once := make(chan struct{}), make(chan struct{}), sync.Once{}
	service.gate = func(call string) {
		if strings.HasPrefix(call, "PUT "+logRoot) {
			once.Do(func() {
				close(waits)
				<-open
			})
		}
	}
	var group sync.WaitGroup
	add := func(i int) {
		group.Go(func() {
			_, err := ledgertest.NewSample(i, "").Add(t.Context(), l)
			assert.NoError(t, err)
		})
	}
	add(0)
	<-waits
	for i := 1; i < n; i++ {
		add(i)
	}
	close(open)
	group.Wait()
	require.NoError(t, ledgertest.NewSample(n-1, "").Proved(t.Context(), l))
	require.Less(t, len(service.keys(logRoot)), n/4)
	for key, caching := range service.caching {
		want := "public, max-age=31536000, immutable"
		if strings.HasPrefix(key, headRoot) {
			want = "no-cache"
		}
		require.Equal(t, want, caching, key)
		require.Less(t, len(service.objects[key]), 256<<10+4<<10)
	}
	heads, logs := service.keys(headRoot), service.keys(logRoot)
	require.Len(t, heads, len(logs))
	require.Equal(t, fmt.Sprintf("%s%010d", headRoot, 9_999_999_999-len(logs)+1), heads[0], "the newest comes first")
}

// What each thing costs, as README.md says.
func TestLedgerRequests(t *testing.T) {
	server := newServer(t)
	key := newKey(t)
	a, b := openLedger(t, open(t, server, nil), key, nil), openLedger(t, open(t, server, nil), key, nil)
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	check := func(what string, want []string, do func()) {
		t.Helper()
		assert.Equal(t, want, asked(server, do), what)
	}
	s := ledgertest.NewSample(1, "")
	check("an addition", []string{"GET", "PUT", "PUT", "GET", "PUT"}, func() { _, err := s.Add(t.Context(), a); ok(err) })
	check("the same again", nil, func() { _, err := s.Add(t.Context(), a); ok(err) })
	check("a look-up of what others added", []string{"GET", "GET", "GET", "GET"}, func() { _, err := b.Lookup(t.Context(), s.Module); ok(err) })
	check("its record", nil, func() { _, err := b.ReadRecords(t.Context(), 0, 1); ok(err) })
	check("again", nil, func() {
		_, err := b.Lookup(t.Context(), s.Module)
		ok(err)
		_, err = b.ReadRecords(t.Context(), 0, 1)
		ok(err)
	})
	c := openLedger(t, open(t, server, nil), key, &blob.LedgerOptions{CacheBytes: -1})
	check("a record, cold", []string{"GET"}, func() { _, err := c.ReadRecords(t.Context(), 0, 1); ok(err) })
	check("a look-up of what is not recorded", []string{"GET"}, func() {
		_, err := b.Lookup(t.Context(), ledgertest.NewSample(2, "").Module)
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

// The key changes while processes run: those with the old one, with both and with the new
// one follow each other as long as both sign.
func TestLedgerChangesKeys(t *testing.T) {
	t.Parallel()
	before, after := newKey(t), newKey(t)
	service := grown(t, before, 2)
	add := func(key, old string, n int) error {
		store, _ := service.store(t)
		l, err := blob.NewLedger(t.Context(), store, key, &blob.LedgerOptions{OldKey: old})
		if err != nil {
			return err
		}
		defer l.Close()
		for i := range n {
			if err := ledgertest.NewSample(i, "").Proved(t.Context(), l); err != nil {
				return err
			}
		}
		_, err = ledgertest.NewSample(n, "").Add(t.Context(), l)
		return err
	}
	require.ErrorContains(t, add(after, "", 2), "not signed by this ledger's key")
	require.NoError(t, add(after, before, 2))
	require.NoError(t, add(before, "", 3), "one that has not been started again")
	require.Error(t, add(after, "", 4))
	require.NoError(t, add(after, before, 4))
	require.NoError(t, add(after, "", 5))
	require.NoError(t, add(after, "", 6))
	require.Error(t, add(before, "", 7))

	// Nothing need be recorded meanwhile.
	third := newKey(t)
	store, _ := service.store(t)
	for range 2 {
		require.NoError(t, openLedger(t, store, third, &blob.LedgerOptions{OldKey: after}).Close())
	}
	require.NoError(t, add(third, "", 7))
}
