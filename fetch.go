package athens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/spool"
)

// flightKey identifies the fetch that a request joins.
type flightKey struct {
	module module.Version
	// chain is the servers that the request came through. Two servers that ask each other
	// would wait forever if such a request joined the fetch of a client's.
	chain string
}

// key returns the fetch of m to join. Only a request to an upstream can come back.
func (s source) key(m module.Version, chain string) flightKey {
	if s.vcs {
		chain = ""
	}
	return flightKey{m, chain}
}

// joinMeta joins or starts the fetch of the .info and .mod of m that are wanted.
func (h *Handler) joinMeta(src source, m module.Version, chain string, since time.Time, wanted ...File) *metaFetch {
	if src.vcs {
		wanted = []File{InfoFile, ModFile} // the commit has both
	}
	key := src.key(m, chain)
	for {
		mf := h.metaFetches.Join(key, func() *metaFetch { return newMetaFetch(since) }, func(ctx context.Context, mf *metaFetch) {
			mf.failing = failing{h.answers, m, func() { h.metaFetches.Forget(key, mf) }}
			ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
			defer cancel()
			err := h.fetchMeta(ctx, src, m, mf)
			mf.end(err)
		}, (*metaFetch).end)
		if mf.want(wanted...) {
			return mf
		}
		h.metaFetches.Forget(key, mf)
	}
}

// fetchMeta gets .info and .mod, checks and stores them.
func (h *Handler) fetchMeta(ctx context.Context, src source, m module.Version, mf *metaFetch) (err error) {
	defer func() { mf.fail(err) }()
	// Another fetch may have stored them since the caller looked.
	if held, err := h.holds(ctx, m, InfoFile, ModFile); held || err != nil {
		return err
	}
	content, err := Content(nil), error(nil)
	if src, err = src.pin(ctx, m); err == nil {
		content, err = src.Fetch(ctx, m)
	}
	if err != nil {
		mf.fail(err, InfoFile, ModFile)
		return err
	}
	if src.vcs {
		mf.want(InfoFile, ModFile)
	}
	mf.content.Set(content, nil)
	// Without a checksum database and a ledger, clients get an upstream's file before it
	// is stored.
	mf.early = !src.vcs && h.opts.Checksums == nil && h.book == nil
	infoLater := part(ctx, mf, InfoFile, mf.info, func() (*Info, error) { return h.getInfo(ctx, src, content, m) })
	modLater := part(ctx, mf, ModFile, mf.mod, func() ([]byte, error) {
		mod, err := h.getMod(ctx, src, content, m)
		if err == nil {
			h.prefetch.Follow(m, mod) // before the client can act on the answer
		}
		return mod, err
	})
	info, err := infoLater.Wait(context.WithoutCancel(ctx)) // both have ctx
	mod, modErr := modLater.Wait(context.WithoutCancel(ctx))
	switch {
	case err != nil && err != errUnasked:
		return err
	case modErr != nil:
		if _, none := outermost(modErr).(*MissingError); none && err == nil && !src.vcs {
			mf.info.Set(info, nil) // a version without a .mod: there is nothing to verify
		}
		return modErr
	}
	if err := h.book.agreesMod(ctx, m, mod); err != nil {
		return err
	}
	if err := h.verifyMod(src, m, mod); err != nil {
		return err
	}
	if src.vcs && h.verifies(src) {
		return h.storeVerified(ctx, src, content, m, info, mod)
	}
	return h.storeMeta(ctx, src, m, info, mod, mf.early)
}

// storeMeta stores .info and .mod. Early says that clients were answered already.
func (h *Handler) storeMeta(ctx context.Context, src source, m module.Version, info *Info, mod []byte, early bool) error {
	if src.vcs {
		// First of all: if the process dies after Put, or Put fails although it took
		// effect, the version must not be left without a pending zip.
		h.scheduleZip(src, m)
	}
	if err := h.put(ctx, m, info, mod); err != nil {
		if early && !Final(err) { // a conflict has raised an alarm
			warn(h.opts.Logger, "fetched version not stored", m, err)
		}
		return err
	}
	if !src.vcs {
		h.recent.PutFor(m, struct{}{}, h.opts.FetchTimeout)
	}
	return nil
}

