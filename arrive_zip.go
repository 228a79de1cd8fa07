package athens

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/modcheck"
)

// zipArrival is a zip on its way from a source into the store.
type zipArrival struct {
	spool  *flight.Future[*spool] // to follow; nil without error: look into the store
	stored *flight.Future[struct{}]
}

func newZipArrival() *zipArrival {
	return &zipArrival{flight.NewFuture[*spool](), flight.NewFuture[struct{}]()}
}

// end sets what was not set yet.
func (a *zipArrival) end(err error) {
	a.spool.Set(nil, err)
	a.stored.Set(struct{}{}, err)
}

// arriveZip joins or starts the arrival of the zip of m, and of its .info and
// .mod before.
func (h *Handler) arriveZip(src source, m module.Version, chain string, since time.Time) *zipArrival {
	key := src.key(m, chain)
	return h.zips.Join(key, newZipArrival, func(ctx context.Context, a *zipArrival) {
		ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
		defer cancel()
		if err := h.answers.missingSince(fileQuestion(m, ZipFile), since); err != nil {
			a.end(err)
			return
		}
		a.end(h.fetchZip(ctx, src, m, chain, a, settles(h.answers, h.zips, key, a)))
	}, (*zipArrival).end)
}

// storeZip makes the store hold the zip of m.
func (h *Handler) storeZip(ctx context.Context, src source, m module.Version) error {
	_, err := h.arriveZip(src, m, "", time.Now()).stored.Wait(ctx)
	return err
}

// fetchZip gets, checks and stores a zip.
func (h *Handler) fetchZip(ctx context.Context, src source, m module.Version, chain string, a *zipArrival, settle settling) (err error) {
	defer func() { settle(err, fileQuestion(m, ZipFile)) }()
	if held, err := h.holds(ctx, m, ZipFile); held || err != nil {
		return err
	}
	content, metaStored, err := h.bind(ctx, src, m, chain)
	if err != nil {
		return err
	}
	stage, err := h.storage.Stage(ctx)
	if err != nil {
		return &storeError{err}
	}
	sp := newSpool(stage)
	defer sp.leave()
	verdict := errCrashed
	defer func() {
		settle(verdict, fileQuestion(m, ZipFile))
		sp.end(verdict)
	}()
	if !src.vcs { // what comes from version control is stored before it is answered
		a.spool.Set(sp, nil)
	}
	size, err := h.getZip(ctx, src, content, m, &firstWrite{w: sp, then: metaStored.start})
	if err == nil {
		err = metaStored.wait(ctx)
	}
	if err == nil {
		err = h.commit(ctx, src, stage, size, m)
	}
	verdict = err
	return err
}

// errCrashed is the verdict of a spool whose writer panicked.
var errCrashed = errors.New("internal error while fetching")

