package cache

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func stringCost(k string, v []byte) int64 { return int64(len(k) + cap(v)) }

func ExampleCache() {
	// The cost function counts what a key and a value refer to.
	c := New(1<<20, func(path string, versions []string) int64 {
		n := len(path)
		for _, v := range versions {
			n += 16 + len(v)
		}
		return int64(n)
	})
	c.PutFor("example.com/mod", []string{"v1.0.0", "v1.1.0"}, time.Minute)
	fmt.Println(c.Get("example.com/mod"))
	c.Delete("example.com/mod")
	fmt.Println(c.Get("example.com/mod"))
	// Output:
	// [v1.0.0 v1.1.0] true
	// [] false
}

// What was not used for the longest time makes room.
func TestLeastRecentlyUsedLeaves(t *testing.T) {
	c := New[string, []byte](0, stringCost)
	c.max = 3 * (c.fixed + 11)
	for _, k := range []string{"a", "b", "c"} {
		c.Put(k, make([]byte, 10))
	}
	_, ok := c.Get("a")
	require.True(t, ok)
	c.Put("d", make([]byte, 10))
	_, ok = c.Get("b")
	assert.False(t, ok)
	assert.Equal(t, 3, c.Len())
	assert.Equal(t, c.max, c.Bytes())

	c.Put("a", make([]byte, 11)) // one byte too much
	assert.Equal(t, 2, c.Len())
	_, ok = c.Get("c")
	assert.False(t, ok)
}

// A value larger than the bound is not kept, and pushes out nothing but the value that
// it replaces.
func TestTooLargeIsNotKept(t *testing.T) {
	c := New(4096, stringCost)
	c.Put("a", []byte("small"))
	c.Put("b", []byte("small"))
	c.Put("b", make([]byte, 4096))
	_, ok := c.Get("a")
	assert.True(t, ok)
	_, ok = c.Get("b")
	assert.False(t, ok, "an old value must not look like the present one")
	c.Put(strings.Repeat("k", 4096), nil)
	assert.Equal(t, 1, c.Len())
}

func TestTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1<<20, stringCost)
		c.PutFor("minute", []byte("x"), time.Minute)
		c.Put("ever", []byte("x"))
		time.Sleep(time.Minute - 1)
		_, ok := c.Get("minute")
		assert.True(t, ok)
		time.Sleep(time.Nanosecond)
		_, ok = c.Get("minute")
		assert.False(t, ok)
		assert.Equal(t, 1, c.Len(), "it is gone once it was asked for")
		time.Sleep(1000 * time.Hour)
		_, ok = c.Get("ever")
		assert.True(t, ok)
		c.PutFor("ever", []byte("y"), 0)
		_, ok = c.Get("ever")
		assert.False(t, ok)
		assert.Zero(t, c.Bytes())

		c.PutFor("updated", []byte("1"), time.Minute)
		time.Sleep(time.Hour)
		c.Update("updated", func(old []byte) []byte {
			assert.Nil(t, old, "what expired is not what is updated")
			return []byte("2")
		})
	})
}

func TestUpdateIsOneStep(t *testing.T) {
	c := New(1<<20, func(string, int) int64 { return 0 })
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 1000 {
				c.Update("n", func(n int) int { return n + 1 })
			}
		})
	}
	done.Wait()
	n, _ := c.Get("n")
	assert.Equal(t, 8000, n)
}

func TestNilAndZeroKeepNothing(t *testing.T) {
	for name, c := range map[string]*Cache[string, []byte]{"nil": nil, "zero": New(0, stringCost), "negative": New(-1, stringCost)} {
		c.Put("a", nil)
		c.PutFor("a", nil, time.Hour)
		c.Update("a", func(b []byte) []byte { return b })
		_, ok := c.Get("a")
		assert.False(t, ok, name)
		c.Delete("a")
		assert.Zero(t, c.Len(), name)
		assert.Zero(t, c.Bytes(), name)
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	c := New(1<<20, stringCost)
	c.PutFor("a", []byte("x"), time.Hour)
	c.Put("b", []byte("x"))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		c.Get("a")
		c.Get("b")
		c.Get("c")
	}))
}

