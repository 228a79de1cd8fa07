// Package events tells others what changes on a server of modules: which versions it recorded,
// removed, hid or restored, and which modules have news at their source.
//
//	feed, err := events.New(filepath.Join(dir, events.Folder), nil)
//	feed.Watch(&options)                            // before NewHandler
//	go feed.Run(ctx)
//	api, err := operate.New(handler, store, &operate.Options{Changed: feed.Add, …})
//	root := tokens.Require(feed.Front(…))
//
// A [Feed] answers GET /events?after=N with what came after the event of that number, as
// server-sent events if the client accepts text/event-stream, otherwise as JSON, at once or,
// with ?wait=30s, as soon as there is something:
//
//	id: 1796000000000000
//	event: removed
//	data: {"seq":1796000000000000,"kind":"removed","module":"corp.example/x","version":"v1.2.3","reason":"leaks a key","time":"…"}
//
//	{"epoch":"…","next":1796000000000000,"events":[{"seq":…,"kind":"recorded",…}]}
//
// [Follow] is the other side: it keeps what a proxy remembers of its upstream in step with
// the upstream's feed, and takes back what the upstream removes.
//
// # Numbers
//
// The number of an event is the time at which the feed was told of it, in microseconds since
// 1970, or one more than the last number if that is higher. So numbers only grow, even if a
// power cut has lost the last events. The distance between two numbers does not tell a reader
// how many events it may not see lie between them. Each batch ends with a number without an
// event: the reader has seen everything up to it.
//
// A reader whose number is too old, of another epoch (a feed that was made anew) or in the
// future gets an event of kind reset. It then drops what it remembers of this server. The
// events that the feed still has follow, among them one for each version that is removed or
// hidden now, however long ago that was.
//
// # Bounds
//
// The feed keeps [Options].MaxEvents events in MaxBytes, and beside them MaxMarks versions that
// are removed or hidden. It is in memory and in one file, see [New]. At most MaxReaders clients
// read at a time; the next gets 503. A stream ends after 10 minutes, so that a login which was
// revoked ends with it; clients reconnect. A reader that does not take its events within 10
// seconds is cut. Nobody who tells the feed of an event waits for a reader.
package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// The kinds of events.
const (
	Recorded  = "recorded"  // a version was stored whole, or added to the ledger
	Removed   = "removed"   // a version was taken back: it is 410 with the reason
	Hidden    = "hidden"    // a version left the list; clients that ask for it still get it
	Restored  = "restored"  // neither removed nor hidden any more
	Refreshed = "refreshed" // a module has news at its source; Version may be empty
	Reset     = "reset"     // the reader may have missed events: it forgets what it remembers
)

