package athens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
)

// adoption records versions that the store holds whole and the ledger lacks. A crash may
// have come between storing and recording, and the store may be older than its ledger.
type adoption struct {
	*keeper
	calls *flight.Calls[module.Version, int64] // versions that are being recorded
	slots *limit.Semaphore                     // for reading held zips
	walk  *flight.Calls[struct{}, struct{}]    // over the store, once
}

// newAdoption starts to walk over the store, if there is a ledger. If there is none, it
// returns nil.
func newAdoption(ctx context.Context, k *keeper) *adoption {
	if k.book == nil {
		return nil
	}
	a := &adoption{
		keeper: k,
		calls:  flight.NewCalls[module.Version, int64](ctx),
		slots:  limit.NewSemaphore(adoptedAtOnce),
		walk:   flight.NewCalls[struct{}, struct{}](ctx),
	}
	a.walk.Start(struct{}{}, func(ctx context.Context) (struct{}, error) {
		k.book.measure(ctx)
		if store, ok := k.storage.(Lister); ok {
			a.adoptAll(ctx, store)
		}
		return struct{}{}, nil
	})
	return a
}

// wait waits until nothing is being recorded.
func (a *adoption) wait() {
	if a != nil {
		a.walk.Wait()
		a.calls.Wait()
	}
}

// adoptedAtOnce is how many held versions are hashed at once.
const adoptedAtOnce = 4

// adoptProgress is how often the log says how far the walk is.
const adoptProgress = 10 * time.Second

// adoptAll adopts what the store holds and the ledger lacks.
func (a *adoption) adoptAll(ctx context.Context, store Lister) {
	log, said := a.opts.Logger, time.Now()
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
		if lacks, err := a.lacks(ctx, m); err != nil || !lacks {
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
			if _, err := a.adopt(ctx, m); err == nil {
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
func (a *adoption) lacks(ctx context.Context, m module.Version) (bool, error) {
	_, err := a.book.ledger.Lookup(ctx, m)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return a.holds(ctx, m, ModFile, ZipFile)
}

// adopt records m, which is held, once for all that want it.
func (a *adoption) adopt(ctx context.Context, m module.Version) (int64, error) {
	return a.calls.Do(ctx, m, func(ctx context.Context) (int64, error) {
		if err := a.slots.Acquire(ctx); err != nil {
			return 0, err
		}
		defer a.slots.Release()
		obj, err := a.storage.Open(ctx, m, ZipFile)
		if err != nil {
			return 0, storeFault(err)
		}
		defer obj.Body.Close()
		hash, err := modcheck.ZipAlone(modcheck.ReaderAt(obj.Body), obj.Size, m, a.opts.MaxZipBytes)
		if err != nil {
			return 0, &storeError{fmt.Errorf("held zip of %s: %w", m, err)}
		}
		return a.record(ctx, m, hash)
	})
}
