package fill_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/fill/filltest"
)

func TestKit(t *testing.T) {
	filltest.Run(t, filltest.Harness{
		New:     func() (athens.FillScheduler, error) { return fill.New(nil) },
		Advance: func(d time.Duration) { time.Sleep(d); synctest.Wait() },
		Around:  synctest.Test,
	})
}
