// Package evict bounds the bytes of an [athens.Storage]. When the store exceeds the bound, it
// evicts the public versions that were not used for the longest time; the next request for
// one fetches it again. The package is for proxies: a registry is the source of truth and
// evicts nothing.
//
//	store, err := evict.New(disk, 100<<30, &evict.Options{Keep: isPrivate})
//	handler, err := athens.NewHandler(store, &athens.Options{Upstream: up})
//	go store.Run(ctx)
//
// The store notes in memory when each version was used, and writes that to a file from time
// to time, so a warm answer costs no write. A version takes about 300 bytes of memory.
// Several processes can share a medium without a coordinator. Each evicts by the uses that
// it has seen; a version that another process has evicted is not an error, and [Store.Run]
// counts the bytes again from time to time.
package evict

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Options configures a [Store]. A nil *Options is the zero Options.
type Options struct {
	// Keep reports whether a version is never evicted, as private ones must not be: their
	// source may be gone. It is asked before each eviction. If it is nil, every version
	// may be evicted.
	Keep func(ctx context.Context, m module.Version) bool
	// StateFile keeps in which order versions were used, so that a restart does not
	// forget it. Empty means that it is kept in memory alone.
	StateFile string
	// RecountInterval is how often Run counts what the medium holds, which others may
	// have changed, and writes StateFile. Zero means one hour.
	RecountInterval time.Duration
	// Observe learns of each eviction: its Op is "evict" and Bytes what it freed. If it
	// is nil, nobody does.
	Observe func(athens.Event)
	// Logger gets a warning when a version can't be evicted. If it is nil, nothing is
	// logged.
	Logger *slog.Logger
}

// Medium is what a [Store] bounds.
type Medium interface {
	athens.Storage
	athens.Lister
	athens.Remover
}

// Store is a [athens.Storage] that evicts. It has the abilities of what it bounds. All
// methods may be called at once. Make one with [New].
type Store struct {
	Medium
	most, least int64 // bytes: above most it evicts until least
	opts        Options
	evicting    sync.Mutex // held by the one that evicts

	mu      sync.Mutex
	used    int64
	order   *list.List // of *entry that may be evicted, the last used one first
	kept    *list.List // of *entry that Options.Keep kept, until the next count
	entries map[module.Version]*list.Element
	clock   uint64    // of uses
	paused  time.Time // until then the medium evicts nothing
	full    bool      // more than the bound is held, and nothing can be evicted
	stats   Stats     // what is counted since the start
}

// entry is a version that is held.
type entry struct {
	m         module.Version
	meta, zip int64  // bytes
	use       uint64 // when it was used last, by Store.clock
	seen      bool   // by the count that is under way
	kept      bool   // it is in Store.kept
}

// of returns what an element of Store.order is.
func of(e *list.Element) *entry {
	held, _ := e.Value.(*entry)
	return held
}

var (
	_ athens.Storage    = (*Store)(nil)
	_ athens.Rechecker  = (*Store)(nil)
	_ athens.SumDBStore = (*Store)(nil)
	_ athens.ZipLocator = (*Store)(nil)
)

// OpEvict is the Op of the event of an eviction.
const OpEvict = "evict"

// New returns a store that bounds medium at maxBytes. When it holds more, it evicts until
// 95 % of that are left. What is under way can exceed the bound for a moment: a zip counts
// once it is committed. New reads nothing of the medium: [Store.Run] counts what it holds.
func New(medium Medium, maxBytes int64, opts *Options) (*Store, error) {
	if medium == nil {
		return nil, errors.New("evict: New needs a store; it is nil")
	}
	if maxBytes <= 0 {
		return nil, fmt.Errorf("evict: the limit is %d bytes; it must be positive", maxBytes)
	}
	s := &Store{Medium: medium, most: maxBytes, least: maxBytes - maxBytes/20, order: list.New(), kept: list.New(), entries: make(map[module.Version]*list.Element)}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.RecountInterval < 0 {
		return nil, errors.New("evict: RecountInterval is negative")
	}
	if s.opts.RecountInterval == 0 {
		s.opts.RecountInterval = time.Hour
	}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.New(slog.DiscardHandler)
	}
	s.readState()
	return s, nil
}

// Stats are what a [Store] holds and has evicted.
type Stats struct {
	Bytes    int64 `json:"bytes"`    // of all versions that were counted
	MaxBytes int64 `json:"maxBytes"` // the bound
	Versions int   `json:"versions"`

	// Since the start.

	Evicted      uint64    `json:"evicted"`      // versions
	EvictedBytes int64     `json:"evictedBytes"` // in whole blocks
	LastEviction time.Time `json:"lastEviction"` // zero: none yet
	// Exceeded says that more than MaxBytes is held, and that nothing of it may be evicted.
	Exceeded bool `json:"exceeded"`
}

// Stats returns what is held now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stats
	now.Bytes, now.MaxBytes, now.Versions, now.Exceeded = s.used, s.most, len(s.entries), s.full && s.used > s.most
	return now
}

