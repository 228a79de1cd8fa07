package nats_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
	"github.com/athens-go/athens/fill/filltest"
)

// unit is where the kit begins; it takes longer units if the machine is too slow.
const unit = 500 * time.Millisecond

// TestKit checks all promises at the same time, each with streams of its own: the server
// uses the machine's clock, so the kit's delays take real time. A lease or a call that
// timed out because the machine is busy would break a promise.
func TestKit(t *testing.T) {
	t.Parallel()
	for on, connect := range servers {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			js := connect(t)
			var all sync.WaitGroup
			for _, c := range filltest.Cases() {
				opts := nats.Options{GraceTimeout: 10 * time.Second, MinRetryDelay: unit / 4, MaxRetryDelay: unit, LeaseTimeout: patience, RequestTimeout: patience}
				open := func() (athens.FillScheduler, error) { return nats.New(t.Context(), js, &opts) }
				tries := 0
				fresh := func() (athens.FillScheduler, error) {
					tries++
					opts.Name = fmt.Sprintf("%s-%d", c.Name, tries)
					return open()
				}
				h := filltest.Harness{New: fresh, Reopen: open, Advance: wait, Unit: unit, Slack: patience, Grace: opts.GraceTimeout}
				if c.Applies != nil && !c.Applies(h) {
					continue
				}
				all.Go(func() { assert.NoError(t, c.Check(h), "%s: %s", c.Name, c.Promise) })
			}
			all.Wait()
		})
	}
}

func wait(d time.Duration) { <-time.After(d) }

// servers are the ways to an empty JetStream.
var servers = map[string]func(*testing.T) jetstream.JetStream{"embedded": inProcess, "loopback": overTCP}
