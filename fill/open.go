package fill

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Open returns a queue whose fills survive the process, by a journal in the
// folder dir: with what an earlier one left undone, when its time has come. It
// makes the folder if there is none. A nil opts means the defaults.
//
// The error says which option can't be right, or that the folder can't be read.
// That it can't be written, as on a full disk, is none: the queue then works as
// one of [New] does, tells [Options.Log] once, and tries again every second.
//
// Whoever opens a queue closes it, after Run has returned.
func Open(dir string, opts *Options) (*Queue, error) {
	q, err := opened(dir, opts)
	if err != nil {
		return nil, err
	}
	q.begin()
	return q, nil
}

// opened is Open, but nothing goes on in the background yet.
func opened(dir string, opts *Options) (*Queue, error) {
	if dir == "" {
		return nil, errors.New("fill: no folder for the journal")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	q, err := New(opts)
	if err != nil {
		return nil, err
	}
	q.journal = newJournal(dir)
	if _, err := q.adopt(); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	q.rewrite()
	return q, nil
}

// begin begins what goes on in the background, until Close.
func (q *Queue) begin() {
	q.writer.Go(q.journal.write)
	q.keeper.Go(q.keep)
}

// Close ends the queue, and with it the journal: what is pending is done after
// the next [Open] of the folder, by whichever process that is. Schedule returns
// [ErrClosed] from then on. The error says that the journal could not be
// written. Of a queue of [New], Close has nothing to end.
//
// What still runs is done again later. A second Close does nothing.
func (q *Queue) Close() error {
	q.mu.Lock()
	again := q.ended
	q.ended, q.closed = true, true
	q.mu.Unlock()
	j := q.journal
	if again || j == nil {
		return nil
	}
	close(j.closing)
	q.keeper.Wait()
	if j.failure() != nil {
		q.rewrite() // the last chance
	}
	j.end()
	q.writer.Wait()
	q.mu.Lock()
	empty := len(q.jobs) == 0 && len(q.failed.entries) == 0
	q.mu.Unlock()
	return j.release(empty)
}

// note puts what has become of j in the journal. q.mu is held.
func (q *Queue) note(j *job) {
	if q.journal != nil {
		j.taken = q.journal.add(q.record(j))
	}
}

// noteEnd puts in the journal that a fill has ended. q.mu is held.
func (q *Queue) noteEnd(state string, e Entry) {
	if q.journal != nil {
		q.journal.add(record{State: state, Entry: e})
	}
}

// record returns what is to be known of j after a restart. One that runs then
// waits as if it had failed, so that a fill of which the process dies does not
// kill the next one at once. q.mu is held.
func (q *Queue) record(j *job) record {
	r := record{State: statePending, Entry: j.entry(), First: j.first}
	r.Due = j.due
	if j.index < 0 && j.attempts > 0 {
		r.Due = j.started.Add(Backoff{q.opts.RetryMin, q.opts.RetryMax}.base(j.attempts))
	}
	r.Zip = j.zip || j.next != nil
	return r
}

// records returns all that is to be known after a restart. q.mu is held.
func (q *Queue) records() []record {
	all := make([]record, 0, len(q.jobs)+len(q.failed.entries))
	for _, e := range q.failed.entries {
		all = append(all, record{State: stateFailed, Entry: e})
	}
	for _, j := range q.jobs {
		all = append(all, q.record(j))
	}
	return all
}

// restore takes over what a journal says, and reports whether there was room.
func (q *Queue) restore(c *contents) bool {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.jobs) > 0 && len(q.jobs)+len(c.pending) > q.opts.Limit {
		return false
	}
	for _, e := range c.failed.entries {
		q.failed.add(e)
	}
	pending := make([]record, 0, len(c.pending))
	for _, r := range c.pending {
		pending = append(pending, r)
	}
	slices.SortFunc(pending, func(a, b record) int { return a.Scheduled.Compare(b.Scheduled) })
	for _, r := range pending {
		q.restoreFill(r, now)
	}
	return true
}

// restoreFill takes over a fill. A clock that was wrong then, or is now, does not
// put it off further than GiveUp. q.mu is held.
func (q *Queue) restoreFill(r record, now time.Time) {
	due := earlier(r.Due, now.Add(q.opts.GiveUp))
	m := r.version()
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