// Event is one change.
type Event struct {
	Seq     int64     `json:"seq"`
	Kind    string    `json:"kind"`
	Module  string    `json:"module,omitempty"`
	Version string    `json:"version,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of Removed and Hidden
	Time    time.Time `json:"time"`
}

// Folder is the name of a feed's folder in that of a store. No module path begins like it.
const Folder = ".events"

// maxReason bounds a reason in bytes.
const maxReason = 1 << 10

// check returns what is wrong with an event that is to be told, or was.
func (e *Event) check() error {
	switch e.Kind {
	case Reset:
		return nil
	case Refreshed:
		if e.Version == "" {
			return module.CheckPath(e.Module)
		}
	case Recorded, Removed, Hidden, Restored:
	default:
		return fmt.Errorf("%.40q is not a kind of event", e.Kind)
	}
	if len(e.Reason) > maxReason {
		return fmt.Errorf("the reason has more than %d bytes", maxReason)
	}
	if err := module.Check(e.Module, e.Version); err != nil {
		return err
	}
	if module.CanonicalVersion(e.Version) != e.Version {
		return fmt.Errorf("%.80q is not a canonical version", e.Version)
	}
	return nil
}

func (e *Event) version() module.Version {
	return module.Version{Path: e.Module, Version: e.Version}
}

// takesBack reports whether an event of that kind changes what may be served: it is on the
// medium before anybody learns of it.
func takesBack(kind string) bool { return kind == Removed || kind == Hidden || kind == Restored }

// Options adjusts a [Feed]. A nil *Options is the same as a zero one.
type Options struct {
	// Sources

	// Allow decides whether a reader learns of events of a module; it is asked for each
	// event, with the reader's request, and m.Version is empty. If it is nil, that of the
	// options given to [Feed.Watch] is used; if that is nil too, readers learn of all.
	Allow func(r *http.Request, m module.Version) error
	// Store is the server's store. [Feed.Run] compares its marks with what the feed has told,
	// and tells what was removed, hidden or restored while no feed was open. If it is nil, or
	// can't list its marks as [storage.Store] can, the feed knows what it was told.
	//
	// [storage.Store]: https://pkg.go.dev/github.com/athens-go/athens/storage#Store
	Store athens.Storage

	// Limits

	// MaxEvents bounds the events that are kept. Zero means 10,000.
	MaxEvents int
	// MaxBytes bounds what they take in the file, which has up to twice that before it is
	// written anew. Zero means 4 MiB.
	MaxBytes int64
	// MaxMarks bounds the versions that are removed or hidden of which the feed tells a reader
	// that starts anew; beyond it, the oldest are left out. They take 32 MiB at most. Zero
	// means 100,000.
	MaxMarks int
	// MaxReaders bounds the clients that read or wait at a time. Zero means 256.
	MaxReaders int
	// HeartbeatInterval is how often a stream without events shows that it lives. Zero means 15
	// seconds.
	HeartbeatInterval time.Duration

	// Reports

	// Logger gets a line when the file can't be read or written. If it is nil, nothing is
	// logged.
	Logger *slog.Logger
}

// withDefaults returns a checked copy of o with each zero made explicit.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	c.MaxEvents = cmp.Or(c.MaxEvents, 10_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, 4<<20)
	c.MaxMarks = cmp.Or(c.MaxMarks, 100_000)
	c.MaxReaders = cmp.Or(c.MaxReaders, 256)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 15*time.Second)
	if c.MaxEvents < 0 || c.MaxBytes < 0 || c.MaxMarks < 0 || c.MaxReaders < 0 || c.HeartbeatInterval < 0 {
		return c, errors.New("events: MaxEvents, MaxBytes, MaxMarks, MaxReaders and HeartbeatInterval must not be negative")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Watch lets the feed tell what a handler with these options records and what its sources
// name, and takes over their Allow where its own options have none. It is called before
// [athens.NewHandler]. A request for what is held costs it a comparison.
func (f *Feed) Watch(o *athens.Options) {
	recorded := athens.OpCommit
	if o.Ledger != nil {
		recorded = athens.OpRecord
	}
	observe, named := o.Observe, o.Named
	o.Observe = func(e athens.Event) {
		if e.Op == recorded && e.Outcome == athens.OutcomeDone {
			f.Add(context.Background(), Recorded, e.Module, "")
		}
		if observe != nil {
			observe(e)
		}
	}
	o.Named = func(ctx context.Context, path string, versions []athens.Info) {
		if named != nil {
			named(ctx, path, versions)
		}
		f.named(path, versions)
	}
	if f.opts.Allow == nil && o.Allow != nil {
		f.allow.Store(&o.Allow)
	}
}

// settleTime is how long after a source has named new versions the feed tells so: the handler
// then answers with them, and no longer with what it remembered before.
const settleTime = 100 * time.Millisecond

// named tells that a source names other versions of a module than the last time.
func (f *Feed) named(path string, versions []athens.Info) {
	key, version := path, ""
	if len(versions) == 1 && !versions[0].Time.IsZero() { // not a list: the answer to a query
		version = versions[0].Version
		key += "@" + version
	}
	now, changed := digest(versions), false
	f.known.Update(key, func(last uint64) uint64 {
		changed = last != now
		return now
	})
	if changed {
		time.AfterFunc(settleTime, func() {
			f.Add(context.Background(), Refreshed, module.Version{Path: path, Version: version}, "")
		})
	}
}
