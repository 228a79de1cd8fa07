package athens

import (
	"context"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/prefetch"
	"github.com/athens-go/athens/internal/spool"
)

// fetches brings versions from their sources into the store. However many requests and
// fills want a version, it is fetched once.
type fetches struct {
	*keeper
	server     serverName
	answers    *answers
	fills      *scheduling
	background *background
	prefetch   *prefetch.Prefetcher // nil: nothing is prefetched

	metas  *flight.Group[flightKey, *metaFetch]
	zips   *flight.Group[flightKey, *zipFetch]
	recent *cache.Cache[module.Version, struct{}] // .info and .mod came from the upstream within a FetchTimeout
}

func newFetches(ctx context.Context, h *Handler) *fetches {
	return &fetches{
		keeper:     h.keeper,
		server:     h.server,
		answers:    h.answers,
		fills:      h.fills,
		background: h.background,
		metas:      flight.NewGroup[flightKey, *metaFetch](ctx),
		zips:       flight.NewGroup[flightKey, *zipFetch](ctx),
		recent:     cache.New(recentBytes, func(m module.Version, _ struct{}) int64 { return int64(len(m.Path) + len(m.Version)) }),
	}
}

// flightKey identifies a running fetch that a request can join.
type flightKey struct {
	module module.Version
	// chain lists the servers that the request came through. If a request from another
	// server joined the fetch of a client's request, two servers that ask each other
	// would wait forever.
	chain string
}

// key returns the key of the fetch of m. Version control asks no other server, so all
// requests share its fetch.
func (s source) key(m module.Version, chain string) flightKey {
	if s.vcs {
		chain = ""
	}
	return flightKey{m, chain}
}

// running reports whether a file of m is being fetched.
func (fe *fetches) running(src source, m module.Version, chain string, f File) bool {
	key := src.key(m, chain)
	if f == ZipFile {
		return fe.zips.Running(key)
	}
	return fe.metas.Running(key)
}

// storeZip fetches the zip of m and waits until it is stored.
func (fe *fetches) storeZip(ctx context.Context, src source, m module.Version) error {
	_, err := fe.joinZip(src, m, "", time.Now()).stored.Wait(ctx)
	return err
}

// joinZip joins the fetch of the zip of m, or starts it. The caller has looked at what
// was known at the time since. A zip is stored after its .info and .mod.
func (fe *fetches) joinZip(src source, m module.Version, chain string, since time.Time) *zipFetch {
	key := src.key(m, chain)
	return fe.zips.Join(key, newZipFetch, func(ctx context.Context, zf *zipFetch) {
		zf.failing = failing{fe.answers, m, func() { fe.zips.Forget(key, zf) }}
		ctx, cancel := context.WithTimeout(fe.server.onward(ctx, src, chain), fe.opts.FetchTimeout)
		defer cancel()
		err := fe.answers.missingSince(fileQuestion(m, ZipFile), since)
		if err == nil {
			err = fe.fetchZip(ctx, src, m, chain, zf)
		}
		zf.end(err)
	}, (*zipFetch).end)
}

// fetchZip gets a zip, checks it and stores it.
func (fe *fetches) fetchZip(ctx context.Context, src source, m module.Version, chain string, zf *zipFetch) (err error) {
	defer func() { zf.fail(err, ZipFile) }()
	// Another fetch may have stored it since the caller looked.
	if held, err := fe.holds(ctx, m, ZipFile); held || err != nil {
		return err
	}
	if err, denied := fe.denied.Get(m); denied {
		return err
	}
	if src, err = src.pin(ctx, m); err != nil {
		return err
	}
	content, meta, err := fe.bind(ctx, src, m, chain)
	if err != nil {
		return err
	}
	if src.vcs && fe.verifies(src) { // storeVerified may have stored the zip
		if held, err := fe.holds(ctx, m, ZipFile); held || err != nil {
			return err
		}
	}
	stage, err := fe.storage.Stage(ctx)
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
	if !src.vcs && fe.opts.Admit == nil { // a zip that Admit checks is stored before it is served
		zf.spool.Set(sp, nil)
	}
	size, err := fe.getZip(ctx, src, content, m, &firstWrite{w: sp, then: meta.start})
	if err == nil {
		err = meta.wait(ctx)
	}
	if err == nil {
		err = fe.storeStaged(ctx, src, stage, size, m)
	}
	verdict = err // there was no panic
	return err
}

