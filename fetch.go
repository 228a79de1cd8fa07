package athens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
)

// key returns the flight that a candidate for m joins. Only questions to an upstream
// can come back.
func (s source) key(m module.Version, chain string) flightKey {
	if s.vcs {
		chain = ""
	}
	return flightKey{m, chain}
}

// joinMeta joins or starts the fetch of the .info and .mod of m; wanted is what the
// caller needs.
func (h *Handler) joinMeta(src source, m module.Version, chain string, since time.Time, wanted ...File) *metaFetch {
	if src.vcs {
		wanted = []File{InfoFile, ModFile} // the commit has both
	}
	key := src.key(m, chain)
	for {
		a := h.metaFetches.Join(key, func() *metaFetch { return newMetaFetch(since) }, func(ctx context.Context, a *metaFetch) {
			a.failing = failing{h.answers, m, func() { h.metaFetches.Forget(key, a) }}
			ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
			defer cancel()
			a.end(h.fetchMeta(ctx, src, m, a))
		}, (*metaFetch).end)
		if a.want(wanted...) {
			return a
		}
		h.metaFetches.Forget(key, a)
	}
}

// fetchMeta gets .info and .mod, checks and stores them.
func (h *Handler) fetchMeta(ctx context.Context, src source, m module.Version, a *metaFetch) (err error) {
	defer func() { a.settle(err) }()
	// Somebody may have stored them since the caller looked.
	if held, err := h.holds(ctx, m, InfoFile, ModFile); held || err != nil {
		return err
	}
	content, err := src.Fetch(ctx, m)
	if err != nil {
		a.settle(err, InfoFile, ModFile)
		return err
	}
	a.content.Set(content, nil)
	// An upstream's answer is passed on before it is stored, if nothing must vouch for it.
	a.early = !src.vcs && h.opts.Checksums == nil
	infoLater := part(ctx, a, InfoFile, a.info, func() (*Info, error) {
		return h.getInfo(ctx, src, content, m)
	})
	modLater := part(ctx, a, ModFile, a.mod, func() ([]byte, error) {
		mod, err := h.getMod(ctx, src, content, m)
		if err == nil {
			h.prefetch.follow(m, mod) // before the client can act on the answer
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
			a.info.Set(info, nil) // passed on, though there is nothing to vouch for
		}
		return modErr
	}
	if err := h.vouchMod(src, m, mod); err != nil {
		return err
	}
	if src.vcs && h.proves(src) {
		return h.keepProved(ctx, src, content, m, info, mod)
	}
	return h.keep(ctx, src, m, info, mod, a.early)
}

// keep stores .info and .mod that were fetched.
func (h *Handler) keep(ctx context.Context, src source, m module.Version, info *Info, mod []byte, answered bool) error {
	if src.vcs {
		// Before it is held: a process that dies in between, or a Put that fails
		// although it happened, must not leave a version whose zip nobody owes.
		h.scheduleZip(src, m)
	}
	if err := h.put(ctx, m, info, mod); err != nil {
		if answered && !Final(err) { // otherwise there is an answer to say it, or an alarm
			warn(h.opts.Logger, "fetched version not stored", m, err)
		}
		return err
	}
	if !src.vcs {
		h.answers.noteFetched(m)
	}
	return nil
}

// scheduleZip has the zip of a version from version control fetched although no
// client asked for it, because the repository may vanish.
func (h *Handler) scheduleZip(src source, m module.Version) {
	switch {
	case src.Blocked != "":
		return // its .mod is all that may be served
	case h.opts.Fills != nil:
		h.fills.schedule(h.ctx, Fill{Module: m, Zip: true}, 0) // it has to be there before the .mod is
		return
	}
	h.background.start(jobZip, m, func(ctx context.Context) {
		if err := h.storeZip(ctx, src, m); err != nil {
			warn(h.opts.Logger, "zip not stored", m, err)
		}
	})
}

// joinZip joins or starts the fetch of the zip of m, after its .info and .mod.
func (h *Handler) joinZip(src source, m module.Version, chain string, since time.Time) *zipFetch {
	key := src.key(m, chain)
	return h.zipFetches.Join(key, newZipFetch, func(ctx context.Context, a *zipFetch) {
		a.failing = failing{h.answers, m, func() { h.zipFetches.Forget(key, a) }}
		ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
		defer cancel()
		if err := h.answers.missingSince(fileQuestion(m, ZipFile), since); err != nil {
			a.end(err)
			return
		}
		a.end(h.fetchZip(ctx, src, m, chain, a))
	}, (*zipFetch).end)
}

// storeZip makes the store hold the zip of m.
func (h *Handler) storeZip(ctx context.Context, src source, m module.Version) error {
	_, err := h.joinZip(src, m, "", time.Now()).stored.Wait(ctx)
	return err
}

// fetchZip gets, checks and stores a zip.
func (h *Handler) fetchZip(ctx context.Context, src source, m module.Version, chain string, a *zipFetch) (err error) {
	defer func() { a.settle(err, ZipFile) }()
	if held, err := h.holds(ctx, m, ZipFile); held || err != nil {
		return err
	}
	content, metaStored, err := h.bind(ctx, src, m, chain)
	if err != nil {
		return err
	}
	if src.vcs && h.proves(src) { // its zip may have been stored with .info and .mod
		if held, err := h.holds(ctx, m, ZipFile); held || err != nil {
			return err
		}
	}
	stage, err := h.storage.Stage(ctx)
	if err != nil {
		return &storeError{err}
	}
	sp := newSpool(stage)
	defer sp.leave()
	verdict := errCrashed
	defer func() {
		a.settle(verdict, ZipFile)
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

// commit checks a staged zip and stores it.
func (h *Handler) commit(ctx context.Context, src source, stage Stage, size int64, m module.Version) error {
	h1, err := h.checkZip(ctx, src, stage, size, m)
	if err != nil {
		return err
	}
	if err := h.vouch(src, m, "", h1); err != nil {
		return err
	}
	return h.commitZip(ctx, stage, size, m, h1)
}

// commitZip stores a staged zip that was checked.
func (h *Handler) commitZip(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) (err error) {
	op := h.opts.begin(ctx, OpCommit, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = size
	return h.stored(m, stage.Commit(op.ctx, m, h1))
}

// bind returns the content whose zip belongs to the stored .info and .mod.
func (h *Handler) bind(ctx context.Context, src source, m module.Version, chain string) (Content, meta, error) {
	held, err := h.holds(ctx, m, InfoFile, ModFile)
	if err != nil {
		return nil, meta{}, err
	}
	if !held && !src.vcs {
		content, err := src.Fetch(ctx, m)
		return content, meta{func() *metaFetch { return h.joinMeta(src, m, chain, time.Now(), InfoFile, ModFile) }}, err
	}
	if !held {
		a := h.joinMeta(src, m, chain, time.Now())
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
	if !h.proves(src) && (src.vcs || !h.answers.fetchedLately(m)) {
		// A tag may have moved since: its zip could pass every other check but that
		// of a checksum database, which binds more than an .info.
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
	heldValue, gotValue := compareInfos(&held, got, src.vcs)
	if heldValue == gotValue {
		return nil
	}
	conflict := &ConflictError{Module: m, File: InfoFile, Held: heldValue, Got: gotValue}
	h.alarm(m, conflict)
	return conflict
}

// part gets a file as soon as it is wanted. Those that wait for told alone learn of
// a failure, and of the file if it may be passed on early.
func part[V any](ctx context.Context, a *metaFetch, f File, told *flight.Future[V], get func() (V, error)) *flight.Future[V] {
	return flight.Start(func() (v V, err error) {
		if err := a.await(ctx, f); err != nil {
			return v, err
		}
		if err = a.answers.missingSince(fileQuestion(a.module, f), a.since); err == nil {
			v, err = flight.Try(get)
		}
		a.settle(err, f)
		if a.early || err != nil {
			told.Set(v, err)
		}
		a.got(err)
		return v, err
	})
}

// getInfo gets the .info and checks it.
func (h *Handler) getInfo(ctx context.Context, src source, content Content, m module.Version) (info *Info, err error) {
	op := h.opts.begin(ctx, OpInfo, src.name, m)
	defer func() { op.end(err) }()
	info, err = content.Info(op.ctx)
	if err != nil {
		return nil, err
	}
	if info == nil {
		info = new(Info)
	}
	if info.Version != m.Version {
		return nil, &InvalidError{m.Path, m.Version, fmt.Errorf("the source's .info names version %.80q", info.Version)}
	}
	if err := checkInfo(info, src.vcs); err != nil {
		return nil, &InvalidError{m.Path, m.Version, err}
	}
	return info, nil
}

// getMod gets the .mod and checks it.
func (h *Handler) getMod(ctx context.Context, src source, content Content, m module.Version) (mod []byte, err error) {
	op := h.opts.begin(ctx, OpMod, src.name, m)
	defer func() { op.end(err) }()
	mod, err = content.Mod(op.ctx)
	if err != nil {
		return nil, err
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
	w := limit.NewWriter(stage, h.opts.MaxZipBytes) // a source may well report another error than the stage's
	err = content.Zip(op.ctx, w)
	op.event.Bytes = w.Written()
	switch {
	case w.Exceeded():
		return 0, &InvalidError{m.Path, m.Version, fmt.Errorf("zip has more than %d bytes", h.opts.MaxZipBytes)}
	case w.Err() != nil:
		return 0, &storeError{w.Err()}
	}
	return w.Written(), err
}

// holds reports whether all of the files are held.
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

// read reads a small file that is held.
func (h *Handler) read(ctx context.Context, m module.Version, f File, most int64) ([]byte, error) {
	obj, err := h.storage.Open(ctx, m, f)
	if err != nil {
		return nil, &storeError{err}
	}
	defer obj.Body.Close()
	b, err := limit.ReadAll(obj.Body, most)
	if err != nil {
		return nil, &storeError{fmt.Errorf("%s.%s: %w", m, f, err)}
	}
	return b, nil
}

// put stores .info and .mod.
func (h *Handler) put(ctx context.Context, m module.Version, info *Info, mod []byte) (err error) {
	op := h.opts.begin(ctx, OpPut, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = int64(len(mod))
	return h.stored(m, h.storage.Put(op.ctx, m, info, mod))
}

// stored sorts the result of a Put or Commit.
func (h *Handler) stored(m module.Version, err error) error {
	if err == nil {
		return nil
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		h.alarm(m, err)
		return conflict
	}
	return &storeError{err}
}

// alarm raises the alarm that a source offered other content than is held.
func (h *Handler) alarm(m module.Version, err error) {
	h.conflicts.Add(1)
	h.opts.Logger.Error("conflict", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
}
