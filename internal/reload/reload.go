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
// it is not as Read found it, until ctx is done, as [Watch] does.
func (f *File) Run(ctx context.Context, interval time.Duration, reload func()) {
	look := func() os.FileInfo {
		now, _ := os.Stat(f.name)
		return now
	}
	Watch(ctx, interval, look, same, func(now os.FileInfo) {
		f.mu.Lock()
		changed := !same(now, f.stamp)
		f.mu.Unlock()
		if changed {
			reload()
		}
	})
}

// Watch calls look each interval until ctx is done. It calls settled with what look returned
// whenever two looks in a row saw the same: what is being written is left alone until it is
// whole. If interval is negative, Watch only waits for ctx.
func Watch[T any](ctx context.Context, interval time.Duration, look func() T, same func(a, b T) bool, settled func(T)) {
	if interval < 0 {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last T
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := look()
		if same(now, last) {
			settled(now)
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
