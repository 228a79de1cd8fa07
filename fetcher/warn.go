package fetcher

import (
	"context"
	"sync"

	"github.com/athens-go/athens/internal/homefile"
)

// warnings remembers what was logged, so that a file that can't be read is reported once
// and not for each request.
type warnings struct {
	mu   sync.Mutex
	seen map[string]bool
}

// maxWarnings bounds the number of different warnings.
const maxWarnings = 1000

// first reports whether a text has not been logged before.
func (w *warnings) first(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[text] || len(w.seen) >= maxWarnings {
		return false
	}
	if w.seen == nil {
		w.seen = make(map[string]bool)
	}
	w.seen[text] = true
	return true
}

// warn returns a function that logs the message what for a file, once for each file and
// error.
func (f *Fetcher) warn(ctx context.Context, what string) homefile.Warn {
	return func(name string, err error) {
		if f.warnings.first(what + name + err.Error()) {
			f.opts.Logger.WarnContext(ctx, what, "file", name, "error", err)
		}
	}
}
