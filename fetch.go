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
			ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
			defer cancel()
			a.end(h.fetchMeta(ctx, src, m, a, settles(h.answers, h.metaFetches, key, a)))
		}, (*metaFetch).end)
		if a.want(wanted...) {
			return a
		}
		h.metaFetches.Forget(key, a)
	}
}

// fetchMeta gets .info and .mod, checks and stores them.
func (h *Handler) fetchMeta(ctx context.Context, src source, m module.Version, a *metaFetch, settle settling) (err error) {
	defer func() { settle(err) }()
	// Somebody may have stored them since the caller looked.
	if held, err := h.holds(ctx, m, InfoFile, ModFile); held || err != nil {
		return err
	}
	content, err := src.Fetch(ctx, m)
	if err != nil {
		settle(err, fileQuestion(m, InfoFile), fileQuestion(m, ModFile))
		return err
	}
	a.content.Set(content, nil)
	// An upstream's answer is passed on before it is stored, if nothing must vouch for it.
	early := !src.vcs && h.opts.Checksums == nil
	infoLater := part(ctx, h.answers, a, m, InfoFile, func() (*Info, error) {
		return h.getInfo(ctx, src, content, m)
	}, settle, func(info *Info, err error) {
		if early || err != nil {
			a.info.Set(info, err)
		}
	})
	modLater := part(ctx, h.answers, a, m, ModFile, func() ([]byte, error) {
		mod, err := h.getMod(ctx, src, content, m)
		if err == nil {
			h.prefetch.follow(m, mod) // before the client can act on the answer
		}
		return mod, err
	}, settle, func(mod []byte, err error) {
		if early || err != nil {
			a.mod.Set(mod, err)
		}
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
	return h.keep(ctx, src, m, info, mod, early)
}

// keep stores .info and .mod that were fetched.
func (h *Handler) keep(ctx context.Context, src source, m module.Version, info *Info, mod []byte, answered bool) error {
	if err := h.vouchMod(src, m, mod); err != nil {
		return err
	}
	if src.vcs {
		// Before it is held: a process that dies in between, or a Put that fails
		// although it happened, must not leave a version whose zip nobody owes.
		h.scheduleZip(src, m)
	}
	if err := h.put(ctx, m, info, mod); err != nil {
		if answered && !Final(err) { // otherwise there is an answer to say it, or an alarm
			h.opts.Logger.Warn("not stored", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
		}
		return err
	}
	if !src.vcs {
		h.answers.noteFetched(m)
	}
	return nil
}

// part gets a file as soon as it is wanted and tells of it.
func part[V any](ctx context.Context, as *answers, a *metaFetch, m module.Version, f File, get func() (V, error), settle settling, tell func(V, error)) *flight.Future[V] {
	q := fileQuestion(m, f)
	return flight.Start(func() (v V, err error) {
		select {
		case <-a.wanted[f]:
		case <-a.over:
			if !isClosed(a.wanted[f]) {
				return v, errUnasked
			}
		case <-ctx.Done():
			return v, context.Cause(ctx)
		}
		if err = as.missingSince(q, a.since); err == nil {
			v, err = flight.Try(get)
		}
		settle(err, q)
		tell(v, err)
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
	return info, checkInfo(m, info)
}

// maxInfo is the longest .info in bytes.
const maxInfo = 1 << 20

// checkInfo checks that an .info can be written down.
func checkInfo(m module.Version, info *Info) error {
	b, err := json.Marshal(info)
	if err == nil && len(b) > maxInfo {
		err = fmt.Errorf("the source's .info has %d bytes, more than %d", len(b), maxInfo)
	}
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return nil
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

// settling is what comes before anybody hears of a failure: who then asks again
// must neither join the flight that failed nor ask for what is known to be
// missing.
type settling func(err error, about ...question)

// settles returns how a flight of the group ends.
func settles[K, T comparable](as *answers, g *flight.Group[K, T], key K, t T) settling {
	return func(err error, about ...question) {
		if err == nil {
			return
		}
		for _, q := range about {
			as.remember(q, err)
		}
		g.Forget(key, t)
	}
}