// heap returns the bytes that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// However small or large the values are, the heap grows by no more than the bound; also
// when large ones follow small ones, whose table is not kept.
func TestHeapStaysWithinBound(t *testing.T) {
	const bound = 2 << 20
	for _, sizes := range [][]int{{0}, {1}, {20}, {100}, {1000}, {1 << 10}, {100 << 10}, {500 << 10}, {0, 500 << 10}, {0, 500 << 10, 0}} {
		before := heap()
		c := New(bound, stringCost)
		for round, size := range sizes {
			for i := range 2 * bound / (size + 100) {
				c.Put(fmt.Sprint(round, "-", i), make([]byte, size))
			}
			grown := heap() - before
			assert.LessOrEqual(t, grown, int64(bound)*21/20, "values of %d bytes", sizes[:round+1])
			assert.LessOrEqual(t, c.Bytes(), int64(bound))
			assert.Greater(t, grown, int64(bound)/3, "values of %d bytes: the overhead is not exaggerated", sizes[:round+1])
		}
		runtime.KeepAlive(c)
	}
}

// model is a cache as one would write it without a thought of speed.
type model struct {
	max   int64
	items []item // least recently used first
}

type item struct {
	key     byte
	value   int
	cost    int64
	expires time.Time
}

func (m *model) remove(key byte) (item, bool) {
	i := slices.IndexFunc(m.items, func(it item) bool { return it.key == key })
	if i < 0 {
		return item{}, false
	}
	it := m.items[i]
	m.items = slices.Delete(m.items, i, i+1)
	return it, true
}

func (m *model) get(key byte) (int, bool) {
	it, ok := m.remove(key)
	if !ok || !it.expires.IsZero() && !time.Now().Before(it.expires) {
		return 0, false
	}
	m.items = append(m.items, it)
	return it.value, true
}

func (m *model) put(it item) {
	m.remove(it.key)
	if it.cost > m.max {
		return
	}
	m.items = append(m.items, it)
	for m.bytes() > m.max {
		m.items = m.items[1:]
	}
}

func (m *model) bytes() (n int64) {
	for _, it := range m.items {
		n += it.cost
	}
	return n
}

// Whatever the order of calls, the cache does what the model does.
func FuzzCache(f *testing.F) {
	f.Add([]byte{0, 1, 10, 0, 2, 200, 1, 1, 0, 0, 3, 250, 2, 1, 0, 3, 9, 9, 4, 1, 60, 1, 1, 1})
	f.Fuzz(func(t *testing.T, calls []byte) {
		synctest.Test(t, func(t *testing.T) {
			// A value costs what it is, in hundreds.
			c := New(0, func(_ byte, v int) int64 { return int64(v) * 100 })
			c.max = 100_000
			m := &model{max: c.max}
			for ; len(calls) >= 3; calls = calls[3:] {
				key, value := calls[1]%16, int(calls[2])*5
				it := item{key: key, value: value, cost: int64(value)*100 + c.fixed}
				switch calls[0] % 6 {
				case 0:
					c.Put(key, value)
					m.put(it)
				case 1:
					got, ok := c.Get(key)
					want, held := m.get(key)
					require.Equal(t, held, ok)
					require.Equal(t, want, got)
				case 2:
					c.Delete(key)
					m.remove(key)
				case 3:
					time.Sleep(time.Duration(calls[2]) * time.Second)
				case 4:
					ttl := time.Duration(calls[2]) * time.Second
					c.PutFor(key, value, ttl)
					if it.expires = time.Now().Add(ttl); ttl == 0 {
						it.cost = m.max + 1
					}
					m.put(it)
				case 5:
					c.Update(key, func(old int) int { return old/2 + value })
					old, _ := m.get(key)
					it.value = old/2 + value
					it.cost = int64(it.value)*100 + c.fixed
					m.put(it)
				}
				require.Equal(t, m.bytes(), c.Bytes())
				require.Equal(t, len(m.items), c.Len())
			}
		})
	})
}

func BenchmarkGet(b *testing.B) {
	c := New(1<<20, stringCost)
	for i := range 100 {
		c.Put(fmt.Sprint(i), nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Get("7")
		c.Get("8")
	}
}
