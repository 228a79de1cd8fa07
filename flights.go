package athens

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/athens-go/athens/internal/flight"
)

// metaFetch is the .info and .mod of a version on their way from a source to the
// store. It stays joinable until they are stored, so nobody asks again.
type metaFetch struct {
	content *flight.Future[Content]
	info    *flight.Future[*Info]    // nil without error: look into the store
	mod     *flight.Future[[]byte]   // the same
	stored  *flight.Future[struct{}] // both are held

	since time.Time // what was learned after it need not be asked

	// What is wanted first is asked for first, and the rest when that was
	// there: a version that does not exist costs one question.
	mu     sync.Mutex
	wanted map[File]chan struct{} // closed when it is
	over   chan struct{}          // closed when what was not wanted is not asked for
}

// newMetaFetch returns a fetch for a caller that looked at what is known at since.
func newMetaFetch(since time.Time) *metaFetch {
	return &metaFetch{
		since:   since,
		content: flight.NewFuture[Content](),
		info:    flight.NewFuture[*Info](),
		mod:     flight.NewFuture[[]byte](),
		stored:  flight.NewFuture[struct{}](),
		wanted:  map[File]chan struct{}{InfoFile: make(chan struct{}), ModFile: make(chan struct{})},
		over:    make(chan struct{}),
	}
}

// end sets what was not set yet.
func (a *metaFetch) end(err error) {
	a.content.Set(nil, err)
	a.info.Set(nil, err)
	a.mod.Set(nil, err)
	a.stored.Set(struct{}{}, err)
}

// isClosed reports whether c is.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// want asks for files, unless it is too late for one.
func (a *metaFetch) want(files ...File) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range files {
		if isClosed(a.wanted[f]) {
			continue
		}
		if isClosed(a.over) {
			return false
		}
		close(a.wanted[f])
	}
	return true
}

// got says what came of asking for one file: after it, the other is wanted, too,
// or not any more.
func (a *metaFetch) got(err error) {
	if err == nil {
		a.want(InfoFile, ModFile)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !isClosed(a.over) {
		close(a.over)
	}
}

// errUnasked says that nobody wanted a file before the other failed.
var errUnasked = errors.New("not asked for")

// zipFetch is a zip on its way from a source into the store.
type zipFetch struct {
	spool  *flight.Future[*spool] // to follow; nil without error: look into the store
	stored *flight.Future[struct{}]
}

func newZipFetch() *zipFetch {
	return &zipFetch{flight.NewFuture[*spool](), flight.NewFuture[struct{}]()}
}

// end sets what was not set yet.
func (a *zipFetch) end(err error) {
	a.spool.Set(nil, err)
	a.stored.Set(struct{}{}, err)
}

// errCrashed is the verdict of a spool whose writer panicked.
var errCrashed = errors.New("internal error while fetching")

// meta is the .info and .mod that a zip belongs to, held or on their way.
type meta struct {
	join func() *metaFetch // nil: they are stored
}

// start gets them on their way.
func (a meta) start() {
	if a.join != nil {
		a.join()
	}
}

// wait waits until they are held.
func (a meta) wait(ctx context.Context) error {
	if a.join == nil {
		return nil
	}
	_, err := a.join().stored.Wait(ctx)
	return err
}
