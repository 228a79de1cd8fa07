// Package reload tells when a file of settings has to be read again. redirect/rules and
// serve/auth read theirs with it.
package reload

import (
	"context"
	"os"
	"sync"
	"time"
)

// File is a file that is read again when it changes. Make one with [New].
type File struct {
	name string

	mu    sync.Mutex  // held while the file is read
	stamp os.FileInfo // of the text that was read last, good or bad
}

// New returns a file that was not read yet.
func New(name string) *File { return &File{name: name} }

// Read calls load, one call at a time. empty says that the file is there and has no
// text. What changes while load reads it is read again by [File.Run].
func (f *File) Read(load func(empty bool) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stamp, _ = os.Stat(f.name)
	return load(f.stamp != nil && f.stamp.Size() == 0)
}

// Run looks at the file each interval and calls reload, which is to call [File.Read], when
// it is not as Read found it, until ctx is done. A file that changes is left alone until it
// has been the same for one interval, so that nothing half-written is read. If interval is
// negative, Run only waits for ctx.
func (f *File) Run(ctx context.Context, interval time.Duration, reload func()) {
	if interval < 0 {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last os.FileInfo
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, _ := os.Stat(f.name)
		f.mu.Lock()
		changed := !same(now, f.stamp)
		f.mu.Unlock()
		if changed && same(now, last) {
			reload()
		}
		last = now
	}
}

// same reports whether two looks at a file, of which nil says that there was none, saw
// the same text.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
