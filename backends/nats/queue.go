package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/backoff"
)

// Queue is an [athens.FillScheduler] on a JetStream, made by [New]. Its methods may be
// called from many goroutines at the same time.
//
// In this process it holds the fills that are running, at most [Options.Workers], and
// [Options.Recent] that are done, of at most 3 KiB each. The pending ones are on the
// server, which bounds their number by [Options.Limit] and each of them by 8 KiB.
type Queue struct {
	opts    Options // with its defaults filled in
	js      jetstream.JetStream
	backoff backoff.Policy
	streams atomic.Pointer[streams]
	began   atomic.Bool // Run was called

	mu       sync.Mutex
	running  map[string]*job // by subject; in this process
	done     []fill.Entry    // the latest last; in this process
	ended    int64
	rejected int64
}

// Schedule implements [athens.FillScheduler]: f is stored on the server, where it
// survives this process, and runs on any free worker once after has passed. It takes a
// round trip, two more if f has a zip and its version is already pending, and at most
// [Options.RequestTimeout].
//
// A version that is already pending, in any process, runs once. If f has a zip and the
// pending fill has none, the pending fill gets one, and runs at the earlier of the two
// times; but a fill that waits after an error keeps waiting. While a fill runs, scheduling
// the same one, or the same one without its zip, changes nothing; one that adds the zip
// runs afterwards, or at the same time in another process.
//
// The error is [ErrFull], [ErrOffline], an error of the NATS client, or says that the
// version of f has no name or one of more than 2,048 bytes, or that the delay exceeds
// 31 days. After an error of the NATS client, f may be scheduled nevertheless.
func (q *Queue) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, q.opts.RequestTimeout)
	defer cancel()
	err := q.schedule(ctx, f, max(after, 0))
	if err != nil {
		q.mu.Lock()
		q.rejected++
		q.mu.Unlock()
	}
	return err
}

func (q *Queue) schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	name, err := token(f.Module)
	if err != nil {
		return err
	}
	if after > maxDelay {
		return fmt.Errorf("nats: the delay of a fill is %v; the maximum is %v", after, maxDelay)
	}
	if !q.js.Conn().IsConnected() {
		return ErrOffline
	}
	if _, err := q.there(ctx); err != nil {
		return err
	}
	subject := q.prefix("todo") + name
	restored := false
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := q.put(ctx, subject, state{Zip: f.Zip, After: after}, 0)
		if errors.Is(err, jetstream.ErrNoStreamResponse) && !restored {
			restored = true
			q.restore(ctx)
			continue
		}
		if errors.Is(err, errChanged) && f.Zip {
			err = q.grow(ctx, subject, after)
		} else {
			err = ignore(err, errChanged)
		}
		if !errors.Is(err, errChanged) {
			return err
		}
		// The fill has ended meanwhile, or the servers of a cluster do not agree yet.
		if within(pause, ctx.Done()) {
			return fmt.Errorf("nats: too many concurrent updates of %v: %w", f.Module, ctx.Err())
		}
	}
}

// grow adds the zip to the pending fill of a subject. If another process changes it at
// the same time, the error is errChanged.
func (q *Queue) grow(ctx context.Context, subject string, after time.Duration) error {
	held, err := q.streams.Load().todo.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	s, err := parseState(held.Data)
	switch {
	case err != nil: // no worker would run it
		s = state{Zip: true, After: after}
	case s.Zip:
		return nil
	default:
		s = s.grown(held.Time, after)
	}
	return q.put(ctx, subject, s, held.Sequence)
}

// grown returns s, which was stored at a time, with a zip that is due after some time.
func (s state) grown(stored time.Time, after time.Duration) state {
	if s.Scheduled.IsZero() {
		s.Scheduled = stored
	}
	left := max(time.Until(stored.Add(s.After)), 0)
	if s.Attempts == 0 && (left == 0 || after < left) { // with nothing left it runs now
		left = after
	}
	s.Zip, s.After = true, min(left, maxDelay)
	return s
}

// errChanged says that the latest message of a subject is not the expected one.
var errChanged = errors.New("nats: another process changed the fill")

// put stores s in place of message seq of subject; zero means that there is none.
func (q *Queue) put(ctx context.Context, subject string, s state, seq uint64) error {
	_, err := q.js.PublishMsg(ctx, &natsgo.Msg{Subject: subject, Data: s.encode()},
		jetstream.WithExpectLastSequencePerSubject(seq), jetstream.WithExpectStream(q.opts.Name))
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch {
		case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence,
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return errChanged
		case strings.HasPrefix(api.Description, "maximum messages exceeded"),
			strings.HasPrefix(api.Description, "maximum bytes exceeded"):
			return ErrFull
		}
	}
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}

// prefix returns the beginning of all subjects of a kind.
func (q *Queue) prefix(kind string) string { return q.opts.Name + "." + kind + "." }

// ignore returns nil if err is what, and err otherwise.
func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// job is one delivered message.
type job struct {
	state
	msg     jetstream.Msg
	module  module.Version
	seq     uint64
	tries   uint64    // deliveries of this message
	stored  time.Time // by the server's clock
	started time.Time
}

// read makes a job of a message. The error says why the message is invalid.
func (q *Queue) read(msg jetstream.Msg) (*job, error) {
	m, err := parseSubject(q.prefix("todo"), msg.Subject())
	if err != nil {
		return nil, err
	}
	s, err := parseState(msg.Data())
	if err != nil {
		return nil, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	j := &job{state: s, msg: msg, module: m, seq: meta.Sequence.Stream, tries: meta.NumDelivered, stored: meta.Timestamp}
	if j.Scheduled.IsZero() {
		j.Scheduled = j.stored
	}
	return j, nil
}

func (j *job) due() time.Time { return j.stored.Add(j.After) }

// left returns how long j still has to wait. A fill without a delay does not depend on
// how well the clocks agree.
func (j *job) left() time.Duration {
	if j.After == 0 {
		return 0
	}
	return min(time.Until(j.due()), maxDelay)
}

func (j *job) fill() athens.Fill { return athens.Fill{Module: j.module, Zip: j.Zip} }

func (j *job) entry() fill.Entry {
	return fill.Entry{
		Path: j.module.Path, Version: j.module.Version, Zip: j.Zip,
		Attempts: j.Attempts, Scheduled: j.Scheduled, Started: j.started, Reason: j.Reason,
	}
}
