package redirect

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

// Filled with the largest answers, what an Upstream and a checksum database remember
// stays within its bytes.
func TestMemoriesStayWithinBytes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, size := range []int{0, 100, maxText} {
		before := heap()
		a := newAbsences()
		for i := range 3 * absentBytes / (size + 100) {
			path := fmt.Sprint("example.com/", i)
			a.note(path, &athens.MissingError{Path: path, Err: errors.New(fmt.Sprint(i, strings.Repeat("x", size)))})
		}
		assert.LessOrEqual(t, heap()-before, int64(absentBytes)*21/20, "words of %d bytes", size)
		assert.Positive(t, a.Len())
		runtime.KeepAlive(a)
	}

	const bound = 8 << 20
	const key = "sum.test+8a0e7e48+AaJJ704Lp9a0ilga9oJvXiSeCKKH+4JwqDP1w4MluCRQ"
	for _, size := range []int{0, 32, 8 << 10, 2 << 20} {
		before := heap()
		c, err := NewChecksums(key, &Options{CacheBytes: bound, Netrc: "none"})
		require.NoError(t, err)
		l := &lookup{db: c}
		for i := range 2 * bound / (size + 100) {
			large := make([]byte, 2*size+16) // of which a part is kept
			l.WriteCache(fmt.Sprint("tile/", i), large[:size])
		}
		assert.LessOrEqual(t, heap()-before, int64(bound)*21/20, "records of %d bytes", size)
		assert.Positive(t, c.cache.Len())
		runtime.KeepAlive(c)
	}
}
