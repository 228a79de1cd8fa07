// Package fill catches up in the background: it is the in-process
// [athens.FillScheduler].
//
// A proxy that sends a client elsewhere, and a registry that answered before it
// had the zip, owe themselves a version. They [Queue.Schedule] a [athens.Fill],
// which costs a few microseconds and never waits; [Queue.Run] works it off
// later and tries again for as long as the source is down:
//
//	fills, err := fill.New(nil)
//	…
//	go fills.Run(ctx, handler.Fill)
//
// The life of a fill:
//
//	         Schedule                due, and a worker is free
//	(absent) ────────▶ pending ────────────────────────────────▶ running
//	                      ▲                                        │
//	                      │  error: wait longer each time          │ nil: done
//	                      └────────────────────────────────────────┤
//	                                                               │ final error, or
//	                                                               ▼ tried for too long
//	                                                             failed
//
// A version has at most one pending fill, however often it is asked for. What
// can't become better by asking again ([athens.Final]) fails at once. An error
// that may pass is tried again after [Options.RetryMin], then after twice that,
// up to [Options.RetryMax], so fills go on by themselves within a minute after
// a source is back; after [Options.GiveUp] a fill fails with its last error as
// the reason. A failed fill is forgotten as work: the next miss schedules it
// anew. [Queue.Status] shows all of it.
//
// # After a restart
//
// With [New] everything is in memory: what is pending when the process ends is
// lost, and the next miss of that version schedules it again. With [Open] it is
// done after the next start, at least once, whether the process has ended in
// order, was killed or lost its machine:
//
//	fills, err := fill.Open(filepath.Join(dir, ".fills"), nil)
//	…
//	defer fills.Close()
//
// What is kept of a fill is all that [Queue.Status] shows of it and when it ran
// first, so that it goes on waiting, and is given up, as it would have been.
// Fills that failed are shown on. One that was running is run again, after a wait
// like that after an error.
//
//   - kill -9 loses nothing for which Schedule has returned nil: the kernel has
//     it by then. Schedule waits some 4 microseconds for that, and 20
//     milliseconds if the disk hangs; what such a disk did not take until the
//     kill is lost.
//   - A power cut loses a second or so at most: the journal is synced in the
//     background, at once after a pause, and no client waits for it.
//   - What was done in that time may be done again. A handler finds the version
//     in its store then, and fetches nothing.
//   - A torn or damaged line of a journal costs that line.
//
// On a full disk the queue goes on in memory, says so once in its log, and for
// as long in [Status.Journal]; when there is room again it writes down all of it.
// A journal has at most a megabyte more than twice what is pending takes, some
// 200 bytes a fill.
//
// Several processes may use one folder. Each has a journal of its own there,
// under a file lock; when it dies, the first of the others that looks, or the
// next that starts, takes over its fills. They look once a minute. On a system
// without flock (Windows), and on a network file system where flock does not
// hold between its clients, a folder is for one process. The queue of backends/nats
// is for processes on several machines.
package fill

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/module"
)

// Schedule returns these errors, at once and without having done anything. They
// don't change what a client is answered; the next miss schedules again.
var (
	// ErrFull says that [Options.Limit] fills are pending or running.
	ErrFull = errors.New("fill: the queue is full")
	// ErrClosed says that the context of [Queue.Run] is done, and nobody would
	// remember the fill; or that the queue was closed.
	ErrClosed = errors.New("fill: the queue is closed")
)

// Options are the settings of [New] and [Open]. The zero value is good for a server.
type Options struct {
	// Workers is how many fills run at once. Zero means 4.
	Workers int
	// Limit is how many fills may be pending or running together; with it
	// full, Schedule returns [ErrFull]. Zero means 10,000, which is a few
	// megabytes.
	Limit int
	// Timeout ends the context of one run of a fill. Zero means 10 minutes.
	Timeout time.Duration
	// Grace is how long fills that are running when Run's context ends may
	// go on before their own context ends. Zero means 10 seconds; less than
	// zero means not at all.
	Grace time.Duration
	// RetryMin is how long a fill waits after its first error. Each further
	// error doubles the wait; between half of it and all of it is then taken
	// at random, so that what failed together does not come back together.
	// Zero means 1 second.
	RetryMin time.Duration
	// RetryMax is the longest wait, also when an [athens.UnavailableError]
	// asks for a longer one. Zero means 1 minute, or RetryMin if that is more.
	RetryMax time.Duration
	// GiveUp is how long after its first run a fill that can't succeed is
	// still tried. Zero means 24 hours.
	GiveUp time.Duration
	// Recent is how many fills each list of a [Status] names; the counts are
	// of all. Zero means 100.
	Recent int
	// Log is told what fails. Nil means nobody is.
	Log *slog.Logger
}

// New returns an empty queue in memory. A nil opts means the defaults. The error says
// which option can't be right.
func New(opts *Options) (*Queue, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Queue{
		opts:   o,
		wake:   make(chan struct{}, 1),
		jobs:   make(map[module.Version]*job),
		done:   history{keep: o.Recent},
		failed: history{keep: o.Recent},
	}, nil
}

// complete fills in the defaults and checks the rest.
func (o *Options) complete() error {
	for _, n := range []struct {
		name  string
		value *int
		zero  int
	}{
		{"Workers", &o.Workers, 4},
		{"Limit", &o.Limit, 10_000},
		{"Recent", &o.Recent, 100},
	} {
		if *n.value < 0 {
			return fmt.Errorf("fill: Options.%s is %d, less than zero", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.zero
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"Timeout", &o.Timeout, 10 * time.Minute},
		{"RetryMin", &o.RetryMin, time.Second},
		{"RetryMax", &o.RetryMax, max(time.Minute, o.RetryMin)},
		{"GiveUp", &o.GiveUp, 24 * time.Hour},
	} {
		if *d.value < 0 {
			return fmt.Errorf("fill: Options.%s is %v, less than zero", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if o.RetryMax < o.RetryMin {
		return fmt.Errorf("fill: Options.RetryMax is %v, less than RetryMin, %v", o.RetryMax, o.RetryMin)
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	o.Grace = max(o.Grace, 0)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
