package journal

import "github.com/athens-go/athens/internal/flock"

// Abandon leaves the journal as a process does that is killed: its lock is gone, and its
// file stays. It is for tests.
func (j *Journal) Abandon() {
	close(j.closing)
	j.keepers.Wait()
	j.end()
	flock.Release(j.file)
}

// Hang keeps the file from being written until release is called, as a disk that hangs
// does. It is for tests.
func (j *Journal) Hang() (release func()) {
	j.fileMu.Lock()
	return j.fileMu.Unlock
}
