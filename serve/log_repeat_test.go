package serve

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// said returns the lines that were written, without their times.
func said(w *writes) []string {
	_, text := w.said()
	var all []string
	for line := range strings.Lines(text) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, line)
	}
	return all
}

func TestFailuresOfOneCauseAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writes
		log, flush := NewLogger(&w, nil)
		down := func(n int) {
			path, version := fmt.Sprintf("example.com/Mod%d", n), fmt.Sprintf("v1.%d.0", n)
			log.Warn("request", "module", path, "version", version, "error", fmt.Sprintf(
				`%s@%s: .info: not held, asked upstream: Get "https://up.example.com/example.com/!mod%d/@v/%s.info": dial tcp 192.0.2.1:%d: refused`,
				path, version, n, version, 40000+n))
		}
		down(1)
		assert.Len(t, said(&w), 1, "the first is written at once")
		for n := range 500 {
			down(n)
		}
		log.Warn("request", "error", "another")
		assert.Len(t, said(&w), 2, "another cause is written at once")

		time.Sleep(repeatInterval)
		synctest.Wait()
		lines := said(&w)
		assert.Len(t, lines, 3)
		assert.Contains(t, lines[2], "level=WARN msg=request module=example.com/Mod499 version=v1.499.0")
		assert.True(t, strings.HasSuffix(lines[2], " repeated=500"), lines[2])

		down(7)
		assert.Len(t, said(&w), 3)
		flush()
		assert.True(t, strings.HasSuffix(said(&w)[3], " repeated=1"), "the end loses no count")

		down(8)
		assert.Len(t, said(&w), 5)
		time.Sleep(3 * repeatInterval)
		synctest.Wait()
		assert.Len(t, said(&w), 5, "nothing came again")
		down(9)
		assert.Len(t, said(&w), 6, "it is new again")
		flush()
	})
}

func TestFailuresThatDifferAreAllWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writes
		log, flush := NewLogger(&w, nil)
		log.Warn("a", "error", "status 502")
		log.Warn("a", "error", "status 503")
		log.Warn("b", "error", errors.New("status 502"))
		log.With("queue", 1).Warn("a", "error", "status 502")
		log.Error("a", "error", "status 502")
		log.Error("a", "error", "status 502", "module", "example.com/m")
		log.Error("a", "error", "status 502", "module", "example.com/other")
		log.Warn("no error")
		log.Warn("no error")
		assert.Len(t, said(&w), 9)
		for n := range maxCauses {
			log.Warn("a", "error", strings.Repeat("x", n+1))
			log.Warn("a", "error", strings.Repeat("x", n+1))
		}
		assert.Greater(t, len(said(&w)), 9+maxCauses, "memory is bounded, and lines are not lost for it")
		flush()
	})
}
