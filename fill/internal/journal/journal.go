// Package journal keeps the state of a queue's fills in files, so that the fills survive
// the process.
//
// A folder has a journal for each process that uses it, under a file lock. [Open] starts
// one and takes over those whose process has died; [Journal.Add] appends a change of one
// fill; in the background the journal is synced, rewritten when it has grown, and the
// folder is searched for further orphans:
//
//	queue ──Add──▶ batch ──write──▶ file ──maintain──▶ synced
//	  ▲                              │ grown, or failed
//	  └────────── Snapshot ──────────┘ written anew
//
// A journal that can't be written does not stop its queue: after an error nothing more is
// written to the file until another one has been written with the state of all fills.
//
// In memory it holds at most [MaxQueuedBytes] of changes that wait for the disk; on disk
// a journal grows to at most twice what it had when it was written, and a megabyte more.
package journal

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// Patience is how long [Await] waits for the kernel to take a change. A busy machine
	// may take much of it, and a disk that hangs more.
	Patience = 5 * time.Second
	// MaxQueuedBytes bounds the changes that wait for a disk that hangs. Beyond
	// it the journal is written anew once the disk works again.
	MaxQueuedBytes = 1 << 20
	// MinGrowth is how many bytes a journal grows before it is written anew,
	// however short it was.
	MinGrowth = 1 << 20
	// SyncDelay is how long a change may wait until it is synced, and how often
	// a journal that can't be written is tried again.
	SyncDelay = time.Second
	// AdoptInterval is how often the folder is searched for journals whose
	// process has died.
	AdoptInterval = time.Minute
)

// ErrSlow says that the disk took too long for the changes.
var ErrSlow = errors.New("fill: the disk can't keep up with the journal")

var errRemoved = errors.New("fill: the journal's file was removed")

// Queue is what a journal needs of the queue it belongs to.
type Queue interface {
	// Snapshot returns the state of all fills. It calls begin while no fill can
	// change, so that changes before it are in the snapshot, and later ones are
	// given to Add after it.
	Snapshot(begin func()) []Record
	// Restore takes over the fills of another journal, and reports whether there
	// was room for them.
	Restore(c *Contents) bool
}

// Options are the settings of a journal.
type Options struct {
	Limit     int           // how many pending fills are read from a journal at most
	Recent    int           // how many failed fills are read from a journal at most
	Logger    *slog.Logger  // receives failures
	MinGrowth int64         // zero means the constant MinGrowth
	SyncDelay time.Duration // zero means the constant SyncDelay
}

// Journal is the file that a queue writes changes of its fills to. Its methods may be
// called from many goroutines.
type Journal struct {
	dir   string
	queue Queue
	opts  Options

	wake    chan struct{}  // tells write that there are changes; closed by end
	attend  chan struct{}  // tells maintain that there is something to do
	closing chan struct{}  // closed to end maintain
	workers sync.WaitGroup // write
	keepers sync.WaitGroup // maintain

	mu      sync.Mutex
	next    batch
	failed  error // why nothing can be written to file
	trouble error // the latest failed, until a file has been synced again
	closed  bool  // Add accepts nothing more

	fileMu sync.Mutex // held while the file is written or replaced
	file   *os.File   // nil if there was none yet
	size   int64
	base   int64 // size when it was written anew
	dirty  bool  // written since the latest sync

	// For maintain, and for Open and Close, which run before and after it:
	told   bool       // the failure was logged
	synced bool       // file was synced after it was written anew
	spent  []*os.File // locked, to be removed once their fills are in a synced file
}

// batch is what is written at once.
type batch struct {
	records []Record
	bytes   int
	taken   chan struct{} // closed when the kernel has them, or never will
}

// Open starts a journal in the folder dir, which it makes if there is none, and restores
// the fills of journals whose process has died. That the folder can't be written is no
// error; see [Journal.Trouble]. [Journal.Start] begins the work in the background.
func Open(dir string, queue Queue, opts Options) (*Journal, error) {
	opts.MinGrowth = cmp.Or(opts.MinGrowth, MinGrowth)
	opts.SyncDelay = cmp.Or(opts.SyncDelay, SyncDelay)
	j := &Journal{
		dir: dir, queue: queue, opts: opts,
		wake: make(chan struct{}, 1), attend: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	if _, err := j.adoptOrphans(); err != nil {
		return nil, err
	}
	j.rewrite()
	return j, nil
}

// Start begins to write and to maintain the journal, until [Journal.Close].
func (j *Journal) Start() {
	j.workers.Go(j.write)
	j.keepers.Go(j.maintain)
}

// Close writes what Add was given and lets other processes take over the journal. If
// empty then reports that no fill is left, it removes the journal. The error says that
// it could not be written.
func (j *Journal) Close(empty func() bool) error {
	close(j.closing)
	j.keepers.Wait()
	if j.failure() != nil {
		j.rewrite() // the last chance
	}
	j.end()
	return j.release(empty())
}

// Add queues r to be written. The result is closed when the kernel has it; nil means
// that the journal can't be written. Add does not wait.
func (j *Journal) Add(r Record) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil && j.next.bytes+r.bytes() > MaxQueuedBytes {
		j.setFailed(ErrSlow)
	}
	if j.closed || j.failed != nil {
		return nil
	}
	if j.next.taken == nil {
		j.next.taken = make(chan struct{})
	}
	j.next.records = append(j.next.records, r)
	j.next.bytes += r.bytes()
	signal(j.wake)
	return j.next.taken
}

// Await waits until taken, which Add returned, is closed, or ctx is done, and for [Patience]
// at most. It reports whether taken is closed.
func Await(ctx context.Context, taken <-chan struct{}) bool {
	select {
	case <-taken:
		return true
	default:
	}
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	select {
	case <-taken:
		return true
	case <-ctx.Done():
	case <-limit.C:
	}
	return false
}

// Trouble says why the journal does not have the state of all fills; it is empty if it
// does.
func (j *Journal) Trouble() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.trouble == nil {
		return ""
	}
	return j.trouble.Error()
}

// Accepts reports whether a change that is added now is there after a restart.
func (j *Journal) Accepts() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed == nil && !j.closed
}

// Fail makes the journal one that can't be written until it is written anew.
func (j *Journal) Fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.setFailed(err)
}

// setFailed does so with j.mu held. The changes that wait to be written are dropped.
func (j *Journal) setFailed(err error) {
	j.failed, j.trouble = err, err
	if j.next.taken != nil {
		close(j.next.taken)
	}
	j.next = batch{}
	signal(j.attend)
}

// failure returns why the file can't be written; nil if it can.
func (j *Journal) failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// recovered notes that the file was synced with everything in it. It reports whether
// that ended an earlier trouble.
func (j *Journal) recovered() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.trouble
	j.trouble = j.failed
	return was != nil && j.trouble == nil
}

// takeBatch returns the changes that are to be written next.
func (j *Journal) takeBatch() batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.next
	j.next = batch{}
	return b
}

// restart makes Add accept changes again, and returns those that waited until now. The
// caller writes the state of all fills anew.
func (j *Journal) restart() batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.next
	j.next = batch{}
	j.failed = nil
	return b
}

// end stops write when it has written what Add was given.
func (j *Journal) end() {
	j.mu.Lock()
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
	j.workers.Wait()
}

// signal sends on a channel of capacity one. One signal that waits is as good as many.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
