package fill

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
)

const (
	// tendEvery is how long a change may wait until it is put on the medium,
	// and how often a journal that fell behind is tried again.
	tendEvery = time.Second
	// lookEvery is how often the folder is looked at for journals whose
	// process has died.
	lookEvery = time.Minute
	// maxAdopt is how many of those are taken over at once.
	maxAdopt = 64
)

// keep does what Schedule must not wait for: it syncs the journal, writes it
// anew when it has grown or fallen behind, and adopts those of the dead.
func (q *Queue) keep() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	tend := time.NewTimer(0)
	defer tend.Stop()
	waits, last := true, time.Time{}
	for {
		select {
		case <-q.journal.closing:
			return
		case <-q.journal.attend:
			if !waits {
				waits = true
				tend.Reset(max(0, q.journal.pace-time.Since(last)))
			}
		case <-tend.C:
			waits, last = false, time.Now()
			q.tend()
		case <-look.C:
			q.look()
		}
	}
}

func (q *Queue) tend() {
	j := q.journal
	if err := j.failure(); err != nil && !j.told {
		j.told = true
		q.opts.Log.Error("fills would not survive the process: the journal can't be written", "dir", j.dir, "err", err)
	}
	if j.failure() != nil || j.grown() {
		q.rewrite()
		return
	}
	j.sync()
}

// rewrite writes a journal with what is to be done now, and removes the one
// before it, and those that were adopted. A crash in between leaves both: who
// adopts them does some fills twice.
func (q *Queue) rewrite() {
	j := q.journal
	f, err := j.create()
	if err != nil {
		j.fail(err)
		return
	}
	if err := q.fillIn(f); err != nil {
		_ = drop(f) // else it is adopted like any other
		return
	}
	if err := errors.Join(f.Sync(), durable.SyncDir(durable.OS{}, j.dir)); err != nil {
		j.fail(err)
		return
	}
	j.solid = true
	for _, old := range j.spent {
		if err := drop(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			q.opts.Log.Warn("journal not removed", "file", old.Name(), "err", err)
		}
	}
	j.spent = nil
	if j.over() && j.told {
		j.told = false
		q.opts.Log.Info("fills survive the process again: the journal was written", "dir", j.dir)
	}
}

// fillIn writes all fills to f, which is the journal from then on.
func (q *Queue) fillIn(f *os.File) error {
	j := q.journal
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	q.mu.Lock()
	records := q.records()
	waiting := j.begin()
	q.mu.Unlock()
	size, err := writeRecords(f, records)
	if err != nil {
		j.fail(err)
	} else {
		switch {
		case j.solid:
			j.spent = append(j.spent, j.file)
		case j.file != nil: // those in spent are better
			_ = drop(j.file)
		}
		j.file, j.solid, j.size, j.base, j.dirty = f, false, size, size, false
	}
	if waiting.taken != nil {
		close(waiting.taken)
	}
	return err
}

// look adopts the fills of processes that have died, and sees to it that this
// one's journal is still there.
func (q *Queue) look() {
	if q.journal.failure() != nil {
		return // tend tries
	}
	adopted := false
	if flock.Supported { // else nobody can tell the dead from the living
		var err error
		if adopted, err = q.adopt(); err != nil {
			q.opts.Log.Warn("journals of fills can't be listed", "err", err)
		}
	}
	there, err := inPlace(q.journal.file)
	if err == nil && !there {
		err = errRemoved
	}
	switch {
	case err != nil:
		q.journal.fail(err) // tend writes another one
	case adopted:
		q.rewrite()
	}
}

// adopt takes over the fills in the journals of dead processes. They stay where
// they are, locked, until rewrite has written them down.
func (q *Queue) adopt() (some bool, err error) {
	entries, err := os.ReadDir(q.journal.dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n := 0
	for _, e := range entries {
		if n == maxAdopt {
			break
		}
		if strings.HasPrefix(e.Name(), journalPrefix) && e.Type().IsRegular() && q.adoptFile(filepath.Join(q.journal.dir, e.Name())) {
			n++
		}
	}
	return n > 0, nil
}

// adoptFile takes over a journal if its process is dead and there is room. What
// can't be read stays, and is told of.
func (q *Queue) adoptFile(name string) bool {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return false // another process was faster, or it is not ours
	}
	taken := false
	defer func() {
		if !taken {
			flock.Release(f)
		}
	}()
	if ok, err := lockJournal(f); !ok || err != nil {
		return false
	}
	c, err := readJournal(f, q.opts.Limit, q.opts.Recent)
	if err != nil {
		q.opts.Log.Warn("journal of fills can't be read", "file", name, "err", err)
		return false
	}
	if !q.restore(c) {
		return false
	}
	taken = true
	q.journal.spent = append(q.journal.spent, f)
	if c.bad > 0 || c.over > 0 {
		q.opts.Log.Warn("journal of fills has lines that don't count", "file", name, "bad", c.bad, "over", c.over)
	}
	if len(c.pending) > 0 {
		q.opts.Log.Info("fills of an earlier process go on", "pending", len(c.pending))
	}
	return true
}
