// Package ledger keeps an append-only, signed log of module versions and their
// hashes: the checksum database of a registry, which the go command verifies
// against. [Ledger] is the [athens.Ledger] on a disk.
//
// The folder of a ledger has
//
//	records      the log: each version's go.sum lines, its time and a checksum, one after the other
//	head         the newest signed tree head, replaced by rename
//	tile/8/…     the full hash tiles, under the names of the checksum database protocol
//	index.db     which record a version has; made from records, never the truth
//	lock         held by the one process that adds
//
// An addition is answered when it is durable, in this order: records, full tiles,
// head, and the copy of the head outside of the folder ([Options.Seen]). Additions
// that wait at once share one such round. What a crash leaves behind the records
// that the head covers was never answered, and New cuts it off.
//
// New refuses a folder that contradicts its head: records that are missing or
// changed, a head that is older than the one in [Options.Seen], or one of another
// key. The tree is append-only only as long as no process signs two histories, so
// there is no option to go on regardless.
//
// [Mirror] is a copy of the log that another server signs, in the same files: with the
// private key, New goes on where the copy ended.
//
// ledger/ledgertest checks these promises on any [athens.Ledger].
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
	"github.com/athens-go/athens/internal/sumlog"
)

// Options configures a [Ledger].
type Options struct {
	// Seen is a file outside of the ledger's folder, on another disk if possible, that
	// has a copy of the newest head. A folder that was restored from an older copy, or
	// replaced by another history, is noticed by it. If it is empty, such a folder is
	// noticed only by clients that have seen a newer head.
	Seen string
	// OldKey is a private key of the same name that signs each head beside the
	// ledger's key, so that clients can change from the one to the other. If it is
	// empty, only the ledger's key signs.
	OldKey string
	// Logger gets what New repairs and what goes wrong later. If it is nil, nothing is
	// logged.
	Logger *slog.Logger
}

// Ledger is a log on disk. Make one with [New]; one process at a time can.
type Ledger struct {
	dir  string
	seen string
	log  *slog.Logger
	keys *sumlog.Keys

	checked int64 // see checkedFirst

	lock    *os.File
	records *recordFile
	index   *index
	found   [1024]atomic.Pointer[place] // by Lookup, for the ReadRecords that follows

	// The sequencer's own: what is in the log, published or not.
	tree    sumlog.Tree
	pending []sumlog.FullTile // not on disk yet
	last    int64             // time of the last record, in nanoseconds since 1970
	end     int64             // where the next record goes in the file

	head   atomic.Pointer[head]
	broken atomic.Pointer[DamagedError]

	mu     sync.Mutex
	queue  []*addition
	closed bool
	wake   chan struct{}
	ctx    context.Context // done when the ledger closes
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// DamagedError says that a ledger's folder contradicts what was signed. Nothing is
// signed or looked up any more.
type DamagedError struct {
	Dir string // the ledger's folder
	Err error  // what is wrong, and what to do
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the ledger in %s is damaged: %v", e.Dir, e.Err)
}

// Unwrap returns Err.
func (e *DamagedError) Unwrap() error { return e.Err }

// ErrInUse says that another process has the ledger open. A ledger has one writer,
// so New refuses: start one process only, or give the second a folder of its own.
var ErrInUse = errors.New("the ledger is open in another process")

// New opens the ledger in the folder dir, and makes it if there is none. key is the
// private key that signs, as [NewKey] makes it; its name is the ledger's. The error
// is a [*DamagedError] if the folder is not what was signed last, and [ErrInUse] if
// another process has it. The caller closes the ledger.
func New(dir, key string, opts *Options) (*Ledger, error) {
	return open(dir, key, opts, checkedFirst)
}

// open is New, which checks so many records before it returns.
func open(dir, key string, opts *Options, checked int64) (*Ledger, error) {
	old := ""
	if opts != nil {
		old = opts.OldKey
	}
	keys, err := sumlog.NewKeys(key, old)
	if err != nil {
		return nil, err
	}
	return openWith(dir, keys, opts, checked)
}

// openWith is open with keys, which sign or don't.
func openWith(dir string, keys *sumlog.Keys, opts *Options, checked int64) (_ *Ledger, err error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	l := &Ledger{seen: o.Seen, log: o.Logger, keys: keys, checked: checked, wake: make(chan struct{}, 1)}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if err := l.makeDirs(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if err := l.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	if err := l.recover(); err != nil {
		if _, ok := errors.AsType[*DamagedError](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("ledger %s: %w", l.dir, err)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.tasks.Go(l.sequence)
	l.tasks.Go(l.keepIndex)
	l.tasks.Go(l.checkBehind)
	return l, nil
}

// makeDirs makes the folder, and the one of the copy of the head.
func (l *Ledger) makeDirs() error {
	dirs := []string{l.dir}
	if l.seen != "" {
		seen, err := filepath.Abs(l.seen)
		if err != nil {
			return err
		}
		l.seen = seen
		dirs = append(dirs, filepath.Dir(seen))
	}
	for _, dir := range dirs {
		root, err := durable.Existing(durable.OS{}, dir)
		if err != nil {
			return err
		}
		if err := durable.MkdirAll(durable.OS{}, root, dir); err != nil {
			return err
		}
	}
	return nil
}

// takeLock keeps other processes out, until release.
func (l *Ledger) takeLock() error {
	f, err := os.OpenFile(l.path("lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	ok, err := flock.Try(f)
	if err == nil && !ok {
		err = ErrInUse
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("ledger %s: %w", l.dir, err)
	}
	l.lock = f
	return nil
}

// release closes the files.
func (l *Ledger) release() error {
	var errs []error
	if l.index != nil {
		errs = append(errs, l.index.close())
	}
	if l.records != nil {
		errs = append(errs, l.records.f.Close())
	}
	flock.Release(l.lock)
	return errors.Join(errs...)
}

// Close ends the ledger once the additions that wait are answered.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.tasks.Wait()
	return l.release()
}

// path returns the name of a file of the ledger.
func (l *Ledger) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

// damaged makes an error of what contradicts the head.
func (l *Ledger) damaged(format string, args ...any) *DamagedError {
	return &DamagedError{l.dir, fmt.Errorf(format, args...)}
}

// fail ends the signing for good.
func (l *Ledger) fail(err *DamagedError) {
	if l.broken.CompareAndSwap(nil, err) {
		l.log.Error("ledger is damaged: it no longer signs anything", "dir", l.dir, "error", err.Err)
	}
}

// whole returns why the ledger can't be used.
func (l *Ledger) whole() error {
	if err := l.broken.Load(); err != nil {
		return err
	}
	return nil
}
