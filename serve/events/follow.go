package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/backoff"
)

// Source is where a feed is read. [redirect.Upstream] is one.
//
// [redirect.Upstream]: https://pkg.go.dev/github.com/athens-go/athens/redirect#Upstream
type Source interface {
	// Stream requests a path below the source's base URL, with a query, and returns the
	// body of the answer, a stream of server-sent events.
	Stream(ctx context.Context, path, query string) (io.ReadCloser, error)
}

// FollowOptions adjusts a [Follower]. A nil *FollowOptions is the same as a zero one.
type FollowOptions struct {
	// Disk

	// State is the file with the number of the last event, and with what was removed
	// because of an event. The follower writes it about once a second. If it is empty, a
	// new process reads all that the feed still has.
	State string
	// Mirror says that the store is to be a copy of the source's: what that removes or hides
	// is marked here even if it is not held. Otherwise nothing is written for a name that is
	// not held, of which a source may make up any number.
	Mirror bool

	// Retries

	// RetryDelay is how long the follower waits after the first failure before it connects
	// again; it doubles with each, and up to half of it is left out by chance. Zero means
	// one second.
	RetryDelay time.Duration
	// MaxRetryDelay is the longest such wait. Zero means one minute.
	MaxRetryDelay time.Duration
	// IdleTimeout is how long the source may be silent before the follower connects again.
	// Zero means one minute, which is four heartbeats of a [Feed].
	IdleTimeout time.Duration

	// Reports

	// Name is how the source lists this server among its followers, with eight letters
	// behind it that are made once and kept in State. If it is empty, the source is told
	// nothing of it.
	Name string
	// Behind returns how many records of the source's ledger were verified here, and of
	// how many the versions are lacking, for that list. If it is nil, the list has the events
	// alone.
	Behind func() (records, lacking int64)
	// Changed is told of each event after it was applied here, for a server that others
	// follow in turn. Of [Removed], [Hidden] and [Restored] it is told if they changed the
	// store; [Reset], which names no module, says that events may have been missed. If it is
	// nil, nobody is told.
	Changed func(ctx context.Context, kind string, m module.Version, reason string)
	// Logger gets a line for each version that is taken back or restored, when the feed
	// can't be read, and when it can be read again. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// Follower keeps a handler and its store in step with the feed of the handler's Upstream. Make
// one with [NewFollower].
type Follower struct {
	source  Source
	handler *athens.Handler
	store   athens.Storage
	opts    FollowOptions
	retry   backoff.Policy

	state  state
	saved  time.Time
	behind bool // the file is older than state

	batch   batch
	reset   time.Time                   // when the last reset came
	seen    map[module.Version]struct{} // marks since a reset, until all that is kept was read; otherwise nil
	late    map[module.Version]lateMark // removed versions that may come in by a fetch that runs
	failed  int64                       // number of the event that could not be applied
	tries   int                         // of that event
	said    map[string]bool             // what was logged once
	failing bool

	name      string       // for the source's list; empty: it has none
	connected atomic.Bool  // the source has answered
	applied   atomic.Int64 // up to which event
}

// NewFollower returns a follower for a handler over a store, which reads the feed of source,
// the handler's Upstream. If the store is no [athens.Remover], what the upstream removes or
// hides stays in it. A nil opts means the zero [FollowOptions].
func NewFollower(source Source, handler *athens.Handler, store athens.Storage, opts *FollowOptions) (*Follower, error) {
	if source == nil || handler == nil || store == nil {
		return nil, errors.New("events: NewFollower needs a source, a handler and its store; one is nil")
	}
	f := &Follower{source: source, handler: handler, store: store, late: map[module.Version]lateMark{}, said: map[string]bool{}}
	if opts != nil {
		f.opts = *opts
	}
	o := &f.opts
	o.RetryDelay, o.MaxRetryDelay = cmp.Or(o.RetryDelay, time.Second), cmp.Or(o.MaxRetryDelay, time.Minute)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	if o.RetryDelay < 0 || o.MaxRetryDelay < 0 || o.IdleTimeout < 0 {
		return nil, errors.New("events: RetryDelay, MaxRetryDelay and IdleTimeout must not be negative")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f.retry = backoff.Policy{Min: o.RetryDelay, Max: o.MaxRetryDelay}
	f.load()
	f.name = f.identity()
	f.applied.Store(f.state.Cursor)
	return f, nil
}

// Run follows the feed until ctx is done.
func (f *Follower) Run(ctx context.Context) {
	defer f.save()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { f.reports(ctx) })
	for attempts := 0; ctx.Err() == nil; {
		events, err := f.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := rand.N(f.opts.RetryDelay) // so that not all followers come back at once
		if attempts++; events && errors.Is(err, io.EOF) {
			attempts = 0 // the server ends each stream some time
		} else {
			wait = f.retry.Wait(attempts, err)
			f.fails(err)
		}
		f.save()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// fails logs that the feed can't be read, once until it can be read again.
func (f *Follower) fails(err error) {
	if f.failing {
		return
	}
	f.failing = true
	if _, missing := errors.AsType[*athens.MissingError](err); missing {
		f.opts.Logger.Warn("the upstream has no events: its news is seen when answers expire, and what it removes stays here; start it with -events", "error", backoff.Reason(err))
		return
	}
	f.opts.Logger.Warn("the upstream's events can't be read: its news is seen when answers expire", "error", backoff.Reason(err))
}

// once logs something that a source may repeat endlessly.
func (f *Follower) once(msg string, args ...any) {
	if !f.said[msg] {
		f.said[msg] = true
		f.opts.Logger.Warn(msg, args...)
	}
}

// Bounds of what a source can make the follower do.
const (
	eventsPerSecond = 5000
	bytesPerSecond  = 2 << 20
	resetInterval   = 10 * time.Second
	maxBatch        = 256
)

var errIdle = errors.New("it has been silent for too long")

// connect reads the feed until that ends. Events reports whether it had any, or a heartbeat.
func (f *Follower) connect(ctx context.Context) (events bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.seen = nil
	if f.state.Anew { // the last connection broke before all was read: once more
		f.state.Cursor, f.seen = 0, map[module.Version]struct{}{}
	}
	query := url.Values{"after": {strconv.FormatInt(f.state.Cursor, 10)}}
	if f.state.Epoch != "" {
		query.Set("epoch", f.state.Epoch)
	}
	f.about(query)
	f.batch = batch{cursor: f.state.Cursor}
	body, err := f.source.Stream(ctx, "events", query.Encode())
	if err != nil {
		return false, err
	}
	defer body.Close()
	f.connected.Store(true)
	defer f.connected.Store(false)
	// A body may ignore ctx, but not Close.
	defer context.AfterFunc(ctx, func() { _ = body.Close() })()
	idle := time.AfterFunc(f.opts.IdleTimeout, func() { cancel(errIdle) })
	defer idle.Stop()
	in := newBlocks(body, func() { idle.Reset(f.opts.IdleTimeout) })
	pace := pace{began: time.Now()}
	for {
		one, err := in.next()
		if err != nil {
			if errors.Is(context.Cause(ctx), errIdle) {
				err = errIdle
			}
			return events, errors.Join(err, f.apply(ctx))
		}
		events = true
		if f.failing {
			f.failing = false
			f.opts.Logger.Info("the upstream's events can be read again")
		}
		if err := f.take(ctx, one); err != nil {
			return true, err
		}
		if in.in.Buffered() == 0 || f.batch.count >= maxBatch {
			if err := f.apply(ctx); err != nil {
				return true, err
			}
		}
		idle.Stop()
		if err := pace.wait(ctx, in.read); err != nil {
			return true, err
		}
		idle.Reset(f.opts.IdleTimeout)
	}
}

// pace bounds how much of a stream is read in a second.
type pace struct {
	began  time.Time
	events int
	bytes  int64 // that were read before
}

func (p *pace) wait(ctx context.Context, read int64) error {
	p.events++
	if p.events < eventsPerSecond && read-p.bytes < bytesPerSecond {
		return nil
	}
	timer := time.NewTimer(max(time.Second-time.Since(p.began), 0))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	*p = pace{began: time.Now(), bytes: read}
	return nil
}

// take takes over a block.
func (f *Follower) take(ctx context.Context, one block) error {
	if one.epoch != "" && f.state.Epoch != one.epoch {
		f.state.Epoch, f.behind = one.epoch, true
	}
	if one.data == nil {
		if one.hasID {
			f.batch.cursor = max(f.batch.cursor, one.id)
			f.batch.caughtUp = true
		}
		return nil
	}
	var e Event
	err := json.Unmarshal(one.data, &e)
	if err == nil {
		err = e.check()
	}
	switch {
	case err != nil:
		f.once("the upstream's events are malformed; such events are ignored", "error", backoff.Reason(err))
		return nil
	case e.Kind == Reset:
		return f.startAnew(ctx)
	case e.Seq <= f.batch.cursor:
		f.once("the upstream's events come twice or out of order; such events are ignored", "seq", e.Seq, "after", f.batch.cursor)
		return nil
	}
	f.batch.add(e)
	return nil
}

// startAnew follows a reset: it forgets what is remembered of the upstream.
func (f *Follower) startAnew(ctx context.Context) error {
	if err := f.apply(ctx); err != nil {
		return err
	}
	if !f.reset.IsZero() && time.Since(f.reset) < resetInterval {
		return errors.New("it resets its events too often")
	}
	f.reset = time.Now()
	f.opts.Logger.Info("the upstream's events begin anew: what it answered earlier is forgotten")
	f.handler.Forget("")
	f.state.Cursor, f.state.Anew, f.behind = 0, true, true
	f.batch = batch{}
	f.seen = map[module.Version]struct{}{}
	f.tell(ctx, Event{Kind: Reset})
	return nil
}