// storeVerified stores a version from version control after the checksum database has
// verified its zip. If a tag has moved, the .mod is often still right, and the .info of
// the wrong commit, once stored, would make the right one a conflict.
func (h *Handler) storeVerified(ctx context.Context, src source, content Content, m module.Version, info *Info, mod []byte) error {
	stage, err := h.storage.Stage(ctx)
	if err != nil {
		return &storeError{err}
	}
	defer stage.Close() // the store cleans up what Close leaves
	size, err := h.getZip(ctx, src, content, m, stage)
	if err != nil {
		return err
	}
	h1, err := h.checkZip(src, stage, size, m, mod)
	if err != nil {
		return err
	}
	if err := h.storeMeta(ctx, src, m, info, mod, false); err != nil || src.Blocked != "" {
		return err // of a blocked version, only .info and .mod may be served
	}
	err = h.commitZip(ctx, stage, size, m, h1)
	if _, refused := outermost(err).(*BlockedError); refused {
		return nil // by Options.Admit: the .mod is served all the same
	}
	return err
}

// scheduleZip schedules the zip of a version from version control, although no client
// has asked for it, because the repository may vanish.
func (h *Handler) scheduleZip(src source, m module.Version) {
	switch {
	case src.Blocked != "": // the zip may not be served
	case h.opts.Fills != nil:
		h.fills.schedule(h.ctx, Fill{Module: m, Zip: true}, 0) // and wait until it is scheduled
	default:
		h.background.start(jobZip, m, func(ctx context.Context) {
			if err := h.storeZip(ctx, src, m); err != nil {
				warn(h.opts.Logger, "pending zip not stored", m, err)
			}
		})
	}
}

// joinZip joins or starts the fetch of the zip of m, after its .info and .mod.
func (h *Handler) joinZip(src source, m module.Version, chain string, since time.Time) *zipFetch {
	key := src.key(m, chain)
	return h.zipFetches.Join(key, newZipFetch, func(ctx context.Context, zf *zipFetch) {
		zf.failing = failing{h.answers, m, func() { h.zipFetches.Forget(key, zf) }}
		ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
		defer cancel()
		err := h.answers.missingSince(fileQuestion(m, ZipFile), since)
		if err == nil {
			err = h.fetchZip(ctx, src, m, chain, zf)
		}
		zf.end(err)
	}, (*zipFetch).end)
}

// storeZip makes the store hold the zip of m.
func (h *Handler) storeZip(ctx context.Context, src source, m module.Version) error {
	_, err := h.joinZip(src, m, "", time.Now()).stored.Wait(ctx)
	return err
}

// fetchZip gets a zip, checks and stores it.
func (h *Handler) fetchZip(ctx context.Context, src source, m module.Version, chain string, zf *zipFetch) (err error) {
	defer func() { zf.fail(err, ZipFile) }()
	if held, err := h.holds(ctx, m, ZipFile); held || err != nil {
		return err
	}
	if err, denied := h.denied.Get(m); denied {
		return err
	}
	if src, err = src.pin(ctx, m); err != nil {
		return err
	}
	content, metaStored, err := h.bind(ctx, src, m, chain)
	if err != nil {
		return err
	}
	if src.vcs && h.verifies(src) { // storeVerified may have stored it
		if held, err := h.holds(ctx, m, ZipFile); held || err != nil {
			return err
		}
	}
	stage, err := h.storage.Stage(ctx)
	if err != nil {
		return &storeError{err}
	}
	sp := spool.New(stage)
	defer sp.Leave()
	verdict := errCrashed
	defer func() {
		zf.fail(verdict, ZipFile)
		sp.End(verdict)
	}()
	if !src.vcs && h.opts.Admit == nil { // what is checked further is stored before it is served
		zf.spool.Set(sp, nil)
	}
	size, err := h.getZip(ctx, src, content, m, &firstWrite{w: sp, then: metaStored.start})
	if err == nil {
		err = metaStored.wait(ctx)
	}
	if err == nil {
		err = h.storeStaged(ctx, src, stage, size, m)
	}
	verdict = err // no panic
	return err
}

// storeStaged checks a staged zip and stores it.
func (h *Handler) storeStaged(ctx context.Context, src source, stage Stage, size int64, m module.Version) (err error) {
	var mod []byte
	if src.vcs {
		if mod, err = h.read(ctx, m, ModFile, h.opts.MaxModBytes); err != nil {
			return err
		}
	}
	h1, err := h.checkZip(src, stage, size, m, mod)
	if err != nil {
		return err
	}
	return h.commitZip(ctx, stage, size, m, h1)
}

