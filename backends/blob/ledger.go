package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/sumlog"
)

// LedgerOptions adjusts a [Ledger]. A nil *LedgerOptions is the same as a zero one.
type LedgerOptions struct {
	// Dir is a folder of this process alone, for the index of what is recorded. The
	// index also remembers the newest head, so that a bucket that was rolled back is
	// noticed by the next start. Empty means a temporary folder, which remembers
	// nothing: each start then reads the whole log.
	Dir string
	// OldKey is a private key of the same name that signs beside the ledger's key, so
	// that clients and servers can change from the one to the other. Empty means that
	// only the ledger's key signs.
	OldKey string
	// HeadTTL is how long Signed returns a head without asking the bucket whether
	// others have added something. Zero means 1 second; a negative value means that it
	// always asks.
	HeadTTL time.Duration
	// CacheBytes bounds the memory for records and tiles that were read. Zero means
	// 16 MiB; a negative value means none.
	CacheBytes int64
	// Logger gets what is repaired and what goes wrong. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// Ledger is an [athens.Ledger] in a bucket, which any number of processes add to at the
// same time. Make one with [NewLedger].
//
// Its objects are below sumdb/NAME/:
//
//	log/0000000042     a bundle: the records that one process added at once
//	head/9999999957    the signed head of all records up to that bundle
//	tile/8/0/000       full hash tiles, under the names that go commands ask for
//
// A bundle is created under the next number, if there is none: of several processes one
// wins, and the others read its bundle, compare, and add the rest under the next number.
// This alone orders the records; there is no lock and no leader. A bundle names the
// tree that it continues, and has a signature of the ledger's key.
//
// A bundle counts once its head is there. Its writer, or any other process that finds it
// without a head, lets the service refuse the same bundle once more, writes the tiles
// that it completes, and creates the head. The head follows from the records, so it
// does not matter which process signs it; each one publishes only heads that it has
// compared with the one in the bucket. Heads are named backwards, so that the newest
// comes first in a listing.
//
// Bundles and tiles never change, and say so to caches. Heads are marked no-cache.
type Ledger struct {
	store *Store
	keys  *sumlog.Keys
	opts  LedgerOptions
	log   *slog.Logger
	index *ledgerIndex

	bundles *cache.Cache[int64, *bundle]
	tiles   *cache.Cache[tlog.Tile, []byte]

	turn    chan struct{} // taken while state changes
	state   logState      // what is published
	head    atomic.Pointer[signedHead]
	follows proofs       // requests to catch up, shared
	checked atomic.Int64 // when the bucket had no more, in nanoseconds since 1970
	broken  atomic.Pointer[DamagedLedgerError]

	mu     sync.Mutex
	queue  []*addition
	closed bool
	wake   chan struct{}
	ended  chan struct{} // closed when nothing is added any more
	ctx    context.Context
	cancel context.CancelFunc
}

var _ athens.Ledger = (*Ledger)(nil)

// signedHead is a published tree and its signed form.
type signedHead struct {
	tree sumlog.Tree
	note []byte
}

// DamagedLedgerError says that a bucket contradicts what was signed. Nothing is signed
// or looked up any more.
type DamagedLedgerError struct {
	Ledger string // its name
	Err    error  // what is wrong, and what to do
}

func (e *DamagedLedgerError) Error() string {
	return fmt.Sprintf("the ledger %s in the bucket is damaged: %v", e.Ledger, e.Err)
}

// Unwrap returns Err.
func (e *DamagedLedgerError) Unwrap() error { return e.Err }

// NewLedger opens the ledger in the bucket of a store; it is empty if there is none. key
// is the private key that signs, as package ledger makes it; all processes that share
// the ledger have the same. NewLedger reads what was recorded since this folder was last
// used. The caller closes the ledger before the store.
func NewLedger(ctx context.Context, store *Store, key string, opts *LedgerOptions) (_ *Ledger, err error) {
	if store == nil {
		return nil, errors.New("blob: NewLedger needs a store; store is nil")
	}
	var o LedgerOptions
	if opts != nil {
		o = *opts
	}
	o.HeadTTL = cmp.Or(o.HeadTTL, time.Second)
	o.CacheBytes = cmp.Or(o.CacheBytes, 16<<20)
	l := &Ledger{
		store: store, opts: o, log: o.Logger,
		bundles: cache.New(o.CacheBytes/2, func(_ int64, b *bundle) int64 { return b.cost() }),
		tiles:   cache.New(o.CacheBytes/2, func(_ tlog.Tile, data []byte) int64 { return int64(len(data)) + 200 }),
		turn:    make(chan struct{}, 1), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.keys, err = sumlog.NewKeys(key, o.OldKey); err != nil {
		return nil, err
	}
	if !fs.ValidPath(l.keys.Name()) {
		return nil, fmt.Errorf("blob: a ledger can't have the name %q: give a host name, such as sum.example.com", l.keys.Name())
	}
	if l.index, l.state, err = openLedgerIndex(o.Dir, l.keys.Name(), l.log); err != nil {
		return nil, fmt.Errorf("blob: the index of the ledger: %w", err)
	}
	if err := l.begin(ctx); err != nil {
		return nil, errors.Join(err, l.index.close())
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go l.sequence()
	return l, nil
}

// begin compares what the index remembers with the bucket, and reads what is new there.
func (l *Ledger) begin(ctx context.Context) error {
	if err := l.resume(ctx); err != nil {
		return l.fault(ctx, "open", err)
	}
	if err := l.catchUp(ctx); err != nil {
		return l.fault(ctx, "open", err)
	}
	if err := l.compareNewest(ctx); err != nil {
		return l.fault(ctx, "open", err)
	}
	return nil
}

// Close ends the ledger once the additions that are being written are answered. Those
// that wait behind them fail.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	<-l.ended
	l.turn <- struct{}{} // nobody changes the index any more
	return l.index.close()
}

var errLedgerClosed = errors.New("blob: the ledger is closed")

// usable returns why there is no answer.
func (l *Ledger) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.ctx.Err() != nil {
		return errLedgerClosed
	}
	if err := l.broken.Load(); err != nil {
		return err
	}
	return nil
}

// damaged makes an error of what contradicts what was signed, and ends the signing.
func (l *Ledger) damaged(format string, args ...any) *DamagedLedgerError {
	err := &DamagedLedgerError{l.keys.Name(), fmt.Errorf(format, args...)}
	if l.broken.CompareAndSwap(nil, err) {
		l.log.Error("ledger is damaged: it no longer signs anything", "ledger", err.Ledger, "error", err.Err)
	}
	return err
}

// fault is the error of an operation on the bucket. It is fs.ErrNotExist nowhere: what is
// missing is known from the index.
func (l *Ledger) fault(ctx context.Context, op string, err error) error {
	if _, ok := errors.AsType[*DamagedLedgerError](err); err == nil || ok {
		return err
	}
	if _, ok := errors.AsType[*athens.ConflictError](err); ok {
		return err
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err()
	}
	return fmt.Errorf("blob: ledger: %s: %w", op, opaque(err))
}

// take waits for the right to change the state.
func (l *Ledger) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (l *Ledger) release() { <-l.turn }