// touch makes a version the one used last. The caller holds the lock.
func (s *Store) touch(e *list.Element) {
	held := of(e)
	s.clock++
	held.use = s.clock
	if !held.kept {
		s.order.MoveToFront(e)
	}
}

// Open opens a file and notes that its version was used.
func (s *Store) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	obj, err := s.Medium.Open(ctx, m, f)
	if err == nil {
		s.mu.Lock()
		if e, ok := s.entries[m]; ok {
			s.touch(e)
		}
		s.mu.Unlock()
	}
	return obj, err
}

// Put stores .info and .mod. If the medium is full, it evicts and tries again.
func (s *Store) Put(ctx context.Context, m module.Version, info *athens.Info, mod []byte) error {
	err := s.roomy(ctx, m, func() error { return s.Medium.Put(ctx, m, info, mod) })
	if err != nil {
		return err
	}
	body, _ := info.Encode() // or Put had failed
	s.note(ctx, m, blocks(int64(len(body)))+blocks(int64(len(mod))), 0)
	return nil
}

// roomy runs do, and once more if it failed for want of room and some could be made.
func (s *Store) roomy(ctx context.Context, m module.Version, do func() error) error {
	err := do()
	if isFull(err) && s.makeRoom(ctx, m) {
		err = do()
	}
	return err
}

// isFull reports whether err is that a disk or a quota is full.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// blockBytes is the least that a file takes.
const blockBytes = 4 << 10

// blocks returns what a file of n bytes takes.
func blocks(n int64) int64 { return (max(n, 1) + blockBytes - 1) / blockBytes * blockBytes }

// note counts a version, and evicts if that is too much. A size that is not known is zero.
func (s *Store) note(ctx context.Context, m module.Version, meta, zip int64) {
	s.mu.Lock()
	e, ok := s.entries[m]
	if !ok {
		e = s.order.PushFront(&entry{m: m})
		s.entries[m] = e
	}
	s.touch(e)
	held := of(e)
	s.used += max(meta, held.meta) - held.meta + max(zip, held.zip) - held.zip
	held.meta, held.zip, held.seen = max(meta, held.meta), max(zip, held.zip), true
	over := s.used > s.most && !time.Now().Before(s.paused)
	s.mu.Unlock()
	if over {
		s.evict(ctx, m, s.least)
	}
}

// Evict deletes a version, and counts it no more.
func (s *Store) Evict(ctx context.Context, m module.Version) error {
	if err := s.Medium.Evict(ctx, m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes, known := s.drop(m); known {
		s.stats.Evicted++
		s.stats.EvictedBytes += bytes
		s.stats.LastEviction = time.Now()
	}
	return nil
}

// drop forgets a version, and returns its bytes and whether it was known. The caller holds
// the lock.
func (s *Store) drop(m module.Version) (bytes int64, known bool) {
	e, ok := s.entries[m]
	if !ok {
		return 0, false
	}
	held := of(e)
	bytes = held.meta + held.zip
	s.used -= bytes
	if held.kept {
		s.kept.Remove(e)
	} else {
		s.order.Remove(e)
	}
	delete(s.entries, m)
	return bytes, true
}

// Remove marks m as removed, see [athens.Remover].
func (s *Store) Remove(ctx context.Context, m module.Version, reason string) error {
	err := s.Medium.Remove(ctx, m, reason)
	if err == nil {
		s.mu.Lock()
		s.drop(m)
		s.mu.Unlock()
	}
	return err
}

// All lists what the medium holds.
func (s *Store) All(ctx context.Context) iter.Seq2[module.Version, error] { return s.Medium.All(ctx) }

// Recheck checks a version, if the medium can.
func (s *Store) Recheck(ctx context.Context, m module.Version) (bool, error) {
	if r, ok := s.Medium.(athens.Rechecker); ok {
		return r.Recheck(ctx, m)
	}
	return false, nil
}

// GetSumDB returns what the medium keeps of checksum databases, if it does.
func (s *Store) GetSumDB(ctx context.Context, name string) ([]byte, error) {
	if d, ok := s.Medium.(athens.SumDBStore); ok {
		return d.GetSumDB(ctx, name)
	}
	return nil, fs.ErrNotExist
}

// PutSumDB makes the medium keep an answer of a checksum database, if it can.
func (s *Store) PutSumDB(ctx context.Context, name string, data []byte) error {
	if d, ok := s.Medium.(athens.SumDBStore); ok {
		return d.PutSumDB(ctx, name, data)
	}
	return errors.New("this store does not keep answers of checksum databases")
}

// ZipURL returns the medium's URL for a zip, if it has one.
func (s *Store) ZipURL(ctx context.Context, m module.Version) (string, error) {
	if l, ok := s.Medium.(athens.ZipLocator); ok {
		return l.ZipURL(ctx, m)
	}
	return "", nil
}

// Writable reports why the medium can't be written, if it can tell.
func (s *Store) Writable(ctx context.Context) error {
	if w, ok := s.Medium.(interface{ Writable(context.Context) error }); ok {
		return w.Writable(ctx)
	}
	return nil
}
