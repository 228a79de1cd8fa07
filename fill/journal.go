package fill

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
)

const (
	// patience is how long Schedule waits for the kernel to take what it
	// wrote: a disk that hangs must not hold a client's answer.
	patience = 20 * time.Millisecond
	// maxQueued bounds what waits for a disk that hangs, in records; beyond
	// that the journal is written anew once the disk is back.
	maxQueued = 4096
	// minGrowth is how much a journal grows before it is written anew, in
	// bytes, however short it was.
	minGrowth = 1 << 20
)

// journalPrefix begins the name of a journal; something random follows.
const journalPrefix = "fills-"

var (
	errSlow    = errors.New("fill: the disk does not take the journal as fast as fills change")
	errRemoved = errors.New("fill: somebody has removed the journal")
)

// maxBytes is more than a journal ever has, in bytes.
func maxBytes(limit, recent int) int64 {
	return 2*maxLine*int64(limit+recent) + 4*minGrowth
}

// journal is the file that a queue writes the changes of its fills to, and the
// goroutine that does so. [Queue.keep] cares for what takes longer.
//
// After an error the file is behind: nothing more is written to it until the
// queue has written another one, with all of its fills.
type journal struct {
	dir    string
	growth int64         // minGrowth, and
	pace   time.Duration // tendEvery, but for tests

	wake    chan struct{} // tells write that there is something; closed in the end
	attend  chan struct{} // tells keep the same
	closing chan struct{} // closed to end keep

	mu      sync.Mutex
	next    batch
	behind  error // why the file is
	trouble error // the latest behind, until a file is solid again
	closed  bool  // nothing is taken any more

	fileMu sync.Mutex // held while the file is written to or exchanged
	file   *os.File   // nil if there was none yet
	size   int64
	base   int64 // size when it was written anew
	dirty  bool  // written to since the latest sync

	// For keep, and who comes before and after it:
	told  bool       // the log was, that file is behind
	solid bool       // file was on the medium when it was begun
	spent []*os.File // locked, and to be removed when their fills are in a solid file
}

// batch is what is written at once.
type batch struct {
	records []record
	taken   chan struct{} // closed when the kernel has them, or never will
}

func newJournal(dir string) *journal {
	return &journal{
		dir: dir, growth: minGrowth, pace: tendEvery,
		wake: make(chan struct{}, 1), attend: make(chan struct{}, 1), closing: make(chan struct{}),
	}
}

// add puts r on its way to the file. What it returns is closed when the kernel
// has it; nil means that the file is behind.
func (j *journal) add(r record) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.behind == nil && len(j.next.records) >= maxQueued {
		j.fall(errSlow)
	}
	if j.closed || j.behind != nil {
		return nil
	}
	if j.next.taken == nil {
		j.next.taken = make(chan struct{})
	}
	j.next.records = append(j.next.records, r)
	signal(j.wake)
	return j.next.taken
}

// await waits until the kernel has what taken is of, for a moment.
func await(taken <-chan struct{}) {
	select {
	case <-taken:
		return
	default:
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-taken:
	case <-limit.C:
	}
}

// take takes what is to be written.
func (j *journal) take() batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.next
	j.next = batch{}
	return b
}

// write writes what add was given, until wake is closed.
func (j *journal) write() {
	for range j.wake {
		j.fileMu.Lock()
		b := j.take() // with the file locked, so that keep can tell before from after
		if len(b.records) > 0 {
			j.append(b.records)
			close(b.taken)
		}
		j.fileMu.Unlock()
	}
}

// append appends records to the file. fileMu is held.
func (j *journal) append(records []record) {
	n, err := writeRecords(j.file, records)
	j.size += n
	j.dirty = true
	if err != nil {
		j.fail(err)
	}
	signal(j.attend)
}

