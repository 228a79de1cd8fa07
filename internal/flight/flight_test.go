package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestManyWaitersOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := NewCalls[string, int](t.Context())
		var ran atomic.Int32
		release := make(chan struct{})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				v, err := calls.Do(t.Context(), "k", func(context.Context) (int, error) {
					ran.Add(1)
					<-release
					return 7, nil
				})
				assert.NoError(t, err)
				assert.Equal(t, 7, v)
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		calls.Wait()
		assert.EqualValues(t, 1, ran.Load())
	})
}

func TestWaiterLeavesCallGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := NewCalls[string, int](t.Context())
		release := make(chan struct{})
		call := func(ctx context.Context) (int, error) {
			<-release
			return 7, ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			_, err := calls.Do(ctx, "k", call)
			assert.ErrorIs(t, err, context.Canceled)
		}()
		synctest.Wait()
		leave()
		synctest.Wait()
		go close(release)
		v, err := calls.Do(t.Context(), "k", call)
		assert.NoError(t, err)
		assert.Equal(t, 7, v)
	})
}

func TestPanicIsAnError(t *testing.T) {
	calls := NewCalls[string, int](t.Context())
	_, err := calls.Do(t.Context(), "k", func(context.Context) (int, error) { panic("boom") })
	var p *PanicError
	assert.True(t, errors.As(err, &p))
	assert.EqualError(t, err, "internal error: boom")
	assert.NotEmpty(t, p.Stack)
	calls.Wait()
}

// A test's fake that fails the test ends its goroutine: nobody may wait for ever.
func TestGoexitIsAnError(t *testing.T) {
	calls := NewCalls[string, int](t.Context())
	quit := func() (int, error) {
		runtime.Goexit()
		return 7, nil
	}
	_, err := calls.Do(t.Context(), "k", func(context.Context) (int, error) { return quit() })
	assert.ErrorIs(t, err, errGone)
	calls.Wait()
	_, err = Start(quit).Wait(t.Context())
	assert.ErrorIs(t, err, errGone)
}

func ExampleCalls() {
	calls := NewCalls[string, int](context.Background())
	n, err := calls.Do(context.Background(), "answer", func(context.Context) (int, error) { return 42, nil })
	fmt.Println(n, err)
	// Output: 42 <nil>
}
