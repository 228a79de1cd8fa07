// Package nats catches up in the background on a NATS JetStream server: it is
// the [athens.FillScheduler] that several proxies share, and that survives them.
//
// It runs the same on a server inside the process (see
// github.com/athens-go/athens/backends/nats/embedded), on one server and on a
// cluster; all it needs is a connection:
//
//	js, err := jetstream.New(conn)
//	…
//	fills, err := nats.New(ctx, js, nil)
//	…
//	go fills.Run(ctx, handler.Fill)
//
// A version that is owed is one message, in a stream in which each version has a
// subject of its own. The life of that message:
//
//	         Schedule: stored if           delivered, and due
//	         there is none of it
//	(absent) ───────────────────▶ pending ────────────────────▶ running
//	                               ▲   │  not due: nak'ed        │
//	                               │   └──▶ with what is left    │
//	                               │                             │ nil: acked, gone
//	                               │  error: replaced by one     │
//	                               │  that is due later          │ final error, or tried
//	                               ├─────────────────────────────┤ for too long: told to
//	                               │  worker died: delivered     ▼ the stream of failures,
//	                               └─ again after the lease    failed        then acked
//
// What is promised of a [athens.FillScheduler] holds for all that share the
// stream together: a version that is pending is not run a second time, whoever
// asks for it; the end of a process, or of the server, loses nothing that
// [Queue.Schedule] has accepted. A worker that is cut off, or stopped for longer
// than [Options.Lease], may see its fill run a second time elsewhere.
//
// Clocks: a fill is due by the server's clock at the time it was scheduled, and
// its worker's clock when it runs. A difference between the two shifts the delay.
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/athens-go/athens/internal/backoff"
)

// Schedule returns these errors, beside what the client of NATS says. They don't
// change what a client of the proxy is answered; the next miss schedules again.
var (
	// ErrFull says that [Options.Limit] fills are pending or running.
	ErrFull = errors.New("nats: the stream of fills is full")
	// ErrOffline says that there is no connection to a server now.
	ErrOffline = errors.New("nats: not connected")
)

// Options are the settings of [New]. The zero value is good for a server. All
// that share a stream should have the same Limit, Lease, Failed and KeepFailed:
// the stream has those of whoever came last.
type Options struct {
	// Name is the stream's; with "-failed" behind it, that of the stream of
	// failures. Their subjects begin with it. It has letters, digits, - and _,
	// 64 at most. Empty means "athens-fills".
	Name string
	// Replicas is how many servers of a cluster hold the streams. Zero means
	// one where they are made, and no change where they are there.
	Replicas int

	// Workers is how many fills run at once in this process. Zero means 4.
	Workers int
	// Limit is how many fills may be pending or running together, in all
	// processes; with it full, Schedule returns [ErrFull]. Zero means 10,000.
	Limit int
	// Lease is how long a worker may be silent before its fill is given to
	// another. It says that it is there three times in that time. Zero means
	// 15 seconds; 100 milliseconds are the least.
	Lease time.Duration
	// Wait is how long a call to the server may take. Zero means 2 seconds.
	Wait time.Duration
	// Timeout ends the context of one run of a fill. Zero means 10 minutes.
	Timeout time.Duration
	// Grace is how long fills that are running when Run's context ends may
	// go on before their own context ends. Zero means 10 seconds; less than
	// zero means not at all.
	Grace time.Duration

	// RetryMin is how long a fill waits after its first error, as in
	// [fill.Options]. Zero means 1 second.
	RetryMin time.Duration
	// RetryMax is the longest such wait. Zero means 1 minute, or RetryMin if
	// that is more.
	RetryMax time.Duration
	// GiveUp is how long after its first run a fill that can't succeed is
	// still tried. Zero means 24 hours.
	GiveUp time.Duration

	// Failed is how many failures are kept; the oldest goes first. Zero means
	// 1,000.
	Failed int
	// KeepFailed is how long a failure is kept. Zero means 7 days.
	KeepFailed time.Duration
	// Recent is how many fills each list of a [Queue.Status] names. Zero means
	// 100.
	Recent int
	// Logger receives failures. If nil, nothing is logged.
	Logger *slog.Logger
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// complete fills in the defaults and checks the rest.
func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = "athens-fills"
	}
	if !validName.MatchString(o.Name) {
		return fmt.Errorf("nats: Options.Name is %.80q, not 1 to 64 letters, digits, - and _", o.Name)
	}
	for _, n := range []struct {
		name  string
		value *int
		zero  int
	}{
		{"Replicas", &o.Replicas, 0},
		{"Workers", &o.Workers, 4},
		{"Limit", &o.Limit, 10_000},
		{"Failed", &o.Failed, 1000},
		{"Recent", &o.Recent, 100},
	} {
		if *n.value < 0 {
			return fmt.Errorf("nats: Options.%s is %d, less than zero", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.zero
		}
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	o.Grace = max(o.Grace, 0)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o.completeTimes()
}

func (o *Options) completeTimes() error {
	for _, d := range []struct {
		name        string
		value       *time.Duration
		least, zero time.Duration
	}{
		{"Lease", &o.Lease, 100 * time.Millisecond, 15 * time.Second},
		{"Wait", &o.Wait, time.Millisecond, 2 * time.Second},
		{"Timeout", &o.Timeout, 0, 10 * time.Minute},
		{"RetryMin", &o.RetryMin, 0, time.Second},
		{"RetryMax", &o.RetryMax, 0, max(time.Minute, o.RetryMin)},
		{"GiveUp", &o.GiveUp, 0, 24 * time.Hour},
		{"KeepFailed", &o.KeepFailed, time.Second, 7 * 24 * time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
		if *d.value < d.least {
			return fmt.Errorf("nats: Options.%s is %v, less than %v", d.name, *d.value, d.least)
		}
	}
	if o.RetryMax < o.RetryMin {
		return fmt.Errorf("nats: Options.RetryMax is %v, less than RetryMin, %v", o.RetryMax, o.RetryMin)
	}
	return nil
}

// New returns the queue of a JetStream, and makes or changes its streams. A nil
// opts means the defaults. ctx bounds New only. The connection stays the
// caller's, who closes it after [Queue.Run] has returned.
//
// That there is no server now is no error, so that a proxy can start and serve
// what is held: the streams are made once there is one.
func New(ctx context.Context, js jetstream.JetStream, opts *Options) (*Queue, error) {
	if js == nil {
		return nil, errors.New("nats: New needs a JetStream; js is nil")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	q := &Queue{
		opts:    o,
		js:      js,
		backoff: backoff.Policy{Min: o.RetryMin, Max: o.RetryMax},
		running: make(map[string]*job),
	}
	if _, err := q.there(ctx); away(err) {
		q.opts.Logger.Warn("no NATS server yet: fills are not accepted until there is one", "error", err)
	} else if err != nil {
		return nil, err
	}
	return q, nil
}
