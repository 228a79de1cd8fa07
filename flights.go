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

// metaFetch is a running fetch of the .info and .mod of a version. Others can join it
// until both files are stored, so the source is asked once.
type metaFetch struct {
	failing
	content *flight.Future[Content]
	info    *flight.Future[*Info]    // nil without an error: the store has it
	mod     *flight.Future[[]byte]   // nil without an error: the store has it
	stored  *flight.Future[struct{}] // set when both are stored

	since time.Time // a "not found" that was remembered later ends the fetch
	early bool      // waiting clients get each file before both are stored

	// The source is asked first for the file that a client wants, and for the other one
	// after the first has come. So a version that does not exist costs one question.
	mu     sync.Mutex
	wanted map[File]chan struct{} // a file's channel is closed once somebody wants it
	over   chan struct{}          // closed once no file that nobody wants will be asked for
}

// newMetaFetch returns a fetch for a caller that looked at what was known at the time
// since.
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

// end gives the result to all that still wait.
func (mf *metaFetch) end(err error) {
	mf.content.Set(nil, err)
	mf.info.Set(nil, err)
	mf.mod.Set(nil, err)
	mf.stored.Set(struct{}{}, err)
}

// isClosed reports whether c is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// want says that files are wanted. It returns false if it is too late for one of them;
// the caller then needs another fetch.
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

// got tells the result of asking for one file. After a success the other file is wanted as
// well; after an error it is asked for only if somebody wants it already.
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

// await waits until a file is wanted. It returns errUnasked once it is certain that nobody
// wants it.
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

// part gets a file once somebody wants it. Clients wait for told: it gets an error at once,
// and the file at once if mf is early.
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

// errUnasked says that nobody wanted the file before the other one failed.
var errUnasked = errors.New("not asked for")

// zipFetch is a running fetch of a zip.
type zipFetch struct {
	failing
	spool  *flight.Future[*spool.Spool] // for clients to read; nil without an error: the store has the zip
	stored *flight.Future[struct{}]
}

func newZipFetch() *zipFetch {
	return &zipFetch{spool: flight.NewFuture[*spool.Spool](), stored: flight.NewFuture[struct{}]()}
}

// end gives the result to all that still wait.
func (zf *zipFetch) end(err error) {
	zf.spool.Set(nil, err)
	zf.stored.Set(struct{}{}, err)
}

// failing is the part of a fetch that reports its failure.
type failing struct {
	answers *answers
	module  module.Version
	forget  func() // from then on, nobody joins the fetch
}

// fail prepares for the next client before the waiting ones get err. A client that asks
// again must not join the fetch that failed, and must not start another one for a file
// that is known to be missing. If err is nil, fail does nothing.
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

// meta is the .info and .mod of a version whose zip is being fetched.
type meta struct {
	join func() *metaFetch // joins or starts their fetch; nil: they are stored
}

// start starts their fetch, unless they are stored.
func (mt meta) start() {
	if mt.join != nil {
		mt.join()
	}
}

// wait waits until they are stored.
func (mt meta) wait(ctx context.Context) error {
	if mt.join == nil {
		return nil
	}
	_, err := mt.join().stored.Wait(ctx)
	return err
}
