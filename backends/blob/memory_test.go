package blob

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// What was seen is believed for its time, each part for its own, within its bytes.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lasts = time.Minute
		c := newMemory(4000, lasts)
		m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
		c.addMeta(m, &meta{object: make([]byte, 100)}, 0)
		time.Sleep(lasts / 2)
		c.addZip(m, &zipObject{size: 7}, 0)
		require.NotNil(t, c.get(m).meta)
		require.NotNil(t, c.get(m).zip)
		time.Sleep(lasts/2 + time.Second)
		require.Nil(t, c.get(m).meta)
		require.NotNil(t, c.get(m).zip)
		c.dropZip(m)
		require.Nil(t, c.get(m).zip)

		c.addMeta(m, &meta{object: make([]byte, 100)}, 0)
		for i := range 100 {
			c.addMeta(module.Version{Path: fmt.Sprint(i)}, &meta{object: make([]byte, 100)}, 0)
			require.NotNil(t, c.get(m).meta, "what is asked for stays")
			require.LessOrEqual(t, c.Bytes(), int64(4000))
		}
		large := module.Version{Path: "example.com/large"}
		c.addMeta(large, &meta{object: make([]byte, 4000)}, 0)
		require.Nil(t, c.get(large).meta)
	})
	c := newMemory(4000, time.Minute)
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	asked := c.epoch.Load()
	c.forget(m) // while the answer was on its way
	c.addMeta(m, &meta{object: make([]byte, 100)}, asked)
	c.addZip(m, &zipObject{size: 7}, asked)
	require.Nil(t, c.get(m).meta)
	require.Nil(t, c.get(m).zip)
	none := newMemory(-1, time.Minute)
	none.addMeta(module.Version{}, &meta{}, 0)
	require.Zero(t, none.get(module.Version{}))
}

// Filled with the largest objects and the smallest, memory stays within its bytes.
func TestMemoryStaysWithinBytes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const bound = 8 << 20
	for _, length := range []int{10, 1000, 60_000} {
		before := heap()
		c := newMemory(bound, time.Hour)
		for i := range 2 * bound / (length + 500) {
			m := module.Version{Path: fmt.Sprint("example.com/", i), Version: fmt.Sprint("v1.0.", i)}
			mod := []byte("module " + m.Path + "\n//" + strings.Repeat("x", length) + "\n")
			d, err := encodeMeta(m, &athens.Info{Version: m.Version, Time: time.Now(), Origin: &athens.Origin{URL: fmt.Sprint(i, strings.Repeat("u", length))}}, mod)
			require.NoError(t, err)
			c.addMeta(m, d, 0)
			c.addZip(m, &zipObject{etag: fmt.Sprint("e", i), h1: fmt.Sprint("h", i)}, 0)
		}
		require.LessOrEqual(t, heap()-before, int64(bound)*21/20, "objects of %d bytes", length)
		runtime.KeepAlive(c)
	}
}
