package serve

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// writes counts what is written.
type writes struct {
	mu    sync.Mutex
	text  bytes.Buffer
	calls int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	return w.text.Write(p)
}

func (w *writes) said() (calls int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls, w.text.String()
}

func TestLogBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writes
		log, flush := NewLogger(&w, nil)
		for range 100 {
			log.Info("request")
		}
		calls, _ := w.said()
		assert.Zero(t, calls)
		time.Sleep(logDelay)
		synctest.Wait()
		calls, text := w.said()
		assert.Equal(t, 1, calls)
		assert.Equal(t, 100, strings.Count(text, "msg=request\n"))

		log.Info("before")
		log.With("a", 1).WithGroup("g").Warn("at once", "b", 2)
		calls, text = w.said()
		assert.Equal(t, 2, calls)
		assert.Contains(t, text, `msg=before`)
		assert.Contains(t, text, `msg="at once" a=1 g.b=2`)

		log.Info("last")
		flush()
		time.Sleep(time.Second)
		calls, text = w.said()
		assert.Equal(t, 3, calls, "nothing was waiting any more")
		assert.True(t, strings.HasSuffix(text, "msg=last\n"))

		log.Info(strings.Repeat("long ", logBatch/5))
		calls, _ = w.said()
		assert.Equal(t, 4, calls, "memory is bounded")
	})
}
