package web

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// watcher is a browser that watches the first page.
type watcher struct {
	*httptest.ResponseRecorder
	mu   sync.Mutex
	all  string
	seen int
}

// Write keeps what the server sends.
func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all += string(p)
	return len(p), nil
}

// more is what came since the last call.
func (w *watcher) more() string {
	time.Sleep(streamTick)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.seen = len(w.all) }()
	return w.all[w.seen:]
}

// A browser that watches learns what comes in and fails, and nothing of what its reader may
// not see, until it leaves, the server ends, or ten minutes are over.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShown(t, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		open := func(ctx context.Context) (*watcher, chan struct{}) {
			w, done := &watcher{ResponseRecorder: httptest.NewRecorder()}, make(chan struct{})
			go func() {
				defer close(done)
				s.ServeHTTP(w, httptest.NewRequest("GET", "/-/stream", nil).WithContext(ctx))
			}()
			return w, done
		}
		w, done := open(ctx)
		first := w.more()
		assert.Equal(t, "text/event-stream", w.Header().Get("Content-Type"))
		assert.Equal(t, policy, w.Header().Get("Content-Security-Policy"))
		require.True(t, strings.HasPrefix(first, "event: live\ndata: "), first)
		assert.Empty(t, w.more(), "nothing has changed")
		for line := range strings.Lines(strings.TrimSuffix(first, "\n")) {
			assert.Regexp(t, `^(event: live|data: .*|data:)\n$`, line)
		}

		s.observe(&athens.Event{Op: athens.OpPut, Outcome: athens.OutcomeDone, Module: module.Version{Path: "example.com/new", Version: "v1.0.0"}})
		assert.Contains(t, w.more(), "example.com/new")
		s.observe(&athens.Event{Op: athens.OpPut, Outcome: athens.OutcomeDone, Module: module.Version{Path: "corp.test/secret", Version: "v9.0.0"}})
		assert.Empty(t, w.more(), "the reader may not see it, nor when it came")
		time.Sleep(streamHeartbeat)
		assert.Contains(t, w.more(), ": \n\n", "it lives")
		cancel()
		<-done

		began := time.Now()
		_, done = open(t.Context())
		<-done
		assert.Equal(t, streamTime, time.Since(began))
		ended := make([]chan struct{}, maxStreams)
		for i := range ended {
			_, ended[i] = open(t.Context())
		}
		synctest.Wait()
		assert.Equal(t, 503, s.get("/-/stream").Code)
		s.end()
		for i := range ended {
			<-ended[i]
		}
	})
}
