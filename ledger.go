package athens

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
)

// Ledger is an append-only, signed log of versions and their hashes: a checksum
// database, which go commands verify against. What [sumdb.ServerOps] asks, it answers
// from the newest head that it has signed; what is not recorded, a record or a tile
// that the tree does not have yet, is [fs.ErrNotExist] there, and nothing else is.
// Lookup of a ledger that another server records for may also return an answer of that
// server, one of this package's errors. A [*MissingError] then means that the version will
// not be recorded, so it is not stored either.
//
// Append-only: every tree whose head was ever returned is the beginning of all later
// ones, also after a crash, and a ledger that can't keep that refuses to answer.
//
// Concurrency: all methods may be called at once from many goroutines. Whether
// several processes may add, the implementation says itself.
//
// Cancellation: a method returns soon after its context is done; an addition may
// then happen all the same.
//
// ledger/ledgertest checks these promises on any implementation.
type Ledger interface {
	sumdb.ServerOps

	// Add records the hashes of a version's zip and .mod, as go.sum has them, and
	// returns the record's number. On return the record is durable, and so is a
	// signed head that covers it, which Signed returns from then on. Adding the same
	// again changes nothing. Other hashes for a recorded version are a
	// [*ConflictError], and are not recorded.
	Add(ctx context.Context, m module.Version, zipHash, modHash string) (id int64, err error)

	// Since calls yield for each version that was recorded at a time or later, with
	// the time in UTC, until yield returns false. They come in the order of the records,
	// each with a time later than the one before. The zero time is the beginning.
	Since(ctx context.Context, since time.Time, yield func(m module.Version, at time.Time) bool) error

	// VerifierKey returns the public key of the ledger, NAME+HASH+KEY. Its name is
	// the database's.
	VerifierKey() string
}

// ledgerBook is how a handler keeps its ledger: what it commits is recorded, what is
// looked up is fetched, and what a crash left unrecorded is adopted.
type ledgerBook struct {
	h      *Handler
	ledger Ledger
	name   string                               // of the database
	calls  *flight.Calls[module.Version, int64] // held versions that are being recorded
	slots  *limit.Semaphore                     // for reading held zips
	walk   *flight.Calls[struct{}, struct{}]    // over the store, once
	size   atomic.Int64                         // records, as far as this handler has seen
}

// newLedgerBook returns nil if there is no ledger.
func newLedgerBook(h *Handler) (*ledgerBook, error) {
	l := h.opts.Ledger
	if l == nil {
		return nil, nil
	}
	verifier, err := note.NewVerifier(l.VerifierKey())
	if err != nil {
		return nil, fmt.Errorf("athens: the key of Ledger: %w", err)
	}
	b := &ledgerBook{
		h: h, ledger: l, name: verifier.Name(),
		calls: flight.NewCalls[module.Version, int64](h.ctx),
		slots: limit.NewSemaphore(adoptedAtOnce),
		walk:  flight.NewCalls[struct{}, struct{}](h.ctx),
	}
	b.walk.Start(struct{}{}, func(ctx context.Context) (struct{}, error) {
		b.measure(ctx)
		if store, ok := h.storage.(Lister); ok {
			b.adoptAll(ctx, store)
		}
		return struct{}{}, nil
	})
	return b, nil
}

// measure learns how many records there are.
func (b *ledgerBook) measure(ctx context.Context) {
	signed, err := b.ledger.Signed(ctx)
	if err != nil {
		return // what asks for it next says why
	}
	b.see(signed)
}

// see notes the size of a signed tree.
func (b *ledgerBook) see(signed []byte) {
	text, _, _ := bytes.Cut(signed, []byte("\n\n")) // the signatures
	if tree, err := tlog.ParseTree(append(text[:len(text):len(text)], '\n')); err == nil {
		b.grow(tree.N)
	}
}

// grow notes that there are so many records.
func (b *ledgerBook) grow(n int64) {
	for old := b.size.Load(); n > old && !b.size.CompareAndSwap(old, n); {
		old = b.size.Load()
	}
}

// records returns how many records there are.
func (b *ledgerBook) records() int64 {
	if b == nil {
		return 0
	}
	return b.size.Load()
}

// wait waits until nothing is being recorded.
func (b *ledgerBook) wait() {
	if b != nil {
		b.walk.Wait()
		b.calls.Wait()
	}
}

// carries reports whether a database is the ledger.
func (b *ledgerBook) carries(name string) bool { return b != nil && b.name == name }

// agrees compares a hash with the record of m, before anything with it is stored: what
// is recorded stays so even if the store has lost it and the tag has moved.
func (b *ledgerBook) agrees(ctx context.Context, m module.Version, f File, hash string) error {
	if b == nil {
		return nil
	}
	text, err := b.text(ctx, m)
	if errors.Is(err, fs.ErrNotExist) && outermost(err) == nil {
		return nil
	}
	if err != nil {
		return ledgerFault(err)
	}
	version := m.Version
	if f == ModFile {
		version += "/go.mod"
	}
	for line := range strings.Lines(string(text)) {
		recorded, ok := strings.CutPrefix(strings.TrimSpace(line), m.Path+" "+version+" ")
		if ok && recorded != hash {
			return b.h.noteConflict(m, &ConflictError{Module: m, File: f, Held: recorded, Got: hash})
		}
	}
	return nil
}