// commit checks a staged zip and stores it.
func (h *Handler) commit(ctx context.Context, src source, stage Stage, size int64, m module.Version) (err error) {
	mod, err := h.read(ctx, m, ModFile, h.opts.MaxModBytes)
	if err != nil {
		return err
	}
	h1, err := modcheck.Zip(stage, size, m, mod, h.opts.MaxZipBytes)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	if err := h.vouch(src, m, "", h1); err != nil {
		return err
	}
	op := h.opts.begin(ctx, OpCommit, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = size
	return h.stored(m, stage.Commit(op.ctx, m, h1))
}

// meta is the .info and .mod that a zip belongs to, held or on their way.
type meta struct {
	arrive func() *arrival // nil: they are held
}

// start gets them on their way.
func (a meta) start() {
	if a.arrive != nil {
		a.arrive()
	}
}

// wait waits until they are held.
func (a meta) wait(ctx context.Context) error {
	if a.arrive == nil {
		return nil
	}
	_, err := a.arrive().stored.Wait(ctx)
	return err
}

// firstWrite calls then when the first byte comes: a zip that does not exist
// costs no other question.
type firstWrite struct {
	w    io.Writer
	then func()
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if f.then != nil {
		f.then()
		f.then = nil
	}
	return f.w.Write(p)
}

// bind returns the content whose zip belongs to the .info and .mod that are held,
// or will be.
func (h *Handler) bind(ctx context.Context, src source, m module.Version, chain string) (Content, meta, error) {
	held, err := h.holds(ctx, m, InfoFile, ModFile)
	if err != nil {
		return nil, meta{}, err
	}
	if !held && !src.vcs {
		content, err := src.Fetch(ctx, m)
		return content, meta{func() *arrival { return h.arrive(src, m, chain, time.Now(), InfoFile, ModFile) }}, err
	}
	if !held {
		a := h.arrive(src, m, chain, time.Now())
		// A zip whose .info is refused is not worth making.
		if _, err := a.stored.Wait(ctx); err != nil {
			return nil, meta{}, err
		}
		if content, err := a.content.Wait(ctx); content != nil || err != nil {
			return content, meta{}, err
		}
		// Somebody stored them meanwhile, so nothing was fetched.
	}
	content, err := src.Fetch(ctx, m)
	if err != nil {
		return nil, meta{}, err
	}
	if src.vcs || !h.answers.arrived(m) {
		// A tag may have moved since: its zip could pass every other check.
		err = h.sameCommit(ctx, src, content, m)
	}
	return content, meta{}, err
}

// sameCommit checks that content has the .info that is held.
func (h *Handler) sameCommit(ctx context.Context, src source, content Content, m module.Version) error {
	got, err := h.getInfo(ctx, src, content, m)
	if err != nil {
		return err
	}
	b, err := h.read(ctx, m, InfoFile, maxInfo)
	if err != nil {
		return err
	}
	var held Info
	if err := json.Unmarshal(b, &held); err != nil {
		return &storeError{fmt.Errorf("held .info of %s: %w", m, err)}
	}
	conflict := &ConflictError{Module: m, File: InfoFile}
	switch {
	case held.Origin != nil && got.Origin != nil && held.Origin.Hash != "" && got.Origin.Hash != "" && held.Origin.Hash != got.Origin.Hash:
		conflict.Held, conflict.Got = "commit "+held.Origin.Hash, "commit "+got.Origin.Hash
	case !held.Time.Equal(got.Time):
		conflict.Held, conflict.Got = "of "+held.Time.String(), "of "+got.Time.String()
	default:
		return nil
	}
	h.alarm(m, conflict)
	return conflict
}

// getZip writes the zip to the stage and returns its size.
func (h *Handler) getZip(ctx context.Context, src source, content Content, m module.Version, stage io.Writer) (size int64, err error) {
	op := h.opts.begin(ctx, OpZip, src.name, m)
	defer func() { op.end(err) }()
	w := &limitedWriter{w: stage, left: h.opts.MaxZipBytes}
	err = content.Zip(op.ctx, w)
	op.event.Bytes = h.opts.MaxZipBytes - w.left
	switch {
	case w.full:
		return 0, &InvalidError{m.Path, m.Version, fmt.Errorf("zip has more than %d bytes", h.opts.MaxZipBytes)}
	case w.err != nil:
		return 0, &storeError{w.err}
	}
	return h.opts.MaxZipBytes - w.left, err
}

// limitedWriter notes by itself why a write failed: a source may well say
// something else.
type limitedWriter struct {
	w    io.Writer
	left int64
	full bool
	err  error
}

var errFull = errors.New("larger than the limit")

func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		l.full = true
		return 0, errFull
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite // not the source's fault, as a torn zip would be
	}
	if err != nil {
		l.err = err
	}
	return n, err
}

// read reads a small file that is held.
func (h *Handler) read(ctx context.Context, m module.Version, f File, limit int64) ([]byte, error) {
	obj, err := h.storage.Open(ctx, m, f)
	if err != nil {
		return nil, &storeError{err}
	}
	defer obj.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(obj.Body, limit+1)); err != nil {
		return nil, &storeError{err}
	}
	if int64(b.Len()) > limit {
		return nil, &storeError{fmt.Errorf("%s.%s has more than %d bytes", m, f, limit)}
	}
	return b.Bytes(), nil
}

// owe sees to it that a version from version control becomes whole although
// nobody asked for its zip: the repository may vanish.
func (h *Handler) owe(src source, m module.Version) {
	if src.Blocked != "" {
		return // its .mod is all that may be served
	}
	if h.opts.Fills != nil {
		h.schedule(h.ctx, Fill{Module: m, Zip: true}, 0) // it has to be there before the .mod is
		return
	}
	h.owed.Join(m, flight.NewFuture[struct{}], func(ctx context.Context, _ *flight.Future[struct{}]) {
		select {
		case h.places <- struct{}{}:
			defer func() { <-h.places }()
		case <-ctx.Done():
			return
		}
		if err := h.storeZip(ctx, src, m); err != nil {
			h.opts.Logger.Warn("zip not stored", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
		}
	}, func(f *flight.Future[struct{}], err error) { f.Set(struct{}{}, err) })
}
