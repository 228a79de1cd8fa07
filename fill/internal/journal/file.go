package journal

import (
	"errors"
	"fmt"
	"os"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
)

// Prefix begins the name of a journal's file; random characters follow.
const Prefix = "fills-"

// maxBytes is more than a journal ever has, in bytes.
func maxBytes(limit, recent int) int64 {
	return 2*maxLine*int64(limit+recent) + 4*MinGrowth
}

// write writes what Add was given, until wake is closed.
func (j *Journal) write() {
	for range j.wake {
		j.fileMu.Lock()
		b := j.takeBatch() // with the file locked, so that rewrite knows what came before it
		if len(b.records) > 0 {
			j.append(b.records)
			close(b.taken)
		}
		j.fileMu.Unlock()
	}
}

// append appends records to the file. fileMu is held.
func (j *Journal) append(records []Record) {
	n, err := writeRecords(j.file, records)
	j.size += n
	j.dirty = true
	if err != nil {
		j.Fail(err)
	}
	signal(j.attend)
}

// writeRecords writes records, in one call if they are few.
func writeRecords(f *os.File, records []Record) (size int64, err error) {
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

// grown reports whether it is time to write the file anew.
func (j *Journal) grown() bool {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	return j.size > 2*j.base+j.opts.MinGrowth
}

// release lets other processes take over the journal, or removes it if no fill is in it.
// They also get the journals that were adopted and not yet written anew.
func (j *Journal) release(empty bool) error {
	for _, f := range j.spent {
		flock.Release(f)
	}
	failed := j.failure()
	if j.file == nil {
		return failed
	}
	if empty && failed == nil {
		return remove(j.file)
	}
	err := j.file.Sync()
	flock.Release(j.file)
	return errors.Join(failed, err)
}

// create makes the file of a new journal, locked.
func (j *Journal) create() (*os.File, error) {
	for range 100 { // another process may remove it before it is locked
		f, name, err := durable.Create(durable.OS{}, j.dir, Prefix)
		if errors.Is(err, os.ErrNotExist) {
			if err := makeFolder(j.dir); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		ok, err := lock(f)
		if ok {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, errors.Join(err, os.Remove(name))
		}
	}
	return nil, fmt.Errorf("fill: new journals in %s are removed by another process at once", j.dir)
}

// makeFolder makes the folder of the journals, durably.
func makeFolder(dir string) error {
	root, err := durable.Existing(durable.OS{}, dir)
	if err != nil {
		return err
	}
	return durable.MkdirAll(durable.OS{}, root, dir)
}

// lock locks the file of a journal. It reports whether this process now has it and it
// still has its name: the process that had it before may have removed it.
func lock(f *os.File) (bool, error) {
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

// remove removes the file of a journal that is no longer needed, and unlocks it.
func remove(f *os.File) error {
	if !flock.Supported {
		f.Close() // such a system may refuse to remove an open file
	}
	err := os.Remove(f.Name())
	flock.Release(f)
	return err
}
