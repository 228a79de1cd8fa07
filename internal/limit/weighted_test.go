package limit

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWeighted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWeighted(10)
		first, err := w.Acquire(t.Context(), 6, 0)
		require.NoError(t, err)
		_, err = w.Acquire(t.Context(), 5, time.Second)
		require.ErrorIs(t, err, ErrBusy)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = w.Acquire(ctx, 5, time.Hour)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		var mu sync.Mutex
		var order []int
		for i, n := range []int64{8, 1, 100} { // a small one does not pass a large one
			go func() {
				release, err := w.Acquire(t.Context(), n, time.Hour)
				assert.NoError(t, err)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Minute)
				release()
			}()
			synctest.Wait()
		}
		assert.EqualValues(t, 6, w.Taken())
		first()
		first()
		synctest.Wait()
		assert.EqualValues(t, 9, w.Taken())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, order, 3)
		assert.Equal(t, 2, order[2])
		assert.Zero(t, w.Taken())
		assert.Empty(t, w.queue)
	})
}

// One that gives up does not keep those behind it waiting, and no more is ever taken than
// there is.
func TestWeightedUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWeighted(10)
		var most, ended atomic.Int64
		for i := range 200 {
			go func() {
				defer ended.Add(1)
				release, err := w.Acquire(t.Context(), int64(i%12), time.Duration(i)*time.Second)
				if err != nil {
					assert.ErrorIs(t, err, ErrBusy)
					return
				}
				most.Store(max(most.Load(), w.Taken()))
				time.Sleep(time.Second)
				release()
			}()
		}
		time.Sleep(time.Hour)
		assert.EqualValues(t, 200, ended.Load())
		assert.LessOrEqual(t, most.Load(), int64(10))
		assert.Zero(t, w.Taken())
	})
}

// Bytes count for as long as somebody has them, and no longer.
func TestBytesCountUntilTheyAreCollected(t *testing.T) {
	w := NewWeighted(8 << 20)
	keep := make([][]byte, 1)
	for i := range 12 {
		release, err := w.AcquireBytes(t.Context(), 3<<20, time.Minute)
		require.NoError(t, err, "round %d", i)
		b := make([]byte, 3<<20)
		ReleaseWith(b, release)
		keep[0] = b // the one before is garbage
	}
	assert.GreaterOrEqual(t, w.Taken(), int64(3<<20))
	release, err := w.AcquireBytes(t.Context(), 5<<20, time.Minute)
	require.NoError(t, err)
	_, err = w.AcquireBytes(t.Context(), 1<<20, 20*time.Millisecond)
	require.ErrorIs(t, err, ErrBusy)
	release()
	runtime.KeepAlive(keep[0])
}
