package fill

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

func TestStatusNothingHasNoNull(t *testing.T) {
	q, err := New(nil)
	require.NoError(t, err)
	got, err := json.Marshal(q.Status())
	require.NoError(t, err)
	assert.Equal(t, `{"pending":[],"running":[],"done":[],"failed":[],"counts":{"pending":0,"running":0,"done":0,"failed":0,"rejected":0}}`, string(got))
}

func TestStatusJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock begins with the year 2000
		w := start(t, nil, func(ctx context.Context, f athens.Fill) error {
			switch f.Module {
			case version(2):
				return &athens.BlockedError{Path: f.Module.Path, Version: f.Module.Version, Reason: "CVE-2000-1"}
			case version(3):
				return takes(time.Hour)(ctx, f)
			}
			return nil
		})
		w.schedule(small(1), time.Second)
		w.schedule(whole(2), 2*time.Second)
		w.schedule(whole(3), 3*time.Second)
		w.schedule(small(4), time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		got, err := json.MarshalIndent(w.Status(), "", " ")
		require.NoError(t, err)
		assert.JSONEq(t, `{
 "pending": [{"module": "example.com/mod4", "version": "v1.0.0", "zip": false, "attempts": 0,
  "scheduled": "2000-01-01T00:00:00Z", "due": "2000-01-01T01:00:00Z"}],
 "running": [{"module": "example.com/mod3", "version": "v1.0.0", "zip": true, "attempts": 1,
  "scheduled": "2000-01-01T00:00:00Z", "started": "2000-01-01T00:00:03Z"}],
 "done": [{"module": "example.com/mod1", "version": "v1.0.0", "zip": false, "attempts": 1,
  "scheduled": "2000-01-01T00:00:00Z", "started": "2000-01-01T00:00:01Z", "ended": "2000-01-01T00:00:01Z"}],
 "failed": [{"module": "example.com/mod2", "version": "v1.0.0", "zip": true, "attempts": 1,
  "scheduled": "2000-01-01T00:00:00Z", "started": "2000-01-01T00:00:02Z", "ended": "2000-01-01T00:00:02Z",
  "reason": "example.com/mod2@v1.0.0: blocked: CVE-2000-1"}],
 "counts": {"pending": 1, "running": 1, "done": 1, "failed": 1, "rejected": 0}}`, string(got))
	})
}

func TestStatusIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, &Options{Recent: 3, Workers: 11}, func(ctx context.Context, f athens.Fill) error {
			if f.Zip {
				return &athens.InvalidError{Path: f.Module.Path, Err: errors.New("bad")}
			}
			if f.Module.Version != "v1.0.0" {
				return takes(time.Hour)(ctx, f)
			}
			return nil
		})
		paths := func(entries []Entry) (paths []string) {
			for _, e := range entries {
				paths = append(paths, e.Path)
			}
			return paths
		}
		for i := range 10 {
			w.schedule(small(i), time.Duration(i)*time.Second)
			w.schedule(whole(20+i), time.Duration(i)*time.Second)
			w.schedule(small(40+9-i), time.Duration(9-i)*time.Hour+time.Hour)
			slow := small(60 + i)
			slow.Module.Version = "v2.0.0"
			w.schedule(slow, 10*time.Second+time.Duration(i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		s := w.Status()
		assert.Equal(t, Counts{Pending: 10, Running: 10, Done: 10, Failed: 10}, s.Counts)
		assert.Equal(t, []string{"example.com/mod40", "example.com/mod41", "example.com/mod42"}, paths(s.Pending))
		assert.Equal(t, []string{"example.com/mod60", "example.com/mod61", "example.com/mod62"}, paths(s.Running))
		assert.Equal(t, []string{"example.com/mod9", "example.com/mod8", "example.com/mod7"}, paths(s.Done))
		assert.Equal(t, []string{"example.com/mod29", "example.com/mod28", "example.com/mod27"}, paths(s.Failed))

		// Once more is named once, as the latest; and what is done at last
		// has not failed.
		w.schedule(small(7), 0)
		w.schedule(small(28), 0)
		synctest.Wait()
		s = w.Status()
		assert.ElementsMatch(t, []string{"example.com/mod28", "example.com/mod7"}, paths(s.Done)[:2])
		assert.Equal(t, "example.com/mod9", s.Done[2].Path)
		assert.Equal(t, []string{"example.com/mod29", "example.com/mod27"}, paths(s.Failed))
		assert.EqualValues(t, 12, s.Counts.Done)
	})
}

// The first of the heap are those that sorting would put first.
func TestFirstPending(t *testing.T) {
	for n := range 200 {
		q, err := New(nil)
		require.NoError(t, err)
		for i := range n {
			require.NoError(t, q.Schedule(t.Context(), small(i), rand.N(time.Second)))
		}
		want := slices.Clone([]*job(q.pending))
		slices.SortFunc(want, func(a, b *job) int {
			return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.seq, b.seq))
		})
		k := rand.N(n + 2)
		assert.True(t, slices.Equal(want[:min(k, n)], q.pending.first(k)), "%d of %d", k, n)
	}
}
