package nats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/athens-go/athens"
)

const (
	// pullWait is how long a worker's request for work may wait on the server.
	pullWait = 30 * time.Second
	// cutWait is how long Run waits for fills after it has ended their context.
	cutWait = 5 * time.Second
	// pauseMin and pauseMax bound the wait after the server did not answer.
	pauseMin, pauseMax = 50 * time.Millisecond, 5 * time.Second
	// maxTries is how often the server may deliver a message. Each error creates
	// a new message, so these are runs that never finished: a fill that crashes
	// its process must not crash all of them.
	maxTries = 20
)

// Run implements [athens.FillScheduler]. When ctx is done, no further fill starts.
// Running fills may continue for [Options.GraceTimeout]; then Run ends their context, and
// another process gets those that do not succeed at once. Run returns nil after the
// last fill has returned, or 5 seconds later if a fill ignores its context. Pending
// fills stay pending, and Schedule continues to work.
//
// While the server can't be reached, Run waits and tries again. If the server has lost
// the streams, Run and Schedule create them again, empty.
//
// The context of a fill ends after [Options.Timeout] and has the values of ctx. A panic
// of fill counts as its error. A second call of Run is an error.
func (q *Queue) Run(ctx context.Context, fill func(context.Context, athens.Fill) error) error {
	if q.began.Swap(true) {
		return errors.New("nats: Run was called before")
	}
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var workers sync.WaitGroup
	for range q.opts.Workers {
		workers.Go(func() { q.work(ctx, work, fill) })
	}
	ended := make(chan struct{})
	go func() {
		workers.Wait()
		close(ended)
	}()
	<-ctx.Done()
	if !within(q.opts.GraceTimeout, ended) {
		cut()
		if !within(cutWait, ended) {
			q.opts.Logger.Error("fills still running after cancellation")
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.opts.RequestTimeout)
	defer cancel()
	_ = q.js.Conn().FlushWithContext(flush) // a fill whose ack is lost runs again
	return nil
}

// within reports whether done is closed within d.
func within(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// work runs one fill after the other until ctx is done.
func (q *Queue) work(ctx, work context.Context, fill func(context.Context, athens.Fill) error) {
	pause := pauseMin
	for ctx.Err() == nil {
		some, err := q.pull(ctx, work, fill)
		if some {
			pause = pauseMin
		}
		if ctx.Err() != nil {
			return
		}
		q.opts.Logger.Warn("could not get fills from the NATS server", "error", err)
		within(pause/2+rand.N(pause/2), ctx.Done())
		pause = min(2*pause, pauseMax)
		if lost(err) {
			q.restore(ctx)
		}
	}
}

// pull requests one message at a time, so that none waits here while a fill runs. It
// returns whether there were any, and the error that ended it.
func (q *Queue) pull(ctx, work context.Context, fill func(context.Context, athens.Fill) error) (some bool, err error) {
	streams, err := q.there(ctx)
	if err != nil {
		return false, err
	}
	msgs, err := streams.workers.Messages(jetstream.PullMaxMessages(1),
		jetstream.PullExpiry(pullWait), jetstream.PullHeartbeat(pullWait/6))
	if err != nil {
		return false, err
	}
	defer msgs.Stop()
	// A message that is on its way here when ctx is done is received and given back.
	defer context.AfterFunc(ctx, msgs.Drain)()
	for {
		msg, err := msgs.Next()
		if err != nil {
			return some, err
		}
		q.handle(ctx, work, msg, fill)
		if some = true; ctx.Err() != nil {
			return some, ctx.Err() // Next would request another message, perhaps the same one
		}
	}
}

// lost reports whether the server answers but may lack the streams or the consumer.
func lost(err error) bool {
	for _, e := range []error{
		jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDeleted, jetstream.ErrStreamNotFound,
		jetstream.ErrNoHeartbeat, natsgo.ErrNoResponders,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (q *Queue) restore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, q.opts.RequestTimeout)
	defer cancel()
	if err := q.setup(ctx); err != nil && ctx.Err() == nil {
		q.opts.Logger.Warn("could not open or create the streams of fills", "error", err)
	}
}

// handle runs, postpones or drops a message that was delivered.
func (q *Queue) handle(ctx, work context.Context, msg jetstream.Msg, fill func(context.Context, athens.Fill) error) {
	j, err := q.read(msg)
	if err != nil {
		q.opts.Logger.Warn("dropped a message that is not a fill", "subject", fmt.Sprintf("%.200q", msg.Subject()), "error", err)
		q.tell(msg.Term())
		return
	}
	if wait := j.left(); wait > 0 {
		q.tell(msg.NakWithDelay(wait))
		return
	}
	if ctx.Err() != nil {
		q.tell(msg.NakWithDelay(pauseMin)) // until the other workers of this process have stopped too
		return
	}
	if j.tries > maxTries {
		q.fail(j, fmt.Errorf("nats: started %d times and never finished", j.tries-1))
		return
	}
	if wait := q.begin(j); wait > 0 {
		q.tell(msg.NakWithDelay(wait))
		return
	}
	err = q.run(work, j, fill)
	q.settle(j, err, work.Err() != nil)
}

// begin notes that j runs. If a smaller fill of its version runs in this process, begin
// returns how long to wait.
func (q *Queue) begin(j *job) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if other := q.running[j.msg.Subject()]; other != nil {
		// The wait grows with the time it has run, so there are few tries.
		return max(time.Since(other.started), q.opts.LeaseTimeout/10)
	}
	j.started = time.Now()
	if j.First.IsZero() || j.First.After(j.started) {
		j.First = j.started
	}
	j.Attempts++
	q.running[j.msg.Subject()] = j
	return 0
}

// run runs j once, and reports to the server while it runs.
func (q *Queue) run(work context.Context, j *job, fill func(context.Context, athens.Fill) error) error {
	ctx, cancel := context.WithTimeout(work, q.opts.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		// This error remains if fill ends the goroutine, as runtime.Goexit does.
		err := errors.New("nats: the fill function did not return")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
				q.opts.Logger.Error("fill panicked", "module", j.module.Path, "version", j.module.Version,
					"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
			done <- err
		}()
		err = fill(ctx, j.fill())
	}()
	beat := time.NewTicker(q.opts.LeaseTimeout / 3)
	defer beat.Stop()
	for {
		select {
		case err := <-done:
			if err != nil && work.Err() == nil && ctx.Err() != nil {
				err = fmt.Errorf("timeout after %v: %w", q.opts.Timeout, err)
			}
			return err
		case <-beat.C:
			q.tell(j.msg.InProgress())
		}
	}
}
