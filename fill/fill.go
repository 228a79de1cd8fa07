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
// Everything is in memory: what is pending when the process ends is lost, and
// the next miss of that version schedules it again.
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
	// ErrClosed says that the context of [Queue.Run] is done.
	ErrClosed = errors.New("fill: the queue is closed")
)

// Options are the settings of [New]. The zero value is good for a server.
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

// New returns an empty queue. A nil opts means the defaults. The error says
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
