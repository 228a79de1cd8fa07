package athens_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
)

// farFills is a scheduler on a server elsewhere, which answers when it is told to.
type farFills struct {
	fakeFills
	asked  atomic.Int64
	answer chan struct{}
	panics bool
}

func (q *farFills) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	q.asked.Add(1)
	if q.panics {
		panic("a scheduler that goes wrong")
	}
	select {
	case <-q.answer:
		return q.fakeFills.Schedule(ctx, f, after)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// far is a proxy that sends its clients on, and its scheduler.
type far struct {
	*bubble
	fills *farFills
	log   *bytes.Buffer
}

func inFarBubble(t *testing.T, test func(*far)) {
	synctest.Test(t, func(t *testing.T) {
		b := &far{&bubble{T: t, store: newFaultyStore(t), vcs: newFake(t, "vcs"), upstream: &fakeUpstream{newFake(t, "upstream"), "http://up.test/"}},
			&farFills{answer: make(chan struct{})}, &bytes.Buffer{}}
		var err error
		b.Handler, err = athens.NewHandler(b.store, &athens.Options{
			Fetcher: b.vcs, Upstream: b.upstream, Fills: b.fills, MaxScheduling: 2,
			Logger: slog.New(slog.NewTextHandler(b.log, nil)),
		})
		require.NoError(t, err)
		test(b)
		require.NoError(t, b.Shutdown(t.Context()))
	})
}

// redirected asks for files, and requires that one answer at most waits for the
// scheduler, and not for long.
func (b *far) redirected(paths ...string) {
	b.Helper()
	start := time.Now()
	for _, path := range paths {
		w, _ := ask(b.Context(), b.Handler, path)
		require.Equal(b, http.StatusFound, w.Code, w.Body)
	}
	require.LessOrEqual(b, time.Since(start), 100*time.Millisecond, "more than one answer waited")
}

func TestRedirectsDoNotWaitForTheScheduler(t *testing.T) {
	inFarBubble(t, func(b *far) {
		b.redirected("/example.com/m/@v/v1.0.0.info", "/example.com/m/@v/v1.0.0.mod", "/example.com/m/@v/v1.0.0.zip")
		synctest.Wait()
		assert.EqualValues(t, 2, b.fills.asked.Load(), "the .info and the .mod are one fill")
		close(b.fills.answer)
		synctest.Wait()
		assert.ElementsMatch(t, []string{"example.com/m@v1.0.0 after 10s", "example.com/m@v1.0.0 zip after 10s"}, b.fills.take())
		assert.Zero(t, b.Stats().DroppedFills)
	})
}

func TestFillsBeyondTheLimitAreDropped(t *testing.T) {
	inFarBubble(t, func(b *far) {
		b.redirected("/example.com/m/@v/v1.0.0.info", "/example.com/m/@v/v1.1.0.info", "/example.com/m/@v/v1.2.0.info")
		synctest.Wait()
		assert.EqualValues(t, 1, b.Stats().DroppedFills)
		assert.Equal(t, 1, strings.Count(b.log.String(), "fill dropped"), b.log)
		close(b.fills.answer)
		synctest.Wait()
		assert.Len(t, b.fills.take(), 2)
		b.redirected("/example.com/m/@v/v1.2.0.info")
		synctest.Wait()
		assert.Equal(t, []string{"example.com/m@v1.2.0 after 10s"}, b.fills.take(), "the next miss")
	})
}

func TestAHangingSchedulerIsGivenUp(t *testing.T) {
	inFarBubble(t, func(b *far) {
		b.redirected("/example.com/m/@v/v1.0.0.info")
		<-time.After(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, 1, b.Stats().DroppedFills)
		assert.Contains(t, b.log.String(), "fill dropped")
	})
}

func TestASchedulerThatPanicsHarmsNobody(t *testing.T) {
	inFarBubble(t, func(b *far) {
		b.fills.panics = true
		for range 3 { // more than the limit: each gives its place back
			b.redirected("/example.com/m/@v/v1.0.0.info")
			synctest.Wait()
		}
		assert.EqualValues(t, 3, b.Stats().DroppedFills)
		assert.EqualValues(t, 3, b.fills.asked.Load())
		assert.Contains(t, b.log.String(), "a scheduler that goes wrong")
	})
}

// What is on its way to the scheduler arrives there, or is counted as dropped.
func TestShutdownHandsOver(t *testing.T) {
	inFarBubble(t, func(b *far) {
		b.redirected("/example.com/m/@v/v1.0.0.info")
		time.AfterFunc(time.Second, func() { close(b.fills.answer) })
		require.NoError(t, b.Shutdown(b.Context()))
		assert.Len(t, b.fills.take(), 1)
		for range 3 {
			b.redirected("/example.com/m/@v/v1.1.0.info")
		}
		assert.EqualValues(t, 3, b.Stats().DroppedFills, "after the end")
	})
	inFarBubble(t, func(b *far) {
		b.redirected("/example.com/m/@v/v1.0.0.info")
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Shutdown(ctx), context.DeadlineExceeded)
		assert.EqualValues(t, 1, b.Stats().DroppedFills)
	})
}

// A zip that is owed is scheduled before the .mod is stored: after a crash in
// between nobody would fetch it.
func TestWhatIsOwedIsScheduledFirst(t *testing.T) {
	inBubble(t, false, func(b *bubble) {
		fills := &farFills{answer: make(chan struct{})}
		h, err := athens.NewHandler(b.store, &athens.Options{Fetcher: b.vcs, Fills: fills})
		require.NoError(t, err)
		b.vcs.add(example)
		done := make(chan int)
		go func() {
			w, _ := ask(b.Context(), h, "/example.com/m/@v/v1.0.0.mod")
			done <- w.Code
		}()
		synctest.Wait()
		require.EqualValues(t, 1, fills.asked.Load())
		assert.Empty(t, holds(t, b.store, example))
		close(fills.answer)
		assert.Equal(t, http.StatusOK, <-done)
		assert.Equal(t, []string{"example.com/m@v1.0.0 zip after 0s"}, fills.take())
		assert.Equal(t, []string{"info", "mod"}, holds(t, b.store, example))
		require.NoError(t, h.Shutdown(b.Context()))
	})
}
