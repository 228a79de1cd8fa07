// Package nats keeps fills on a NATS JetStream server: it is an
// [athens.FillScheduler] that several proxies share and that outlives each of them.
//
// It works with a server inside the process (see
// github.com/athens-go/athens/backends/nats/embedded), with one server elsewhere
// and with a cluster; all it needs is a connection:
//
//	js, err := jetstream.New(conn)
//	…
//	fills, err := nats.New(ctx, js, nil)
//	…
//	go fills.Run(ctx, handler.Fill)
//
// A pending fill is one message, in a stream in which each version has a subject of
// its own. The life of that message:
//
//	         Schedule: stored if           delivered, and due
//	         there is none yet
//	(absent) ───────────────────▶ pending ────────────────────▶ running
//	                               ▲   │  not due: nak'ed        │
//	                               │   └──▶ with what is left    │
//	                               │                             │ nil: acked, gone
//	                               │  error: replaced by one     │
//	                               │  that is due later          │ final error, or tried
//	                               ├─────────────────────────────┤ for too long: stored in
//	                               │  worker died: delivered     ▼ the stream of failures,
//	                               └─ again after the lease    failed        then acked
//
// All processes that share the stream keep the promises of [athens.FillScheduler]
// together: however many of them schedule a pending version, it runs once; a process
// or server that ends loses no fill that [Queue.Schedule] has accepted. If a worker
// loses its connection or stops for longer than [Options.LeaseTimeout], its fill may run a
// second time elsewhere.
//
// Clocks: the server's clock says when a fill was scheduled, and the worker's clock
// whether it is due. A difference between the two shifts the delay.
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

// Schedule returns these errors, besides errors of the NATS client. A client of the
// proxy gets its answer all the same; the next miss schedules the fill again.
var (
	// ErrFull means that [Options.Limit] fills are pending or running.
	ErrFull = errors.New("nats: the stream of fills is full")
	// ErrOffline means that there is no connection to a server now.
	ErrOffline = errors.New("nats: not connected")
)

// Options configures [New]. The zero value suits a server. All processes that share a
// stream should use the same Limit, Lease, Failed and FailedTTL: the stream takes
// those of the latest New.
type Options struct {
	// Streams

	// Name is the name of the stream. The stream of failures is called Name with
	// "-failed" appended, and all subjects begin with Name. It has 1 to 64
	// letters, digits, - and _. Empty means "athens-fills".
	Name string
	// Replicas is how many servers of a cluster store the streams. Zero means
	// one for new streams, and no change for existing ones.
	Replicas int

	// Work

	// Workers is how many fills run at once in this process. Zero means 4.
	Workers int
	// Timeout ends the context of one run of a fill. Zero means 10 minutes.
	Timeout time.Duration
	// GraceTimeout is how long running fills may continue after Run's context ends,
	// before their own context ends. Zero means 10 seconds; a negative value
	// means none.
	GraceTimeout time.Duration
	// LeaseTimeout is how long a worker may be silent before another worker gets its
	// fill. A worker reports three times in that time. Zero means 15 seconds;
	// the minimum is 100 milliseconds.
	LeaseTimeout time.Duration
	// RequestTimeout is how long a call to the server may take. Zero means 2 seconds.
	RequestTimeout time.Duration

	// Retries

	// MinRetryDelay is how long a fill waits after its first error, as in
	// [fill.Options]. Zero means 1 second.
	MinRetryDelay time.Duration
	// MaxRetryDelay is the longest such wait. Zero means 1 minute, or MinRetryDelay if
	// that is longer.
	MaxRetryDelay time.Duration
	// GiveUpAfter is how long after its first run a fill that fails is still
	// retried. Zero means 24 hours.
	GiveUpAfter time.Duration

	// Limits

	// Limit is how many fills may be pending or running in all processes
	// together; beyond it, Schedule returns [ErrFull]. Zero means 10,000.
	Limit int
	// Failed is how many failures the server keeps; a new one replaces the
	// oldest. Zero means 1,000.
	Failed int
	// FailedTTL is how long the server keeps a failure. Zero means 7 days.
	FailedTTL time.Duration

	// Reports

	// Recent is how many fills each list of a [Queue.Status] names. Zero means
	// 100.
	Recent int
	// Logger receives failures. If nil, nothing is logged.
	Logger *slog.Logger
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// complete sets the defaults and checks all other values.
func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = "athens-fills"
	}
	if !validName.MatchString(o.Name) {
		return fmt.Errorf("nats: Options.Name is %.80q; it must have 1 to 64 letters, digits, - and _", o.Name)
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
			return fmt.Errorf("nats: Options.%s is %d; it must not be negative", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.zero
		}
	}
	if o.GraceTimeout == 0 {
		o.GraceTimeout = 10 * time.Second
	}
	o.GraceTimeout = max(o.GraceTimeout, 0)
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
		{"LeaseTimeout", &o.LeaseTimeout, 100 * time.Millisecond, 15 * time.Second},
		{"RequestTimeout", &o.RequestTimeout, time.Millisecond, 2 * time.Second},
		{"Timeout", &o.Timeout, 0, 10 * time.Minute},
		{"MinRetryDelay", &o.MinRetryDelay, 0, time.Second},
		{"MaxRetryDelay", &o.MaxRetryDelay, 0, max(time.Minute, o.MinRetryDelay)},
		{"GiveUpAfter", &o.GiveUpAfter, 0, 24 * time.Hour},
		{"FailedTTL", &o.FailedTTL, time.Second, 7 * 24 * time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
		if *d.value < d.least {
			return fmt.Errorf("nats: Options.%s is %v; it must be at least %v", d.name, *d.value, d.least)
		}
	}
	if o.MaxRetryDelay < o.MinRetryDelay {
		return fmt.Errorf("nats: Options.MaxRetryDelay is %v; it must be at least MinRetryDelay, which is %v", o.MaxRetryDelay, o.MinRetryDelay)
	}
	return nil
}

// New returns a queue on a JetStream, and creates or updates its streams. A nil opts
// means the defaults. ctx bounds New only. The caller closes the connection after
// [Queue.Run] has returned.
//
// If the server can't be reached, New logs a warning and succeeds, so that a proxy can
// start and serve stored versions: the queue creates the streams later.
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
		backoff: backoff.Policy{Min: o.MinRetryDelay, Max: o.MaxRetryDelay},
		running: make(map[string]*job),
	}
	if _, err := q.there(ctx); away(err) {
		q.opts.Logger.Warn("could not reach the NATS server; fills are rejected until it answers", "error", err)
	} else if err != nil {
		return nil, err
	}
	return q, nil
}
