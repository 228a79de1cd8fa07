package redirect

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
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
	for _, size := range []int{0, 32, 8 << 10, 2 << 20, 4 << 20} {
		before := heap()
		c, err := NewChecksums(key, &Options{CacheBytes: bound, Netrc: "none"})
		require.NoError(t, err)
		l := &lookup{db: c}
		for i := range 3 * bound / (size + 100) {
			large := make([]byte, 2*size+16) // of which a part is kept
			l.WriteCache(fmt.Sprint("tile/", i), large[:size])
		}
		assert.LessOrEqual(t, heap()-before, int64(bound)*21/20, "records of %d bytes", size)
		assert.Positive(t, c.cache.Len())
		runtime.KeepAlive(c)
	}
}

// Of the answers that are read at once only two may be large, whatever the number of
// connections; small ones don't wait for them, and nobody waits longer than its context.
func TestLargeAnswersTakeTurns(t *testing.T) {
	large := limit.NewSemaphore(largeAnswers)
	buffers := make([]*answerBuffer, largeAnswers)
	for i := range buffers {
		buffers[i] = &answerBuffer{ctx: t.Context(), large: large, wait: time.Minute}
		_, err := buffers[i].Write(make([]byte, smallAnswer+1))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := &answerBuffer{ctx: ctx, large: large, wait: time.Minute}
	_, err := late.Write(make([]byte, smallAnswer))
	require.NoError(t, err)
	_, err = late.Write([]byte{0})
	require.ErrorIs(t, err, context.Canceled)
	late.ctx, late.wait = t.Context(), time.Millisecond
	_, err = late.Write([]byte{0})
	require.ErrorAs(t, err, new(busyError))
	late.wait = time.Minute
	late.release()
	require.Equal(t, largeAnswers, large.Taken())
	buffers[0].release()
	late.ctx = t.Context()
	_, err = late.Write([]byte{0})
	require.NoError(t, err)
	require.Equal(t, smallAnswer+1, late.Len())
	late.release()
	buffers[1].release()
	require.Zero(t, large.Taken())
}

// A large .mod counts for as long as somebody has it, so that any number of them that
// clients and stores hold don't add up.
func TestLargeModsCountUntilCollected(t *testing.T) {
	mods := limit.NewWeighted(8 << 20)
	read := func(wait time.Duration) ([]byte, error) {
		b := &answerBuffer{ctx: t.Context(), large: limit.NewSemaphore(1), wait: time.Minute}
		_, err := b.Write(make([]byte, 5<<20))
		require.NoError(t, err)
		defer b.release()
		b.wait = wait
		return b.Bytes(), b.count(mods)
	}
	kept, err := read(time.Minute)
	require.NoError(t, err)
	_, err = read(30 * time.Millisecond)
	require.ErrorAs(t, err, new(busyError))
	runtime.KeepAlive(kept)
	for range 3 {
		_, err = read(time.Minute) // what was read before is garbage
		require.NoError(t, err)
	}
	small := &answerBuffer{ctx: t.Context()}
	_, _ = small.Write([]byte("m"))
	require.NoError(t, small.count(limit.NewWeighted(0)))
}
