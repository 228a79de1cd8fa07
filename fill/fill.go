// Package fill fetches versions in the background: it is the in-process
// [athens.FillScheduler].
//
// A proxy that redirected a client, or a registry that answered before it had the zip,
// still has a version to fetch. It calls [Queue.Schedule] with an [athens.Fill], which
// takes a few microseconds; [Queue.Run] runs the fill later, and retries it for as long as
// the source is down:
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
//	                                                               ▼ retried for too long
//	                                                             failed
//
// A version has at most one pending fill, however often it is scheduled. An error that
// retrying can't cure ([athens.Final]) fails the fill at once. After any other error the
// fill waits for [Options.MinRetryDelay], then for twice that, up to [Options.MaxRetryDelay], so
// fills continue within a minute after their source is back; after [Options.GiveUpAfter] a
// fill fails with its last error as the reason. A failed fill is not retried: the next
// miss schedules it anew. [Queue.Status] shows all of it.
//
// # Memory
//
// A queue is bounded: [Options.Limit] fills of at most 5 KiB each (a name of 4,096 bytes
// and a reason of 500), usually some 300 bytes, and [Options.Recent] fills of the same
// size in each list of what is done and of what failed. With the default options that is
// a few megabytes, and never more than 55. A journal adds at most a megabyte.
//
// # After a restart
//
// With [New] everything is in memory: fills that are pending when the process ends are
// lost, and the next miss of their versions schedules them again. With [Open] they run
// after the next start, at least once, even if the process was killed or its machine lost
// power:
//
//	fills, err := fill.Open(filepath.Join(dir, ".fills"), nil)
//	…
//	defer fills.Close()
//
// The journal has all that [Queue.Status] shows of a fill, and when it first ran, so that
// it goes on waiting, and fails, as it would have without the restart. Fills that failed
// are still shown. A fill that was running is repeated, after a wait like that after an
// error.
//
//   - kill -9 loses nothing for which Schedule has returned nil, because the kernel has
//     it by then. Schedule waits some 4 microseconds for that, and at most 20
//     milliseconds if the disk hangs; what such a disk did not take before the kill is
//     lost.
//   - A power cut loses at most about the last second: the journal is synced in the
//     background, at once after a pause, and no client waits for it.
//   - What was done in that time may be repeated. A handler then finds the version in its
//     store, and fetches nothing.
//   - A torn or damaged line of a journal loses that line only.
//
// While the disk is full the queue works in memory; it logs that once, and shows it in
// [Status.Journal]. Once there is room it writes the state of all fills. A journal takes
// at most twice what its pending fills take, some 200 bytes each, and a megabyte more.
//
// Several processes may use one folder. Each has a journal of its own there, under a file
// lock; when it dies, another process takes over its fills, either at its own start or
// within a minute. On a system without flock (Windows), and on a network file system where
// flock does not work between machines, a folder is for one process. The queue of
// backends/nats is for processes on several machines.
package fill

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/module"
)

// Schedule returns these errors at once, without having changed anything. The client's
// answer does not depend on them; the next miss schedules again.
var (
	// ErrFull says that [Options.Limit] fills are pending or running.
	ErrFull = errors.New("fill: the queue is full")
	// ErrClosed says that the context of [Queue.Run] is done and the fill would be
	// lost, or that the queue was closed.
	ErrClosed = errors.New("fill: the queue is closed")
)

// Options are the settings of [New] and [Open]. The zero value is good for a server. A
// negative value is an error, except where the field says otherwise.
type Options struct {
	// Limits

	// Workers is how many fills run at once. Zero means 4.
	Workers int
	// Limit is how many fills may be pending or running together; when there are
	// that many, Schedule returns [ErrFull]. Zero means 10,000: usually a few
	// megabytes, and 50 at most.
	Limit int
	// Timeout ends the context of one run of a fill. Zero means 10 minutes.
	Timeout time.Duration
	// GraceTimeout is how long running fills may continue after Run's context ends;
	// then their own context ends. Zero means 10 seconds; negative means not at
	// all.
	GraceTimeout time.Duration

	// Retries

	// MinRetryDelay is how long a fill waits after its first error. Each further error
	// doubles the wait; the actual wait is between half of that and all of it, at
	// random, so that fills that failed together are not retried together.
	// Zero means 1 second.
	MinRetryDelay time.Duration
	// MaxRetryDelay is the longest wait, also when an [athens.UnavailableError] asks
	// for a longer one. Zero means 1 minute, or MinRetryDelay if that is more.
	MaxRetryDelay time.Duration
	// GiveUpAfter is how long after its first run a fill is still retried. Zero means
	// 24 hours.
	GiveUpAfter time.Duration

	// Reports

	// Recent is how many fills each list of a [Status] has; its counts are of all
	// fills. Zero means 100.
	Recent int
	// Logger receives failures. If nil, nothing is logged.
	Logger *slog.Logger
}

// New returns an empty queue in memory. A nil opts means the defaults. The error says
// which option is invalid.
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

// complete sets the defaults and checks the rest.
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
			return fmt.Errorf("fill: Options.%s is %d; it must not be negative", n.name, *n.value)
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
		{"MinRetryDelay", &o.MinRetryDelay, time.Second},
		{"MaxRetryDelay", &o.MaxRetryDelay, max(time.Minute, o.MinRetryDelay)},
		{"GiveUpAfter", &o.GiveUpAfter, 24 * time.Hour},
	} {
		if *d.value < 0 {
			return fmt.Errorf("fill: Options.%s is %v; it must not be negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if o.MaxRetryDelay < o.MinRetryDelay {
		return fmt.Errorf("fill: Options.MaxRetryDelay is %v; it must be at least MinRetryDelay, which is %v", o.MaxRetryDelay, o.MinRetryDelay)
	}
	if o.GraceTimeout == 0 {
		o.GraceTimeout = 10 * time.Second
	}
	o.GraceTimeout = max(o.GraceTimeout, 0)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