// bind returns the content whose zip belongs to the stored .info and .mod.
func (fe *fetches) bind(ctx context.Context, src source, m module.Version, chain string) (Content, meta, error) {
	held, err := fe.holds(ctx, m, InfoFile, ModFile)
	if err != nil {
		return nil, meta{}, err
	}
	if !held && !src.vcs {
		content, err := src.Fetch(ctx, m)
		return content, meta{func() *metaFetch { return fe.joinMeta(src, m, chain, time.Now(), InfoFile, ModFile) }}, err
	}
	if !held {
		mf := fe.joinMeta(src, m, chain, time.Now())
		if _, err := mf.stored.Wait(ctx); err != nil {
			return nil, meta{}, err // a zip is not stored without .info and .mod
		}
		if content, err := mf.content.Wait(ctx); content != nil || err != nil {
			return content, meta{}, err
		}
		// mf has no content: another fetch had stored .info and .mod before it started.
	}
	content, err := src.Fetch(ctx, m)
	if err != nil {
		return nil, meta{}, err
	}
	if !fe.verifies(src) && !fe.fetchedRecently(ctx, src, m, chain) {
		// A tag may have moved. Without a checksum database, only the commit shows it.
		err = fe.checkCommit(ctx, src, content, m)
	}
	return content, meta{}, err
}

// storeMeta fetches .info and .mod of m and waits until they are stored.
func (fe *fetches) storeMeta(ctx context.Context, src source, m module.Version) error {
	_, err := fe.joinMeta(src, m, "", time.Now(), InfoFile, ModFile).stored.Wait(ctx)
	return err
}

// joinMeta joins the fetch of .info and .mod of m, or starts it, and asks for the files
// that are wanted. The caller has looked at what was known at the time since.
func (fe *fetches) joinMeta(src source, m module.Version, chain string, since time.Time, wanted ...File) *metaFetch {
	if src.vcs {
		wanted = []File{InfoFile, ModFile} // a commit has both
	}
	key := src.key(m, chain)
	for {
		mf := fe.metas.Join(key, func() *metaFetch { return newMetaFetch(since) }, func(ctx context.Context, mf *metaFetch) {
			mf.failing = failing{fe.answers, m, func() { fe.metas.Forget(key, mf) }}
			ctx, cancel := context.WithTimeout(fe.server.onward(ctx, src, chain), fe.opts.FetchTimeout)
			defer cancel()
			err := fe.fetchMeta(ctx, src, m, mf)
			mf.end(err)
		}, (*metaFetch).end)
		if mf.want(wanted...) {
			return mf
		}
		fe.metas.Forget(key, mf)
	}
}