// getInfo gets the .info and checks it.
func (h *Handler) getInfo(ctx context.Context, src source, content Content, m module.Version) (info *Info, err error) {
	op := h.opts.begin(ctx, OpInfo, src.name, m)
	defer func() { op.end(err) }()
	if info, err = content.Info(op.ctx); err != nil {
		return nil, h.evictRemoved(ctx, src, m, err)
	}
	if info = cmp.Or(info, new(Info)); info.Version != m.Version {
		return nil, &InvalidError{m.Path, m.Version, fmt.Errorf("the source's .info names version %.80q", info.Version)}
	}
	if err := checkInfo(info, src.vcs); err != nil {
		return nil, &InvalidError{m.Path, m.Version, err}
	}
	h.seen(op.ctx, m.Path, *info)
	return info, nil
}

// evictRemoved returns err, a source's. If the upstream says that it has removed m, what is held
// of m goes, too: it comes back once the upstream restores it.
func (h *Handler) evictRemoved(ctx context.Context, src source, m module.Version, err error) error {
	removed, ok := outermost(err).(*BlockedError)
	store, able := h.storage.(Remover)
	if !ok || !removed.Removed || src.vcs || !able {
		return err
	}
	if evictErr := store.Evict(ctx, m); evictErr != nil {
		warn(h.opts.Logger, "version that the upstream removed is still held", m, evictErr)
	}
	return err
}

// getMod gets the .mod and checks it.
func (h *Handler) getMod(ctx context.Context, src source, content Content, m module.Version) (mod []byte, err error) {
	op := h.opts.begin(ctx, OpMod, src.name, m)
	defer func() { op.end(err) }()
	if mod, err = content.Mod(op.ctx); err != nil {
		return nil, h.evictRemoved(ctx, src, m, err)
	}
	op.event.Bytes = int64(len(mod))
	if err := modcheck.Mod(mod, h.opts.MaxModBytes); err != nil {
		return nil, &InvalidError{m.Path, m.Version, err}
	}
	return mod, nil
}

// getZip writes the zip to the stage and returns its size.
func (h *Handler) getZip(ctx context.Context, src source, content Content, m module.Version, stage io.Writer) (size int64, err error) {
	op := h.opts.begin(ctx, OpZip, src.name, m)
	defer func() { op.end(err) }()
	w := limit.NewWriter(stage, h.opts.MaxZipBytes) // the source need not return the stage's error
	err = content.Zip(op.ctx, w)
	op.event.Bytes = w.Written()
	switch {
	case w.Exceeded():
		return 0, &InvalidError{m.Path, m.Version, fmt.Errorf("zip has more than %d bytes", h.opts.MaxZipBytes)}
	case w.Err() != nil:
		return 0, &storeError{w.Err()}
	}
	return w.Written(), h.evictRemoved(ctx, src, m, err)
}

// holds reports whether all of the files are stored.
func (h *Handler) holds(ctx context.Context, m module.Version, files ...File) (bool, error) {
	for _, f := range files {
		obj, err := h.storage.Open(ctx, m, f)
		if err != nil {
			return false, storageError(err)
		}
		_ = obj.Body.Close() // nothing was read
	}
	return true, nil
}

// read reads a small stored file.
func (h *Handler) read(ctx context.Context, m module.Version, f File, most int64) ([]byte, error) {
	obj, err := h.storage.Open(ctx, m, f)
	if err != nil {
		return nil, storeFault(err)
	}
	defer obj.Body.Close()
	b, err := limit.ReadAll(obj.Body, most)
	if err != nil {
		return nil, &storeError{fmt.Errorf("%s.%s: %w", m, f, err)}
	}
	return b, nil
}

// noteConflict raises an alarm if err is that a source offered other content than is
// stored or recorded. Any other error is the store's.
func (h *Handler) noteConflict(m module.Version, err error) error {
	if err == nil {
		return nil
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		h.conflicts.Add(1)
		alarm(h.opts.Logger, "conflict", m, err)
		return conflict
	}
	return storeFault(err)
}
