package fill_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

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

// disk makes queues with a journal in a folder.
type disk struct {
	dir    string
	queues []*fill.Queue
}

func (d *disk) open() (athens.FillScheduler, error) {
	q, err := fill.Open(d.dir, nil)
	if err == nil {
		d.queues = append(d.queues, q)
	}
	return q, err
}

// reopen is a new process after the end of the last.
func (d *disk) reopen() (athens.FillScheduler, error) {
	if err := d.queues[len(d.queues)-1].Close(); err != nil {
		return nil, err
	}
	return d.open()
}

// crash is a new process that finds what the kernel has of the last, which is
// alive, at this instant.
func (d *disk) crash(t *testing.T) func() (athens.FillScheduler, error) {
	return func() (athens.FillScheduler, error) {
		left := os.DirFS(d.dir)
		d.dir = t.TempDir()
		if err := os.CopyFS(d.dir, left); err != nil {
			return nil, err
		}
		return d.open()
	}
}

func TestKitJournal(t *testing.T) {
	d := new(disk)
	filltest.Run(t, filltest.Harness{
		New: func() (athens.FillScheduler, error) {
			d.dir = t.TempDir()
			return d.open()
		},
		Advance: func(d time.Duration) { time.Sleep(d); synctest.Wait() },
		Reopen:  d.reopen,
		Crash:   d.crash(t),
		Around: func(t *testing.T, check func(*testing.T)) {
			synctest.Test(t, func(t *testing.T) {
				check(t)
				for _, q := range d.queues {
					assert.NoError(t, q.Close())
				}
				d.queues = nil
			})
		},
	})
}