// fetchMeta gets .info and .mod, checks them and stores them.
func (fe *fetches) fetchMeta(ctx context.Context, src source, m module.Version, mf *metaFetch) (err error) {
	defer func() { mf.fail(err) }()
	// Another fetch may have stored them since the caller looked.
	if held, err := fe.holds(ctx, m, InfoFile, ModFile); held || err != nil {
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
	mf.early = !src.vcs && fe.opts.Checksums == nil && fe.book == nil
	infoLater := part(ctx, mf, InfoFile, mf.info, func() (*Info, error) { return fe.getInfo(ctx, src, content, m) })
	modLater := part(ctx, mf, ModFile, mf.mod, func() ([]byte, error) {
		mod, err := fe.getMod(ctx, src, content, m)
		if err == nil {
			fe.prefetch.Follow(m, mod) // before the client can act on the answer
		}
		return mod, err
	})
	info, err := infoLater.Wait(context.WithoutCancel(ctx)) // both parts end when ctx does
	mod, modErr := modLater.Wait(context.WithoutCancel(ctx))
	switch {
	case err != nil && err != errUnasked:
		return err
	case modErr != nil:
		if _, none := outermost(modErr).(*MissingError); none && err == nil && !src.vcs {
			mf.info.Set(info, nil) // of a version without a .mod, there is nothing to verify
		}
		return modErr
	}
	if err := fe.checkMod(ctx, src, m, mod); err != nil {
		return err
	}
	if src.vcs && fe.verifies(src) {
		return fe.storeVerified(ctx, src, content, m, info, mod)
	}
	return fe.putMeta(ctx, src, m, info, mod, mf.early)
}

// storeVerified stores a version from version control after the checksum database has
// verified its zip. Otherwise a moved tag would do harm: its .mod is often still the
// right one, but its .info names the wrong commit, and once that is stored, the right
// .info is a conflict.
func (fe *fetches) storeVerified(ctx context.Context, src source, content Content, m module.Version, info *Info, mod []byte) error {
	stage, err := fe.storage.Stage(ctx)
	if err != nil {
		return &storeError{err}
	}
	defer stage.Close() // the store cleans up if Close fails
	size, err := fe.getZip(ctx, src, content, m, stage)
	if err != nil {
		return err
	}
	h1, err := fe.checkZip(src, stage, size, m, mod)
	if err != nil {
		return err
	}
	if err := fe.putMeta(ctx, src, m, info, mod, false); err != nil || src.Blocked != "" {
		return err // of a blocked version, only .info and .mod may be served
	}
	err = fe.commitZip(ctx, stage, size, m, h1)
	if _, refused := outermost(err).(*BlockedError); refused {
		return nil // Options.Admit refuses the zip; the .mod is served all the same
	}
	return err
}

// putMeta stores .info and .mod. Early says that clients have got them already.
func (fe *fetches) putMeta(ctx context.Context, src source, m module.Version, info *Info, mod []byte, early bool) error {
	if src.vcs {
		// The zip is scheduled first. Otherwise no zip would be pending if the process
		// died right after put, or if put failed although it took effect.
		fe.scheduleZip(src, m)
	}
	if err := fe.put(ctx, m, info, mod); err != nil {
		if early && !Final(err) { // a conflict has raised an alarm
			warn(fe.opts.Logger, "fetched version not stored", m, err)
		}
		return err
	}
	if !src.vcs {
		fe.recent.PutFor(m, struct{}{}, fe.opts.FetchTimeout)
	}
	return nil
}

// scheduleZip schedules the zip of a version from version control although no client has
// asked for it: the repository may vanish.
func (fe *fetches) scheduleZip(src source, m module.Version) {
	switch {
	case src.Blocked != "": // the zip may not be served
	case fe.opts.Fills != nil:
		fe.fills.schedule(fe.fills.ctx, Fill{Module: m, Zip: true}, 0) // and wait until it is scheduled
	default:
		fe.background.start(jobZip, m, func(ctx context.Context) {
			if err := fe.storeZip(ctx, src, m); err != nil {
				warn(fe.opts.Logger, "pending zip not stored", m, err)
			}
		})
	}
}

// fetchedRecently reports whether the upstream sent the stored .info and .mod of m so
// recently that it need not be asked for the .info again.
func (fe *fetches) fetchedRecently(ctx context.Context, src source, m module.Version, chain string) bool {
	if src.vcs {
		return false
	}
	if _, recent := fe.recent.Get(m); recent {
		return true
	}
	if fe.metas.Running(src.key(m, chain)) { // it may have stored them and be about to note it
		_, _ = fe.joinMeta(src, m, chain, time.Now(), InfoFile, ModFile).stored.Wait(ctx) // a conflict shows again
	}
	_, recent := fe.recent.Get(m)
	return recent
}
