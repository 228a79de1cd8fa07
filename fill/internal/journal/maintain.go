package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
)

// maxAdopt is how many journals of dead processes are taken over at once.
const maxAdopt = 64

// maintain does what Add must not wait for: it syncs the journal, writes it anew when it
// has grown or failed, and takes over orphans.
func (j *Journal) maintain() {
	adopt := time.NewTicker(AdoptInterval)
	defer adopt.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	waits, last := true, time.Time{}
	for {
		select {
		case <-j.closing:
			return
		case <-j.attend:
			if !waits {
				waits = true
				due.Reset(max(0, j.opts.SyncDelay-time.Since(last)))
			}
		case <-due.C:
			waits, last = false, time.Now()
			j.syncOrRewrite()
		case <-adopt.C:
			j.checkFolder()
		}
	}
}

func (j *Journal) syncOrRewrite() {
	err := j.failure()
	if err != nil && !j.told {
		j.told = true
		j.opts.Logger.Error("fills are kept in memory only: can't write the journal", "dir", j.dir, "error", err)
	}
	if err != nil || j.grown() {
		j.rewrite()
		return
	}
	j.sync()
}

// sync syncs the file if it was written.
func (j *Journal) sync() {
	j.fileMu.Lock()
	f, dirty := j.file, j.dirty
	j.dirty = false
	j.fileMu.Unlock()
	if !dirty || f == nil {
		return
	}
	if err := f.Sync(); err != nil {
		j.Fail(err)
	}
}

// rewrite writes a new file with the state of all fills, and removes the one before it
// and those that were adopted. A crash in between leaves both: the process that adopts
// them repeats some fills.
func (j *Journal) rewrite() {
	f, err := j.create()
	if err != nil {
		j.Fail(err)
		return
	}
	if err := j.replaceFile(f); err != nil {
		_ = remove(f) // otherwise it would be adopted like any other
		return
	}
	if err := errors.Join(f.Sync(), durable.SyncDir(durable.OS{}, j.dir)); err != nil {
		j.Fail(err)
		return
	}
	j.synced = true
	for _, old := range j.spent {
		if err := remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.opts.Logger.Warn("could not remove an old journal", "file", old.Name(), "error", err)
		}
	}
	j.spent = nil
	if j.recovered() && j.told {
		j.told = false
		j.opts.Logger.Info("fills survive a restart again: the journal was written", "dir", j.dir)
	}
}

// replaceFile writes the state of all fills to f, which is the journal's file from then
// on.
func (j *Journal) replaceFile(f *os.File) error {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	var waiting batch
	records := j.queue.Snapshot(func() { waiting = j.restart() })
	size, err := writeRecords(f, records)
	if err != nil {
		j.Fail(err)
	} else {
		switch {
		case j.synced:
			j.spent = append(j.spent, j.file)
		case j.file != nil: // never synced: those in spent have the fills
			_ = remove(j.file)
		}
		j.file, j.synced, j.size, j.base, j.dirty = f, false, size, size, false
	}
	if waiting.taken != nil {
		close(waiting.taken)
	}
	return err
}

// checkFolder takes over orphans, and notices when this journal's file was removed.
func (j *Journal) checkFolder() {
	if j.failure() != nil {
		return // syncOrRewrite tries again
	}
	adopted := false
	if flock.Supported { // without locks, dead and running processes can't be told apart
		var err error
		if adopted, err = j.adoptOrphans(); err != nil {
			j.opts.Logger.Warn("could not list the journals of fills", "dir", j.dir, "error", err)
		}
	}
	there, err := inPlace(j.file)
	if err == nil && !there {
		err = errRemoved
	}
	switch {
	case err != nil:
		j.Fail(err) // syncOrRewrite writes another file
	case adopted:
		j.rewrite()
	}
}

// adoptOrphans takes over the fills in the journals of dead processes, and reports
// whether there were any. The files stay, locked, until rewrite has written their fills.
func (j *Journal) adoptOrphans() (some bool, err error) {
	entries, err := os.ReadDir(j.dir)
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
		if strings.HasPrefix(e.Name(), Prefix) && e.Type().IsRegular() && j.adopt(filepath.Join(j.dir, e.Name())) {
			n++
		}
	}
	return n > 0, nil
}

// adopt takes over a journal if its process is dead and the queue has room. A journal
// that can't be read stays, and is logged.
func (j *Journal) adopt(name string) bool {
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
	if ok, err := lock(f); !ok || err != nil {
		return false
	}
	c, err := read(f, j.opts.Limit, j.opts.Recent)
	if err != nil {
		j.opts.Logger.Warn("could not read a journal of fills", "file", name, "error", err)
		return false
	}
	if !j.queue.Restore(c) {
		return false
	}
	taken = true
	j.spent = append(j.spent, f)
	if c.ignored > 0 || c.over > 0 {
		j.opts.Logger.Warn("ignored lines of a journal of fills", "file", name, "damaged", c.ignored, "over_limit", c.over)
	}
	if len(c.Pending) > 0 {
		j.opts.Logger.Info("took over the fills of an earlier process", "pending", len(c.Pending))
	}
	return true
}
