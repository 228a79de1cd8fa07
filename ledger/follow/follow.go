// Package follow makes a registry that follows another one, its primary: it copies the
// primary's log and the versions in it, and serves both.
//
//	primary, err := redirect.New(url, nil)                     // speaks GOPROXY and sumdb
//	f, err := follow.New(dir+"/.ledger", key, primary, nil)
//	options := athens.Options{Upstream: primary, MissFetch: true, Fills: fills}
//	f.Watch(&options)                                          // sets Ledger
//	handler, err := athens.NewHandler(store, &options)
//	go f.Run(ctx, store, fills)
//
// A [Follower] reads the primary's newest head again and again. It accepts a head if the key
// has signed it, and if its log continues the log that was verified before. It takes the
// head over once it has all records up to it; it compares each record with its hash in the
// signed tree. [ledger.Mirror] keeps head, records and tiles on disk, so a new process goes
// on where the last one stopped.
//
// For each record it then schedules a fill of the version, unless the store holds it. The
// handler compares what the primary sends with the record before it stores anything: other
// content is an [*athens.ConflictError], raises an alarm, and is not stored. The follower
// looks into the store to see which versions are missing, so it forgets none when a process
// dies. It reads the log without waiting for versions: a client that asks for a version that
// is recorded and not held yet gets it through the handler at once.
//
// A version that is not recorded is looked up at the primary, which fetches and records it.
//
// The log does not say what the primary takes back. For that, follow its events with
// package serve/events (FollowOptions.Mirror), and call [Follower.Recheck] for a version that
// was restored.
//
// # When the primary is wrong
//
// If a head does not continue the verified log, the error is a [*ForkError] with both heads:
// two servers sign with one key, or the primary has lost records. A malformed record, a
// record or a tile that the tree contradicts, and an answer that is too long are errors that
// [Status] shows; they change nothing. The follower goes on serving what it has verified,
// and asks again.
//
// # Memory
//
// A round of reading has at most 8 answers of the primary in memory, and some 200 bytes for
// each new record until its head is taken over. At most Options.Window fills, and the
// queue's own bound, wait at a time.
package follow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/backoff"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/ledger"
)

// Options adjusts a [Follower]. A nil *Options is the same as a zero one.
type Options struct {
	// Seen is as in [ledger.Options]: a file with a copy of the newest verified head. If
	// it is empty, an older copy of the folder is noticed only by clients.
	Seen string
	// Interval is the pause between two looks at the primary's head. After an error it
	// doubles, up to 5 seconds. Zero means 1 second.
	Interval time.Duration
	// RetryInterval is the pause before a version that could not be filled for good, such
	// as one that the primary has lost, is scheduled again. Zero means 5 minutes.
	RetryInterval time.Duration
	// Window bounds the fills that are scheduled and have not run yet. Zero means 256.
	Window int
	// Logger gets what is refused and when the primary is down. If it is nil, nothing is
	// logged.
	Logger *slog.Logger
}

// Follower is the [athens.Ledger] of a server that follows another. Make one with [New].
// Its methods may be called from many goroutines at the same time.
type Follower struct {
	mirror  *ledger.Mirror
	primary athens.SumDBUpstream // nil: nobody is asked
	name    string               // of the database
	known   note.Verifiers
	opts    Options

	turn    *limit.Semaphore // one takes over a head at a time
	lookups *flight.Calls[module.Version, int64]
	tiles   *cache.Cache[tlog.Tile, []byte] // full ones, verified
	grown   chan struct{}                   // has an element when there are new records
	ctx     context.Context                 // done when the follower closes
	cancel  context.CancelFunc

	offered atomic.Int64 // records of the largest head that the key has signed
	feed    feed
	mu      sync.Mutex
	state   state
}

var _ athens.Ledger = (*Follower)(nil)

// New opens the copy in the folder dir, which no other process may have open, of the log
// that primary serves and key signs: the public key NAME+HASH+KEY. It asks primary
// nothing; a nil one is never asked, and the copy is served as it is. The errors are those
// of [ledger.NewMirror]. The caller closes the follower.
func New(dir, key string, primary athens.SumDBUpstream, opts *Options) (*Follower, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Interval < 0 || o.RetryInterval < 0 || o.Window < 0 {
		return nil, errors.New("follow: Interval, RetryInterval and Window must not be negative")
	}
	o.Interval = cmp.Or(o.Interval, time.Second)
	o.RetryInterval = cmp.Or(o.RetryInterval, 5*time.Minute)
	o.Window = cmp.Or(o.Window, 256)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("follow: malformed public key %.120q: give NAME+HASH+KEY, as clients have it in GOSUMDB", key)
	}
	mirror, err := ledger.NewMirror(dir, key, &ledger.Options{Seen: o.Seen, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	f := &Follower{
		mirror: mirror, primary: primary, name: verifier.Name(), known: note.VerifierList(verifier), opts: o,
		turn:  limit.NewSemaphore(1),
		tiles: cache.New(tileCacheBytes, func(_ tlog.Tile, data []byte) int64 { return int64(len(data)) }),
		grown: make(chan struct{}, 1),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.lookups = flight.NewCalls[module.Version, int64](f.ctx)
	f.feed = feed{pending: make(map[module.Version]*want), slots: limit.NewSemaphore(o.Window)}
	f.state.level = time.Now()
	return f, nil
}

// tileCacheBytes bounds the memory for the primary's tiles.
const tileCacheBytes = 4 << 20

// Close ends the look-ups and closes the copy. Run must have returned.
func (f *Follower) Close() error {
	f.cancel()
	f.lookups.Wait()
	return f.mirror.Close()
}

// Watch makes f the Ledger of o, and lets it learn which fills ended. It is called before
// [athens.NewHandler].
func (f *Follower) Watch(o *athens.Options) {
	o.Ledger = f
	observe := o.Observe
	o.Observe = func(e athens.Event) {
		if e.Op == athens.OpFill {
			f.filled(e.Module, e.Err)
		}
		if observe != nil {
			observe(e)
		}
	}
}

// Run follows the primary until ctx is done: it reads the log, and schedules with fills
// what store does not hold.
func (f *Follower) Run(ctx context.Context, store athens.Storage, fills athens.FillScheduler) {
	if f.primary == nil {
		return
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { f.fetchVersions(ctx, store, fills) })
	wait := backoff.Policy{Min: f.opts.Interval, Max: max(f.opts.Interval, maxInterval)}
	for failed := 0; ctx.Err() == nil; {
		pause := f.opts.Interval
		if err := f.Poll(ctx); err != nil && ctx.Err() == nil {
			failed++
			pause = wait.Wait(failed, err)
		} else {
			failed = 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	tasks.Wait()
}

// maxInterval is the longest pause between two looks at a primary that fails.
const maxInterval = 5 * time.Second

// Poll looks at the primary's newest head once, and takes it over. An error changes
// nothing, and [Status] shows it; a [*ForkError] means that the primary has another history.
func (f *Follower) Poll(ctx context.Context) error {
	size := f.mirror.Size()
	signed, err := f.get(ctx, "latest", maxHead)
	if err == nil {
		err = f.advance(ctx, signed, size)
	}
	if ctx.Err() == nil {
		f.noteRound(err)
	}
	return err
}
