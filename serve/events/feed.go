package events

import (
	"context"
	"hash/fnv"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// Feed is what changed lately on a server. Make one with [New]; its methods may be called from
// many goroutines at once.
type Feed struct {
	opts  Options
	file  *file
	known *cache.Cache[string, uint64] // digests of what sources named, by module or version
	allow atomic.Pointer[func(*http.Request, module.Version) error]

	follows follows

	slots  chan struct{} // of readers
	ended  chan struct{} // closed when readers are to go
	finish func()        // closes it

	wake   chan struct{} // there is something to write
	closed chan struct{} // the writer has ended

	mu      sync.Mutex
	kept    window
	last    int64         // the highest number that was given to an event or a reader
	waiting []waiting     // events that are not written yet
	lost    bool          // some were dropped since the last write
	news    chan struct{} // closed when there are new events
	ending  bool          // nothing more is taken
}

// waiting is an event that is to be written. Done is closed after that; it may be nil.
type waiting struct {
	event Event
	done  chan struct{}
}

// Limits of a feed.
const (
	knownBytes = 2 << 20
	maxWaiting = 10_000 // events that a medium which does not answer holds up
	// maxMarkBytes bounds the events of marks that are in force.
	maxMarkBytes = 32 << 20
)

// New opens the feed in the folder dir, which it makes; no other process may have it open.
// The folder has the events in a file called feed, a lock, and in the folder inbox what
// [Notify] leaves there. What a crash has cut off at the end of the file is dropped. A file
// that is damaged otherwise is kept as feed.damaged, and a new epoch begins.
//
// Removals, restorations and hidings are on the medium before anybody learns of them. Others
// are not synced: what a power cut takes away of them, a proxy learns when its answers expire.
func New(dir string, opts *Options) (*Feed, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	opened, kept, err := openFile(dir, o)
	if err != nil {
		return nil, err
	}
	f := &Feed{
		opts: o, file: opened, kept: kept, last: kept.newest(),
		known: cache.New(knownBytes, func(key string, _ uint64) int64 { return int64(len(key)) }),
		slots: make(chan struct{}, o.MaxReaders), ended: make(chan struct{}),
		wake: make(chan struct{}, 1), closed: make(chan struct{}), news: make(chan struct{}),
	}
	f.finish = sync.OnceFunc(func() { close(f.ended) })
	if o.Allow != nil {
		f.allow.Store(&o.Allow)
	}
	go f.write()
	return f, nil
}

// Close ends all readers, writes what is left and closes the file. What is told afterwards is
// ignored.
func (f *Feed) Close() error {
	f.finish()
	f.mu.Lock()
	f.ending = true
	f.mu.Unlock()
	f.poke()
	<-f.closed
	return f.file.close()
}

// Run follows what other processes leave for the feed, see [Notify], until ctx is done, and
// then ends the readers, so that a server can stop. It begins with the marks of
// [Options].Store: the feed tells of those that it does not know.
func (f *Feed) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer f.finish()
	if store, ok := f.opts.Store.(marked); ok {
		tasks.Go(func() { f.learn(ctx, store) })
	}
	tick := time.NewTicker(inboxInterval)
	defer tick.Stop()
	for {
		f.readInbox(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Add tells the feed of an event. If the event takes a version back, or restores one, it is on
// the medium when Add returns, unless ctx is done before. An event that names no valid module
// or version is ignored. It is the Changed of package operate.
func (f *Feed) Add(ctx context.Context, kind string, m module.Version, reason string) {
	if written := f.tell(kind, m, reason); written != nil {
		select {
		case <-written:
		case <-ctx.Done():
		}
	}
}

// tell is Add that does not wait: written is closed once an event that takes a version back,
// or restores one, is on the medium; otherwise it is nil.
func (f *Feed) tell(kind string, m module.Version, reason string) (written <-chan struct{}) {
	e := Event{Kind: kind, Module: m.Path, Version: m.Version, Reason: reason, Time: time.Now().UTC()}
	if err := e.check(); err != nil || kind == Reset {
		f.opts.Logger.Error("event ignored", "kind", kind, "module", m.Path, "version", m.Version, "error", err)
		return nil
	}
	w := waiting{event: e}
	if takesBack(kind) {
		w.done = make(chan struct{})
	}
	f.mu.Lock()
	if f.ending || w.done == nil && len(f.waiting) >= maxWaiting {
		f.lost = true
		f.mu.Unlock()
		return nil
	}
	w.event.Seq = f.next()
	f.waiting = append(f.waiting, w)
	f.mu.Unlock()
	f.poke()
	return w.done
}

// Reset makes all readers start anew, with the marks that are in force, because the server
// may have missed changes itself.
func (f *Feed) Reset() {
	f.mu.Lock()
	f.lost = true
	f.mu.Unlock()
	f.poke()
}

// next returns the next number; the caller holds the lock.
func (f *Feed) next() int64 {
	f.last = max(f.last+1, time.Now().UnixMicro())
	return f.last
}

// poke wakes the writer.
func (f *Feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// write writes events until the feed is closed.
func (f *Feed) write() {
	defer close(f.closed)
	for range f.wake {
		f.mu.Lock()
		batch, lost, ending := f.waiting, f.lost, f.ending
		f.lost = false
		f.mu.Unlock()
		if len(batch) > 0 || lost {
			f.writeBatch(batch, lost)
		}
		if ending {
			return
		}
	}
}

// writeBatch makes events durable as far as they need that, and shows them to readers.
func (f *Feed) writeBatch(batch []waiting, lost bool) {
	f.mu.Lock()
	kept := f.kept // only this goroutine changes it
	f.mu.Unlock()
	all, synced := make([]Event, 0, len(batch)), false
	for _, w := range batch {
		all = append(all, w.event)
		synced = synced || w.done != nil
	}
	if lost {
		f.mu.Lock()
		floor := f.next()
		f.mu.Unlock()
		kept, all = kept.with(all, f.opts).anew(floor), nil // the file is written anew
	}
	kept = kept.with(all, f.opts)
	if kept.forgotten > 0 && f.kept.forgotten == 0 { // only this goroutine changes that, too
		f.opts.Logger.Error("more versions are removed or hidden than the feed keeps: readers that start anew do not learn of the oldest", "kept", len(kept.standing))
	}
	if err := f.file.append(all, kept, synced, lost); err != nil {
		f.opts.Logger.Error("events are not on the medium: readers that are not connected may miss them", "error", err)
	}
	f.mu.Lock()
	f.kept = kept
	f.waiting = append([]waiting(nil), f.waiting[len(batch):]...)
	close(f.news)
	f.news = make(chan struct{})
	f.mu.Unlock()
	for _, w := range batch {
		if w.done != nil {
			close(w.done)
		}
	}
}

// view is what a reader sees at an instant.
type view struct {
	window
	upTo int64         // all events with numbers up to this one are in the window
	last int64         // the highest number that was given to an event or a reader
	news chan struct{} // closed when there is more
}

// look returns what there is now. No later event has a number up to upTo.
func (f *Feed) look() view {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = max(f.last, time.Now().UnixMicro())
	v := view{window: f.kept, upTo: f.last, last: f.last, news: f.news}
	if len(f.waiting) > 0 {
		v.upTo = f.waiting[0].event.Seq - 1
	}
	return v
}

// digest returns a number that differs for different versions; it is never zero.
func digest(versions []athens.Info) uint64 {
	sum := fnv.New64a()
	for _, v := range versions {
		_, _ = io.WriteString(sum, v.Version+"\n") // never fails
	}
	return max(sum.Sum64(), 1)
}
