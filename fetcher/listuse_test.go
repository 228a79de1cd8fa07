package fetcher

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

// largeRefs is a list of about so many bytes.
func largeRefs(bytes int) *refSet {
	rs := &refSet{user: newListUser()}
	list := &refList{}
	for i := 0; list.bytes() < int64(bytes); i++ {
		list.add(fmt.Appendf(nil, "%sv1.0.%d", tagsPrefix, i), gitwire.ID{byte(i)}, gitwire.ID{byte(i)})
	}
	rs.list = list.sort()
	return rs
}

// Lists that questions use are bounded in sum, also when they are no longer kept. One
// that several questions use counts once, and a question that finds no room says so.
func TestListsInUseAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fetcher{listUse: newListUse(1<<20, 2<<20, 1)}
		one, two := largeRefs(700<<10), largeRefs(700<<10)
		var releases []func()
		for range 5 {
			release, err := f.use(t.Context(), one)
			require.NoError(t, err)
			releases = append(releases, release)
		}
		assert.LessOrEqual(t, f.listUse.used.Taken(), int64(1<<20))
		start := time.Now()
		_, err := f.use(t.Context(), two)
		var busy *athens.UnavailableError
		require.ErrorAs(t, err, &busy)
		assert.ErrorContains(t, err, "RefsCacheBytes")
		assert.NotZero(t, busy.RetryAfter)
		assert.Equal(t, listWait, time.Since(start))

		small, err := f.use(t.Context(), largeRefs(countedList/2))
		require.NoError(t, err, "a small list waits for nobody")
		small()
		got := make(chan struct{})
		go func() {
			defer close(got)
			release, err := f.use(t.Context(), two)
			assert.NoError(t, err)
			release()
		}()
		synctest.Wait()
		for _, release := range releases {
			release()
		}
		<-got
		assert.Zero(t, f.listUse.used.Taken())
	})
}

// What questions make of lists is bounded in sum.
func TestVersionsOfListsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := largeRefs(1 << 20)
		r := &repo{f: &Fetcher{listUse: newListUse(1<<20, 0, 1)}}
		ask := func() (*codeRepo, error) {
			s, err := newSource(&repoLocation{root: "corp.test/m"}, "corp.test/m", r, rs)
			require.NoError(t, err)
			list, err := s.versions(t.Context())
			if err == nil {
				assert.Len(t, list, rs.list.len())
			}
			return s, err
		}
		first, err := ask()
		require.NoError(t, err)
		_, err = first.versionsWith(t.Context(), "v1.0.")
		require.NoError(t, err, "a question has room for all that it makes")
		_, err = ask()
		require.ErrorAs(t, err, new(*athens.UnavailableError))
		first.end()
		next, err := ask()
		require.NoError(t, err)
		next.end()
		assert.Zero(t, r.f.listUse.made.Taken())
	})
}

// A list that came in any order is found and walked as one that came in order, and of
// references with one name the last counts.
func TestListInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]gitwire.ID{}
	list := &refList{}
	for i := range 2000 {
		name := fmt.Sprintf("%s%d", tagsPrefix, random.IntN(1000))
		if i%5 == 0 {
			name = fmt.Sprintf("%s%d", headsPrefix, random.IntN(1000))
		}
		want[name] = gitwire.ID{byte(i), byte(i >> 8)}
		list.add([]byte(name), want[name], gitwire.ID{1: 9})
	}
	rs := &refSet{list: list.sort()}
	var names []string
	for r := range rs.all() {
		names = append(names, r.name)
		assert.Equal(t, want[r.name].String(), r.commit)
		assert.Equal(t, r, rs.get(r.name))
	}
	assert.True(t, slices.IsSorted(names))
	assert.Len(t, names, len(want))
	tags := slices.Collect(rs.tags("1"))
	by := rs.byCommit("1", func(string) bool { return true })
	for _, tag := range tags {
		commit := rs.commit(tagsPrefix + tag)
		assert.Contains(t, slices.Collect(rs.tagsOf(commit)), tag)
		assert.Contains(t, slices.Collect(by.of(commit)), tag)
	}
	assert.Empty(t, slices.Collect(by.of(someHash)))
}
