package nats

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/backoff"
)

// settle ends a run of j. cut says that the queue itself ended the run early.
func (q *Queue) settle(j *job, err error, cut bool) {
	q.forget(j) // first: the next message of this version may come to this process
	switch {
	case err == nil:
		q.succeed(j)
	case athens.Final(err) || !cut && time.Since(j.First) >= q.opts.GiveUpAfter:
		q.fail(j, err)
	case cut:
		// The fill is not at fault; another process runs it unchanged.
		q.tell(j.msg.Nak())
		q.log(slog.LevelDebug, "fill postponed", j, err)
	default:
		q.putOff(j, err)
	}
}

func (q *Queue) forget(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, j.msg.Subject())
}

// succeed removes a fill that is done, and its earlier failure if there is one.
func (q *Queue) succeed(j *job) {
	q.tell(j.msg.Ack())
	j.Reason = ""
	e := j.entry()
	e.Ended = time.Now()
	q.mu.Lock()
	q.ended++
	q.done = append(q.done, e)
	q.done = q.done[max(len(q.done)-q.opts.Recent, 0):]
	q.mu.Unlock()
	q.log(slog.LevelDebug, "fill done", j, nil)

	ctx, cancel := context.WithTimeout(context.Background(), q.opts.RequestTimeout)
	defer cancel()
	failed := q.streams.Load().failed
	msg, err := failed.GetLastMsgForSubject(ctx, q.failedSubject(j))
	if err == nil {
		err = failed.DeleteMsg(ctx, msg.Sequence)
	}
	q.tell(ignore(err, jetstream.ErrMsgNotFound))
}

// putOff replaces j's message by one that is due later, unless a fill with a zip has
// replaced it meanwhile. If that fails, putOff delays j's own message.
func (q *Queue) putOff(j *job, err error) {
	wait := q.backoff.Wait(j.Attempts, err)
	s := j.state
	s.After, s.Reason = wait, backoff.Reason(err)
	ctx, cancel := context.WithTimeout(context.Background(), q.opts.RequestTimeout)
	defer cancel()
	switch failure := q.put(ctx, j.msg.Subject(), s, j.seq); {
	case failure == nil, errors.Is(failure, errChanged):
		q.tell(j.msg.Ack())
	default:
		q.tell(failure)
		q.tell(j.msg.NakWithDelay(wait))
	}
	q.log(slog.LevelDebug, "fill postponed", j, err)
}

// fail gives up j and stores the reason.
func (q *Queue) fail(j *job, err error) {
	e := j.entry()
	e.Ended, e.Reason = time.Now(), backoff.Reason(err)
	level := slog.LevelWarn
	if errors.Is(err, fs.ErrNotExist) {
		level = slog.LevelInfo // a client requested a version that does not exist
	}
	q.log(level, "fill failed", j, err)
	body, marshalErr := json.Marshal(e)
	if marshalErr != nil {
		q.tell(marshalErr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), q.opts.RequestTimeout)
	defer cancel()
	if _, err := q.js.PublishMsg(ctx, &natsgo.Msg{Subject: q.failedSubject(j), Data: body}); err != nil {
		q.tell(err)
		q.tell(j.msg.NakWithDelay(q.opts.MaxRetryDelay)) // then it fails again
		return
	}
	q.tell(j.msg.Ack())
}

func (q *Queue) failedSubject(j *job) string {
	return q.prefix("failed") + j.msg.Subject()[len(q.prefix("todo")):]
}

// tell logs that the server did not receive a message. The server then acts as if this
// process had died, and the fill runs again.
func (q *Queue) tell(err error) {
	if err != nil {
		q.opts.Logger.Warn("could not acknowledge a fill to NATS", "error", err)
	}
}

func (q *Queue) log(level slog.Level, what string, j *job, err error) {
	reason := ""
	if err != nil {
		reason = backoff.Reason(err)
	}
	q.opts.Logger.Log(context.Background(), level, what, "module", j.module.Path, "version", j.module.Version,
		"zip", j.Zip, "attempts", j.Attempts, "ms", time.Since(j.started).Milliseconds(), "error", reason)
}