// writeRecords writes records in one call if they are few.
func writeRecords(f *os.File, records []record) (size int64, err error) {
	const enough = 256 << 10
	var text []byte
	for i := range records {
		if text, err = appendLine(text, &records[i]); err != nil {
			return size, err
		}
		if len(text) >= enough || i == len(records)-1 {
			n, err := f.Write(text)
			size += int64(n)
			if err != nil {
				return size, err
			}
			text = text[:0]
		}
	}
	return size, nil
}

// fail says that the file is behind.
func (j *journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fall(err)
}

// fall does so with j.mu held. What waits to be written is forgotten.
func (j *journal) fall(err error) {
	j.behind, j.trouble = err, err
	if j.next.taken != nil {
		close(j.next.taken)
	}
	j.next = batch{}
	signal(j.attend)
}

// failure is why the file is behind; nil if it is not.
func (j *journal) failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.behind
}

// over says that the file is on the medium, with everything in it. It reports
// whether there was trouble before, and is none now.
func (j *journal) over() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.trouble
	j.trouble = j.behind
	return was != nil && j.trouble == nil
}

// state is what to tell of the journal; empty if it is well.
func (j *journal) state() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.trouble == nil {
		return ""
	}
	return j.trouble.Error()
}

// survives reports whether a fill that is added now is there after a restart.
func (j *journal) survives() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.behind == nil && !j.closed
}

// begin makes add take records again, and returns what waited until now. A queue
// that calls it must write all its fills anew.
func (j *journal) begin() batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.next
	j.next = batch{}
	j.behind = nil
	return b
}

// sync puts on the medium what was written to the file. For keep.
func (j *journal) sync() {
	j.fileMu.Lock()
	f, dirty := j.file, j.dirty
	j.dirty = false
	j.fileMu.Unlock()
	if !dirty || f == nil {
		return
	}
	if err := f.Sync(); err != nil {
		j.fail(err)
	}
}

// grown reports whether it is time to write the file anew.
func (j *journal) grown() bool {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	return j.size > 2*j.base+j.growth
}

// end makes write end when it has written what add was given.
func (j *journal) end() {
	j.mu.Lock()
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
}

// release lets others adopt the journal, or removes it if nothing is in it. What
// was adopted and not written down is left to them too.
func (j *journal) release(empty bool) error {
	for _, f := range j.spent {
		flock.Release(f)
	}
	if j.file == nil {
		return j.behind
	}
	if empty && j.behind == nil {
		return drop(j.file)
	}
	err := j.file.Sync()
	flock.Release(j.file)
	return errors.Join(j.behind, err)
}

// create makes a new journal that is locked.
func (j *journal) create() (*os.File, error) {
	for range 100 { // others may sweep it away before it is locked
		f, name, err := durable.Create(durable.OS{}, j.dir, journalPrefix)
		if errors.Is(err, os.ErrNotExist) {
			if err := makeFolder(j.dir); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		ok, err := lockJournal(f)
		if ok {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, errors.Join(err, os.Remove(name))
		}
	}
	return nil, fmt.Errorf("fill: no journal stays in %s", j.dir)
}

// makeFolder makes the folder of the journals, durably.
func makeFolder(dir string) error {
	root, err := durable.Existing(durable.OS{}, dir)
	if err != nil {
		return err
	}
	return durable.MkdirAll(durable.OS{}, root, dir)
}

// lockJournal locks a journal, and reports whether nobody else has it and it is
// still there: who had it before may have removed it.
func lockJournal(f *os.File) (bool, error) {
	if ok, err := flock.Try(f); !ok || err != nil {
		return false, err
	}
	return inPlace(f)
}

// inPlace reports whether f still has its name.
func inPlace(f *os.File) (bool, error) {
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(f.Name())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// drop removes a journal that nobody needs any more, and ends its lock.
func drop(f *os.File) error {
	if !flock.Supported {
		f.Close() // such a system may not remove a file that is open
	}
	err := os.Remove(f.Name())
	flock.Release(f)
	return err
}

// signal sends on a channel of one place. One signal that waits is as good as many.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
