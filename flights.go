package athens

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/spool"
)

// metaFetch is the .info and .mod of a version on their way from a source to the
// store. It stays joinable until they are stored, so nobody asks again.
type metaFetch struct {
	failing
	content *flight.Future[Content]
	info    *flight.Future[*Info]    // nil without error: look into the store
	mod     *flight.Future[[]byte]   // the same
	stored  *flight.Future[struct{}] // both are held

	since time.Time // what was learned after it need not be asked
	early bool      // each file is passed on before both are stored

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
func (mf *metaFetch) end(err error) {
	mf.content.Set(nil, err)
	mf.info.Set(nil, err)
	mf.mod.Set(nil, err)
	mf.stored.Set(struct{}{}, err)
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
func (mf *metaFetch) want(files ...File) bool {
	mf.mu.Lock()
	defer mf.mu.Unlock()
	for _, f := range files {
		if isClosed(mf.wanted[f]) {
			continue
		}
		if isClosed(mf.over) {
			return false
		}
		close(mf.wanted[f])
	}
	return true
}

// got says what came of asking for one file: after it, the other is wanted, too,
// or not any more.
func (mf *metaFetch) got(err error) {
	if err == nil {
		mf.want(InfoFile, ModFile)
		return
	}
	mf.mu.Lock()
	defer mf.mu.Unlock()
	if !isClosed(mf.over) {
		close(mf.over)
	}
}

// await waits until a file is asked for.
func (mf *metaFetch) await(ctx context.Context, f File) error {
	select {
	case <-mf.wanted[f]:
		return nil
	case <-mf.over:
		if isClosed(mf.wanted[f]) {
			return nil
		}
		return errUnasked
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// part gets a file once a caller wants it. Then told is set to an error, and to the
// file if that goes to clients early.
func part[V any](ctx context.Context, mf *metaFetch, f File, told *flight.Future[V], get func() (V, error)) *flight.Future[V] {
	return flight.Start(func() (v V, err error) {
		if err := mf.await(ctx, f); err != nil {
			return v, err
		}
		if err = mf.answers.missingSince(fileQuestion(mf.module, f), mf.since); err == nil {
			v, err = flight.Try(get)
		}
		mf.fail(err, f)
		if mf.early || err != nil {
			told.Set(v, err)
		}
		mf.got(err)
		return v, err
	})
}

// errUnasked says that nobody wanted a file before the other failed.
var errUnasked = errors.New("not asked for")

// zipFetch is a zip on its way from a source into the store.
type zipFetch struct {
	failing
	spool  *flight.Future[*spool.Spool] // to follow; nil without error: look into the store
	stored *flight.Future[struct{}]
}

func newZipFetch() *zipFetch {
	return &zipFetch{spool: flight.NewFuture[*spool.Spool](), stored: flight.NewFuture[struct{}]()}
}

// end sets what was not set yet.
func (zf *zipFetch) end(err error) {
	zf.spool.Set(nil, err)
	zf.stored.Set(struct{}{}, err)
}

// failing is how the fetch of a version fails.
type failing struct {
	answers *answers
	module  module.Version
	forget  func() // keeps others from joining the fetch
}

// fail is called before anybody hears of an error, which may be nil. A client that
// then asks again must neither join the fetch that failed, nor cause another for a
// file that is known to be missing.
func (f *failing) fail(err error, about ...File) {
	if err == nil {
		return
	}
	for _, file := range about {
		f.answers.remember(fileQuestion(f.module, file), err)
	}
	f.forget()
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