// ledgerFault is the error of a ledger. One that another server records for may have an
// answer of that server: that stays what it is.
func ledgerFault(err error) error {
	if outermost(err) != nil {
		return err
	}
	return &storeError{err}
}

// agreesMod is agrees for a .mod.
func (b *ledgerBook) agreesMod(ctx context.Context, m module.Version, mod []byte) error {
	if b == nil {
		return nil
	}
	hash, err := modcheck.ModHash(mod)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return b.agrees(ctx, m, ModFile, hash)
}

// text returns the record of m; what has none is fs.ErrNotExist.
func (b *ledgerBook) text(ctx context.Context, m module.Version) ([]byte, error) {
	id, err := b.ledger.Lookup(ctx, m)
	if err != nil {
		return nil, err
	}
	return b.record(ctx, id)
}

// record returns the text of a record that is there.
func (b *ledgerBook) record(ctx context.Context, id int64) ([]byte, error) {
	texts, err := b.ledger.ReadRecords(ctx, id, 1)
	if err == nil && len(texts) != 1 {
		err = fmt.Errorf("the ledger returns %d records for one", len(texts))
	}
	if err != nil {
		return nil, &storeError{err}
	}
	return texts[0], nil
}

// add records m, of which the zip with that hash was just stored.
func (b *ledgerBook) add(ctx context.Context, m module.Version, zipHash string) (id int64, err error) {
	if b == nil {
		return 0, nil
	}
	mod, err := b.h.read(ctx, m, ModFile, b.h.opts.MaxModBytes)
	if err != nil {
		return 0, err
	}
	modHash, err := modcheck.ModHash(mod)
	if err != nil {
		return 0, &InvalidError{m.Path, m.Version, err}
	}
	op := b.h.opts.begin(ctx, OpRecord, SourceStore, m)
	defer func() { op.end(err) }()
	if id, err = b.ledger.Add(op.ctx, m, zipHash, modHash); err == nil {
		b.grow(id + 1)
	}
	return id, b.h.noteConflict(m, err)
}

// adopt records m, which is held, once for all that want it.
func (b *ledgerBook) adopt(ctx context.Context, m module.Version) (int64, error) {
	return b.calls.Do(ctx, m, func(ctx context.Context) (int64, error) {
		if err := b.slots.Acquire(ctx); err != nil {
			return 0, err
		}
		defer b.slots.Release()
		obj, err := b.h.storage.Open(ctx, m, ZipFile)
		if err != nil {
			return 0, storeFault(err)
		}
		defer obj.Body.Close()
		hash, err := modcheck.ZipAlone(modcheck.ReaderAt(obj.Body), obj.Size, m, b.h.opts.MaxZipBytes)
		if err != nil {
			return 0, &storeError{fmt.Errorf("held zip of %s: %w", m, err)}
		}
		return b.add(ctx, m, hash)
	})
}

// adoptedAtOnce is how many held versions are hashed at once.
const adoptedAtOnce = 4

// adoptProgress is how often the log says how far the walk is.
const adoptProgress = 10 * time.Second

// adoptAll records what the store holds whole and the ledger lacks: a crash may have
// come in between, and the store may be older than its ledger.
func (b *ledgerBook) adoptAll(ctx context.Context, store Lister) {
	log, said := b.h.opts.Logger, time.Now()
	var looked int
	var recorded, failed atomic.Int64
	var group sync.WaitGroup
	waiting := limit.NewSemaphore(2 * adoptedAtOnce)
	for m, err := range store.All(ctx) {
		if err != nil || m.Version == "" {
			if err != nil && ctx.Err() == nil {
				log.Warn("ledger: could not list the store", "module", m.Path, "error", err)
			}
			continue
		}
		if looked++; time.Since(said) > adoptProgress {
			said = time.Now()
			log.Info("ledger: recording what the store holds", "looked_at", looked, "recorded", recorded.Load())
		}
		if lacks, err := b.lacks(ctx, m); err != nil || !lacks {
			if err != nil && ctx.Err() == nil {
				failed.Add(1)
				warn(log, "ledger: held version not recorded", m, err)
			}
			continue
		}
		if waiting.Acquire(ctx) != nil {
			break
		}
		group.Go(func() {
			defer waiting.Release()
			if _, err := b.adopt(ctx, m); err == nil {
				recorded.Add(1)
			} else if ctx.Err() == nil {
				failed.Add(1)
				warn(log, "ledger: held version not recorded", m, err)
			}
		})
	}
	group.Wait()
	if recorded.Load() > 0 || failed.Load() > 0 {
		log.Info("ledger: recorded what the store holds", "looked_at", looked, "recorded", recorded.Load(), "failed", failed.Load())
	}
}

// lacks reports whether m is held whole and not recorded.
func (b *ledgerBook) lacks(ctx context.Context, m module.Version) (bool, error) {
	_, err := b.ledger.Lookup(ctx, m)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return b.h.holds(ctx, m, ModFile, ZipFile)
}
