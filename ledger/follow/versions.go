package follow

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/sumlog"
)

// feed is what is known of the versions that the log names.
type feed struct {
	slots *limit.Semaphore // one for each fill that is scheduled and has not run yet

	mu      sync.Mutex
	pending map[module.Version]*want // scheduled, or failed for good
	held    int64                    // records whose version is here, or was removed
	removed int64                    // of these, what the primary has removed
	dropped bool                     // a version that failed for good is not in pending: there are too many
	again   map[module.Version]bool  // to be looked for again
}

// maxFailed bounds how many versions that failed for good, and how many that are to be looked
// for again, are kept in memory. Beyond that, the whole log is compared with the store again.
const maxFailed = 10_000

// want is a version that is not here.
type want struct {
	slot   bool // it has one
	failed bool // for good; it is scheduled again later
}

// fetchVersions schedules what the log names and the store lacks, until ctx is done.
func (f *Follower) fetchVersions(ctx context.Context, store athens.Storage, fills athens.FillScheduler) {
	again := time.NewTicker(f.opts.RetryInterval)
	defer again.Stop()
	for next := int64(0); ; {
		var err error
		for size := f.mirror.Size(); next < size && err == nil; {
			n := min(sumlog.Full, size-next)
			if err = f.fetchBundle(ctx, store, fills, next, n); err == nil {
				next += n
			}
		}
		if err == nil {
			err = f.fetchAgain(ctx, store, fills, next)
		}
		if err != nil && ctx.Err() == nil {
			f.opts.Logger.Error("follow: the versions of the log can't be fetched", "error", err)
		}
		select {
		case <-f.grown:
		case <-again.C:
			if f.retry(ctx, fills) {
				next = 0
			}
		case <-ctx.Done():
			return
		}
	}
}

// Recheck says that the store may lack a version that it has had, such as one that was
// removed and restored: if the log names it, and it is not here, it is fetched.
func (f *Follower) Recheck(m module.Version) {
	d := &f.feed
	d.mu.Lock()
	if len(d.again) >= maxFailed {
		d.dropped = true
	} else {
		if d.again == nil {
			d.again = make(map[module.Version]bool)
		}
		d.again[m] = true
	}
	d.mu.Unlock()
	f.poke()
}

// poke wakes fetchVersions.
func (f *Follower) poke() {
	select {
	case f.grown <- struct{}{}:
	default:
	}
}

// fetchAgain schedules what the store lacks of the versions that Recheck named and that are
// among the first records of the log, so many of which were compared with the store.
func (f *Follower) fetchAgain(ctx context.Context, store athens.Storage, fills athens.FillScheduler, compared int64) error {
	d := &f.feed
	d.mu.Lock()
	named := d.again
	d.again = nil
	d.mu.Unlock()
	for m := range named {
		id, err := f.mirror.Lookup(ctx, m)
		if err != nil || id >= compared {
			continue // the log brings it
		}
		if held, _ := holds(ctx, store, m); held {
			continue
		}
		d.lose(m)
		if err := f.fetch(ctx, fills, m); err != nil {
			return err
		}
	}
	return nil
}

// lose notes that a version which was counted as held is not, so that it can be scheduled.
func (d *feed) lose(m module.Version) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch w := d.pending[m]; {
	case w == nil:
		d.held--
	case !w.slot:
		delete(d.pending, m)
	}
}

// fetchBundle schedules what the store lacks of n records.
func (f *Follower) fetchBundle(ctx context.Context, store athens.Storage, fills athens.FillScheduler, id, n int64) error {
	texts, err := f.mirror.ReadRecords(ctx, id, n)
	if err != nil {
		return err
	}
	for _, text := range texts {
		m, _, _, err := sumlog.ParseText(text)
		if err != nil {
			return err
		}
		switch held, removed := holds(ctx, store, m); {
		case held:
			f.feed.count(removed)
		default:
			if err := f.fetch(ctx, fills, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// count notes a version that is here, or was removed.
func (d *feed) count(removed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held++
	if removed {
		d.removed++
	}
}

// holds reports whether the store has all of a version, or the mark of a removal. A store
// that fails holds nothing: the fill finds out.
func holds(ctx context.Context, store athens.Storage, m module.Version) (held, removed bool) {
	for _, file := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		obj, err := store.Open(ctx, m, file)
		if err != nil {
			blocked, ok := errors.AsType[*athens.BlockedError](err)
			removed = ok && blocked.Removed
			return removed, removed
		}
		obj.Body.Close()
	}
	return true, false
}

// fetch schedules the fill of a version once a slot is free.
func (f *Follower) fetch(ctx context.Context, fills athens.FillScheduler, m module.Version) error {
	if err := f.feed.slots.Acquire(ctx); err != nil {
		return err
	}
	if !f.feed.add(m) {
		f.feed.slots.Release()
		return nil
	}
	for {
		err := fills.Schedule(ctx, athens.Fill{Module: m, Zip: true}, 0)
		if err == nil {
			return nil
		}
		select { // the queue is full
		case <-time.After(f.opts.Interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add notes a version that is scheduled, and reports false if it was already.
func (d *feed) add(m module.Version) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending[m] != nil {
		return false
	}
	d.pending[m] = &want{slot: true}
	return true
}

// filled learns that a run of a fill ended. The queue repeats one that is not final.
func (f *Follower) filled(m module.Version, err error) {
	d := &f.feed
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.pending[m]
	if w == nil {
		return
	}
	if w.slot {
		w.slot = false
		d.slots.Release()
	}
	blocked, ok := errors.AsType[*athens.BlockedError](err)
	removed := ok && blocked.Removed
	switch {
	case err == nil || removed:
		delete(d.pending, m)
		d.held++
		if removed {
			d.removed++
		}
	case athens.Final(err):
		w.failed = true
		if len(d.pending) > maxFailed {
			delete(d.pending, m)
			d.dropped = true
		}
	}
}

// retry schedules again what is pending and has run: what failed for good, and what the
// queue may have given up. For one that it still has, this changes nothing. It reports
// whether the log has to be compared with the store from its beginning.
func (f *Follower) retry(ctx context.Context, fills athens.FillScheduler) (all bool) {
	var again []module.Version
	f.feed.mu.Lock()
	if all = f.feed.dropped; all {
		f.feed.dropped, f.feed.held, f.feed.removed = false, 0, 0
	}
	for m, w := range f.feed.pending {
		if !w.slot {
			w.failed = false
			again = append(again, m)
		}
	}
	f.feed.mu.Unlock()
	for _, m := range again {
		if fills.Schedule(ctx, athens.Fill{Module: m, Zip: true}, 0) != nil {
			break // the queue is full; later
		}
	}
	return all
}
