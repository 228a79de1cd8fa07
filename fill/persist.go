package fill

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/athens-go/athens/fill/internal/journal"
	"github.com/athens-go/athens/internal/backoff"
)

// Open returns a queue whose fills survive the process, by a journal in the folder dir.
// It begins with the fills that an earlier process left, each when it is due. It makes
// the folder if there is none. A nil opts means the defaults.
//
// The error says which option is invalid, or that the folder can't be read. A folder
// that can't be written, for example on a full disk, is no error: the queue then works
// like one of [New], logs that once to [Options.Logger], and tries again every second.
//
// The caller must Close the queue after Run has returned.
func Open(dir string, opts *Options) (*Queue, error) {
	return open(dir, opts, journal.Options{})
}

// open is Open with other settings of the journal.
func open(dir string, opts *Options, settings journal.Options) (*Queue, error) {
	if dir == "" {
		return nil, errors.New("fill: Open needs a folder; dir is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	q, err := New(opts)
	if err != nil {
		return nil, err
	}
	settings.Limit, settings.Recent, settings.Logger = q.opts.Limit, q.opts.Recent, q.opts.Logger
	if q.journal, err = journal.Open(dir, (*persisted)(q), settings); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	q.journal.Start()
	return q, nil
}

// Close ends the queue and its journal. Pending fills run after the next [Open] of the
// folder, by whichever process calls it; fills that are still running are repeated then.
// Schedule returns [ErrClosed] from then on. The error says that the journal could not
// be written.
//
// A queue of [New] has nothing to close. A second Close does nothing.
func (q *Queue) Close() error {
	q.mu.Lock()
	again := q.ended
	q.ended, q.closed = true, true
	q.mu.Unlock()
	if again || q.journal == nil {
		return nil
	}
	return q.journal.Close(func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.jobs) == 0 && len(q.failed.entries) == 0
	})
}

// note adds the state of j to the journal. q.mu is held.
func (q *Queue) note(j *job) {
	if q.journal != nil {
		j.taken = q.journal.Add(q.record(j))
	}
}

// noteEnd adds to the journal that a fill has ended. q.mu is held.
func (q *Queue) noteEnd(state journal.State, e Entry) {
	if q.journal != nil {
		q.journal.Add(e.record(state))
	}
}

// record returns the state of j that a restart needs. A fill that is running then waits
// as if it had failed, so that a fill that kills its process does not kill the next one
// at once. q.mu is held.
func (q *Queue) record(j *job) journal.Record {
	r := j.entry().record(journal.Pending)
	r.First, r.Due = j.first, j.due
	if j.index < 0 && j.attempts > 0 {
		r.Due = j.started.Add(q.backoff().Base(j.attempts))
	}
	r.Zip = j.zip || j.next != nil
	return r
}

// backoff returns how long fills wait after an error.
func (q *Queue) backoff() backoff.Policy {
	return backoff.Policy{Min: q.opts.MinRetryDelay, Max: q.opts.MaxRetryDelay}
}

// persisted is a queue as its journal sees it.
type persisted Queue

// Snapshot implements [journal.Queue].
func (p *persisted) Snapshot(begin func()) []journal.Record {
	q := (*Queue)(p)
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]journal.Record, 0, len(q.jobs)+len(q.failed.entries))
	for _, e := range q.failed.entries {
		all = append(all, e.record(journal.Failed))
	}
	for _, j := range q.jobs {
		all = append(all, q.record(j))
	}
	begin()
	return all
}

// Restore implements [journal.Queue].
func (p *persisted) Restore(c *journal.Contents) bool {
	q := (*Queue)(p)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.jobs) > 0 && len(q.jobs)+len(c.Pending) > q.opts.Limit {
		return false
	}
	for _, r := range c.Failed {
		q.failed.add(entryOf(r))
	}
	pending := make([]journal.Record, 0, len(c.Pending))
	for _, r := range c.Pending {
		pending = append(pending, r)
	}
	slices.SortFunc(pending, func(a, b journal.Record) int { return a.Scheduled.Compare(b.Scheduled) })
	for _, r := range pending {
		q.restoreFill(r, now)
	}
	return true
}

// restoreFill takes over a fill. A clock that was wrong then, or is wrong now, delays it
// by GiveUpAfter at most. q.mu is held.
func (q *Queue) restoreFill(r journal.Record, now time.Time) {
	due := earlier(r.Due, now.Add(q.opts.GiveUpAfter))
	m := r.Module()
	if j, held := q.jobs[m]; held {
		q.join(j, r.Zip, now, due)
		return
	}
	j := q.newJob(own(m), r.Zip, r.Scheduled, due)
	j.attempts, j.reason, j.started = r.Attempts, r.Reason, r.Started
	if j.attempts > 0 {
		j.first = earlier(r.First, now)
	}
	q.jobs[m] = j
	q.push(j)
}

// record returns e as a line of a journal.
func (e Entry) record(state journal.State) journal.Record {
	return journal.Record{
		State: state, Path: e.Path, Version: e.Version, Zip: e.Zip, Attempts: e.Attempts,
		Scheduled: e.Scheduled, Due: e.Due, Started: e.Started, Ended: e.Ended, Reason: e.Reason,
	}
}

// entryOf returns a line of a journal as an Entry.
func entryOf(r journal.Record) Entry {
	return Entry{
		Path: r.Path, Version: r.Version, Zip: r.Zip, Attempts: r.Attempts,
		Scheduled: r.Scheduled, Due: r.Due, Started: r.Started, Ended: r.Ended, Reason: r.Reason,
	}
}
