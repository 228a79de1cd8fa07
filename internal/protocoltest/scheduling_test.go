package protocoltest_test

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
	"github.com/athens-go/athens/internal/athenstest"
)

// remoteFills is a scheduler on a server elsewhere, which answers when it is told to.
type remoteFills struct {
	athenstest.Fills
	asked  atomic.Int64
	answer chan struct{}
	panics bool
}

func (q *remoteFills) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	q.asked.Add(1)
	if q.panics {
		panic("a scheduler that goes wrong")
	}
	select {
	case <-q.answer:
		return q.Fills.Schedule(ctx, f, after)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remoteFixture is a proxy that sends its clients on, and its scheduler.
type remoteFixture struct {
	*fixture
	fills *remoteFills
	log   *bytes.Buffer
}

func withRemoteFixture(t *testing.T, test func(*remoteFixture)) {
	synctest.Test(t, func(t *testing.T) {
		b := &remoteFixture{&fixture{T: t, store: athenstest.NewStore(t), vcs: athenstest.NewSource(t, "vcs"), upstream: athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "http://up.test/")},
			&remoteFills{answer: make(chan struct{})}, &bytes.Buffer{}}
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
func (b *remoteFixture) redirected(paths ...string) {
	b.Helper()
	start := time.Now()
	for _, path := range paths {
		w, _ := athenstest.Ask(b.Context(), b.Handler, path)
		require.Equal(b, http.StatusFound, w.Code, w.Body)
	}
	require.LessOrEqual(b, time.Since(start), 100*time.Millisecond, "more than one answer waited")
}

func TestRedirectsDoNotWaitForTheScheduler(t *testing.T) {
	withRemoteFixture(t, func(b *remoteFixture) {
		b.redirected("/example.com/m/@v/v1.0.0.info", "/example.com/m/@v/v1.0.0.mod", "/example.com/m/@v/v1.0.0.zip")
		synctest.Wait()
		assert.EqualValues(t, 2, b.fills.asked.Load(), "the .info and the .mod are one fill")
		close(b.fills.answer)
		synctest.Wait()
		assert.ElementsMatch(t, []string{"example.com/m@v1.0.0 after 10s", "example.com/m@v1.0.0 zip after 10s"}, b.fills.Take())
		assert.Zero(t, b.Stats().DroppedFills)
	})
}

func TestFillsBeyondTheLimitAreDropped(t *testing.T) {
	withRemoteFixture(t, func(b *remoteFixture) {
		b.redirected("/example.com/m/@v/v1.0.0.info", "/example.com/m/@v/v1.1.0.info", "/example.com/m/@v/v1.2.0.info")
		synctest.Wait()
		assert.EqualValues(t, 1, b.Stats().DroppedFills)
		assert.Equal(t, 1, strings.Count(b.log.String(), "fill dropped"), b.log)
		close(b.fills.answer)
		synctest.Wait()
		assert.Len(t, b.fills.Take(), 2)
		b.redirected("/example.com/m/@v/v1.2.0.info")
		synctest.Wait()
		assert.Equal(t, []string{"example.com/m@v1.2.0 after 10s"}, b.fills.Take(), "the next miss")
	})
}

func TestAHangingSchedulerIsGivenUp(t *testing.T) {
	withRemoteFixture(t, func(b *remoteFixture) {
		b.redirected("/example.com/m/@v/v1.0.0.info")
		<-time.After(time.Minute)
		synctest.Wait()
		assert.EqualValues(t, 1, b.Stats().DroppedFills)
		assert.Contains(t, b.log.String(), "fill dropped")
	})
}

func TestASchedulerThatPanicsHarmsNobody(t *testing.T) {
	withRemoteFixture(t, func(b *remoteFixture) {
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
	withRemoteFixture(t, func(b *remoteFixture) {
		b.redirected("/example.com/m/@v/v1.0.0.info")
		time.AfterFunc(time.Second, func() { close(b.fills.answer) })
		require.NoError(t, b.Shutdown(b.Context()))
		assert.Len(t, b.fills.Take(), 1)
		for range 3 {
			b.redirected("/example.com/m/@v/v1.1.0.info")
		}
		assert.EqualValues(t, 3, b.Stats().DroppedFills, "after the end")
	})
	withRemoteFixture(t, func(b *remoteFixture) {
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
	withFixture(t, false, func(b *fixture) {
		fills := &remoteFills{answer: make(chan struct{})}
		h, err := athens.NewHandler(b.store, &athens.Options{Fetcher: b.vcs, Fills: fills})
		require.NoError(t, err)
		b.vcs.Add(athenstest.Example)
		done := make(chan int)
		go func() {
			w, _ := athenstest.Ask(b.Context(), h, "/example.com/m/@v/v1.0.0.mod")
			done <- w.Code
		}()
		synctest.Wait()
		require.EqualValues(t, 1, fills.asked.Load())
		assert.Empty(t, athenstest.Held(t, b.store, athenstest.Example))
		close(fills.answer)
		assert.Equal(t, http.StatusOK, <-done)
		assert.Equal(t, []string{"example.com/m@v1.0.0 zip after 0s"}, fills.Take())
		assert.Equal(t, []string{"info", "mod"}, athenstest.Held(t, b.store, athenstest.Example))
		require.NoError(t, h.Shutdown(b.Context()))
	})
}
