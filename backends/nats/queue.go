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
)

// Queue is an [athens.FillScheduler] on a JetStream, made by [New]. All methods
// may be called at once from many goroutines.
type Queue struct {
	opts    Options // with its defaults filled in
	js      jetstream.JetStream
	backoff fill.Backoff
	streams atomic.Pointer[streams]
	began   atomic.Bool // Run was called

	mu       sync.Mutex
	running  map[string]*job // by subject; in this process
	done     []fill.Entry    // the latest last; in this process
	ended    int64
	rejected int64
}

// Schedule implements [athens.FillScheduler]: f is stored on the server, where it
// survives this process, and runs wherever a worker is free once after has
// passed. It costs a round trip, two more if f takes the place of a pending one
// or finds one that is as big, and at most [Options.Wait].
//
// A version that is pending already, anywhere, runs once. If f has a zip and
// what is pending has none, it gets one, and runs at the earlier of the two
// times; but one that waits after an error goes on waiting. While f runs,
// anywhere, the same or a smaller f is done with; a bigger one runs afterwards,
// or beside it in another process.
//
// The error is [ErrFull], [ErrOffline], one of the client of NATS, or says that
// f names no version, or one of more than 2,048 bytes, or is put off for more
// than 31 days. After an error of the client, f may be scheduled nevertheless.
func (q *Queue) Schedule(ctx context.Context, f athens.Fill, after time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, q.opts.Wait)
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
		return fmt.Errorf("nats: a fill can't be put off for %v", after)
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
		// It is done meanwhile, or the servers of a cluster are still at it.
		if within(pause, ctx.Done()) {
			return fmt.Errorf("nats: %v changes all the time: %w", f.Module, ctx.Err())
		}
	}
}

// grow sees to it that what is pending of a subject is with the zip. If it is
// another by then, the error is errChanged.
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
	case err != nil: // nothing that a worker would run
		s = state{Zip: true, After: after}
	case s.Zip:
		return nil
	default:
		s = s.grown(held.Time, after)
	}
	return q.put(ctx, subject, s, held.Sequence)
}

// grown is s, stored at a time, with the zip that is wanted after some time, too.
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

// errChanged says that the latest message of a subject is another one.
var errChanged = errors.New("nats: changed meanwhile")

// put stores s in place of message seq of subject, zero being none.
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

// prefix is what the subjects of a kind begin with.
func (q *Queue) prefix(kind string) string { return q.opts.Name + "." + kind + "." }

// ignore returns err unless it is what.
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

// read makes a job of a message. The error says what is wrong with it.
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

// left is how long j has to wait yet. What is not put off does not depend on how
// well the clocks agree.
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
