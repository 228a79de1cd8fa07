package fetcher

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

func TestMemoryForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTTLCache(1<<20, noBytes)
		m.put("a", struct{}{}, notFoundf("gone"), time.Minute)
		_, err, ok := m.get("a")
		assert.True(t, ok)
		assert.EqualError(t, err, "gone")
		time.Sleep(time.Minute)
		_, _, ok = m.get("a")
		assert.False(t, ok)
	})
}

// A wait that a server asked for runs down while it is remembered.
func TestMemoryTellsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTTLCache(1<<20, noBytes)
		said := &athens.UnavailableError{RetryAfter: 2 * time.Minute, Err: sourceFailure{errNoTag}}
		m.put("a", struct{}{}, said, 2*time.Minute)
		time.Sleep(90 * time.Second)
		_, err, _ := m.get("a")
		var outage *athens.UnavailableError
		require.ErrorAs(t, err, &outage)
		assert.Equal(t, 30*time.Second, outage.RetryAfter)
		assert.Equal(t, 2*time.Minute, said.RetryAfter, "others hold it too")
	})
}

// Filled with the largest tags and errors that are accepted, each memory stays within its
// bytes.
func TestMemoriesStayWithinBytes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, size := range []int{1, 100, maxTag - 100} {
		long := func(i int) string { return fmt.Sprint(i, strings.Repeat("x", size)) }
		fill := map[string]func() any{
			"located": func() any {
				m := newTTLCache(ttlCacheBytes, (*repoLocation).size)
				for i := range 3 * ttlCacheBytes / (size + 200) {
					m.put(fmt.Sprint(i), &repoLocation{vcs: vcsGit, url: long(i), root: fmt.Sprint(i)}, nil, time.Hour)
				}
				return m
			},
			"pages": func() any {
				m := newTTLCache(ttlCacheBytes, importPage.size)
				for i := range 3 * ttlCacheBytes / (size + 200) {
					m.put(fmt.Sprint(i), importPage{fmt.Sprint("https://", i), []goImport{{repo: long(i)}, {prefix: fmt.Sprint(i)}}}, nil, time.Hour)
				}
				return m
			},
			"refusals": func() any {
				m := newTTLCache(ttlCacheBytes, noBytes)
				for i := range 2 * ttlCacheBytes / (size + 200) {
					m.put(fmt.Sprint(i), struct{}{}, notFoundf("%s: %w", long(i), notFoundf("because of %d", i)), time.Hour)
				}
				return m
			},
		}
		for name, make := range fill {
			before := heap()
			m := make()
			assert.LessOrEqual(t, heap()-before, int64(ttlCacheBytes)*21/20, "%s of %d bytes", name, size)
			runtime.KeepAlive(m)
		}
	}
}

// A tag that nobody needs to be so long names no repository, and its text is not repeated.
func TestHugeTagIsRefused(t *testing.T) {
	for _, tag := range []goImport{
		{prefix: "a.test/m", vcs: vcsGit, repo: "https://a.test/" + strings.Repeat("x", 1<<20)},
		{prefix: "a.test/m", vcs: strings.Repeat("x", 1<<20), repo: "https://a.test/m"},
		{prefix: "a.test/m", vcs: vcsGit, repo: "https://a.test/m", subdir: "/" + strings.Repeat("x", 1<<20)},
	} {
		_, err := tag.location("https://a.test/m")
		require.ErrorAs(t, err, new(notFound))
		assert.EqualError(t, err, "https://a.test/m: the go-import tag is larger than 4096 bytes")
	}
}
