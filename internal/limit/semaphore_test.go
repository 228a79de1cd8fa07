package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ExampleKeyed() {
	hosts := NewKeyed[string](1, 4, 100) // one request to a host, four in all
	release, err := hosts.Acquire(context.Background(), "example.com", time.Second)
	fmt.Println(err)
	_, err = hosts.Acquire(context.Background(), "example.com", time.Millisecond)
	fmt.Println(err)
	release()
	// Output:
	// <nil>
	// too many requests are waiting
}

func TestSemaphore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSemaphore(2)
		require.NoError(t, s.Acquire(t.Context()))
		require.True(t, s.TryAcquire())
		assert.False(t, s.TryAcquire())

		start := time.Now()
		assert.Equal(t, ErrBusy, s.AcquireWithin(t.Context(), time.Minute))
		assert.Equal(t, time.Minute, time.Since(start))

		left := errors.New("the client has left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(left) })
		assert.Equal(t, left, s.Acquire(ctx))
		assert.Equal(t, left, s.AcquireWithin(ctx, time.Minute))

		time.AfterFunc(time.Second, s.Release)
		assert.NoError(t, s.AcquireWithin(t.Context(), time.Minute))
		assert.Equal(t, 2, s.Taken())
		s.Release()
		s.Release()
		assert.Panics(t, s.Release)
	})
}

// Callers get slots in the order in which they came.
func TestSemaphoreIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSemaphore(1)
		require.True(t, s.TryAcquire())
		var order []int
		for i := range 10 {
			go func() {
				if assert.NoError(t, s.Acquire(t.Context())) {
					order = append(order, i)
					s.Release()
				}
			}()
			synctest.Wait()
		}
		s.Release()
		synctest.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
	})
}

// A key that hangs keeps its own slots only, and one wait covers both slots.
func TestKeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeyed[string](2, 3, 10)
		acquire := func(key string) (func(), error) { return k.Acquire(t.Context(), key, time.Minute) }
		a1, err := acquire("a")
		require.NoError(t, err)
		a2, err := acquire("a")
		require.NoError(t, err)
		_, err = acquire("a")
		assert.Equal(t, ErrBusy, err)
		b, err := acquire("b")
		require.NoError(t, err)

		start := time.Now()
		time.AfterFunc(40*time.Second, b)
		c, err := acquire("c") // waits for one of all
		require.NoError(t, err)
		assert.Equal(t, 40*time.Second, time.Since(start))

		start = time.Now()
		time.AfterFunc(40*time.Second, a1)
		time.AfterFunc(40*time.Second, func() { go func() { _, _ = acquire("d") }() })
		go func() { _, _ = acquire("e") }()
		synctest.Wait()
		_, err = acquire("a") // gets a slot of its own after 40 seconds, and none of all
		assert.Equal(t, ErrBusy, err)
		assert.Equal(t, time.Minute, time.Since(start))
		a1() // a second call changes nothing
		a2()
		c()
		synctest.Wait()
		assert.Equal(t, 2, k.Len(), "keys that nobody uses are forgotten")
	})
}

// However many keys are asked for, the number of those that are remembered and of the
// callers that wait is bounded.
func TestKeyedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeyed[int](1, 2, 50)
		ctx, cancel := context.WithCancel(t.Context())
		refused := 0
		for i := range 1000 {
			go func() {
				if _, err := k.Acquire(ctx, i, time.Hour); err == ErrBusy {
					refused++
				}
			}()
			synctest.Wait() // so that refused is counted by one at a time
		}
		assert.Equal(t, 52, k.Len())
		assert.Equal(t, 948, refused)
		cancel()
		synctest.Wait()
		assert.Equal(t, 2, k.Len())
	})
}

// Whatever the order in which callers come, leave and lose patience, no key and not all
// together have more than their slots, and nothing is left behind.
func FuzzKeyed(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 1, 1, 1, 200, 7, 7, 7, 7, 99})
	f.Fuzz(func(t *testing.T, calls []byte) {
		synctest.Test(t, func(t *testing.T) {
			k := NewKeyed[byte](2, 5, 20)
			var mu sync.Mutex
			var running [4]int
			for _, call := range calls {
				time.Sleep(time.Duration(call>>5) * time.Second)
				go func() {
					key := call & 3
					release, err := k.Acquire(t.Context(), key, 3*time.Second)
					if err != nil {
						assert.Equal(t, ErrBusy, err)
						return
					}
					mu.Lock()
					running[key]++
					assert.LessOrEqual(t, running[key], 2)
					assert.LessOrEqual(t, running[0]+running[1]+running[2]+running[3], 5)
					mu.Unlock()
					time.Sleep(time.Duration(call>>2&7) * time.Second)
					mu.Lock()
					running[key]--
					mu.Unlock()
					release()
				}()
				synctest.Wait()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			assert.Zero(t, k.Len())
			assert.Zero(t, k.all.Taken())
			assert.Zero(t, k.count)
		})
	})
}
