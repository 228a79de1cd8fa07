package athens

import (
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/mod/module"
)

// refusal returns why a file of a version may not be served, nil if it may.
func (x *exchange) refusal(m module.Version, f File) error {
	if x.route.Blocked == "" || f == ModFile || f == InfoFile && x.route.Until.IsZero() {
		return nil
	}
	if !x.route.Until.IsZero() {
		if err := x.see(m); err != nil {
			return err
		}
	}
	return x.route.refusal(m)
}

// see fetches .info and .mod of a version that is too young and not held, and asks
// policy again: its age counts from when it was seen.
func (x *exchange) see(m module.Version) error {
	ctx := x.r.Context()
	if held, err := x.h.holds(ctx, m, ModFile); held || err != nil {
		return err
	}
	src, err := x.h.sourceOf(ctx, m, x.route)
	if err != nil {
		return err
	}
	x.source = src.name
	if err := x.h.answers.missing(fileQuestion(m, InfoFile)); err != nil {
		x.remembered = true
		return err
	}
	if err := x.h.pseudo.Admit(m); err != nil {
		return err
	}
	if err := x.mayFetch(m); err != nil {
		return err
	}
	if _, err := x.h.joinMeta(src, m, x.chain, x.start, InfoFile, ModFile).stored.Wait(ctx); err != nil {
		return err
	}
	x.source = ""
	x.route, err = x.h.route(ctx, m)
	return err
}

// seen tells Options.Named of versions that a source has named.
func (h *Handler) seen(ctx context.Context, path string, versions ...Info) {
	if h.opts.Named != nil && len(versions) > 0 {
		h.opts.Named(ctx, path, versions)
	}
}

// seenList is seen for versions of a list.
func (h *Handler) seenList(ctx context.Context, path string, versions []string) {
	if h.opts.Named == nil {
		return
	}
	infos := make([]Info, len(versions))
	for i, v := range versions {
		infos[i].Version = v
	}
	h.seen(ctx, path, infos...)
}

// commitZip stores a staged zip that was checked, if the ledger has no other one and
// Options.Admit lets it in, and records it.
func (h *Handler) commitZip(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) error {
	if err := h.mayCommit(ctx, stage, size, m, h1); err != nil {
		return err
	}
	return h.commit(ctx, stage, size, m, h1)
}

// mayCommit returns why a staged zip is not to be stored: the ledger has another one, or
// Options.Admit refuses it.
func (h *Handler) mayCommit(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) error {
	if err := h.book.agrees(ctx, m, ZipFile, h1); err != nil {
		return err
	}
	return h.admit(ctx, stage, size, m)
}

// commit stores a staged zip and records it.
func (h *Handler) commit(ctx context.Context, stage Stage, size int64, m module.Version, h1 string) (err error) {
	op := h.opts.begin(ctx, OpCommit, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = size
	if err := h.noteConflict(m, stage.Commit(op.ctx, m, h1)); err != nil {
		return err
	}
	_, err = h.book.add(ctx, m, h1)
	return err
}

// put stores .info and .mod.
func (h *Handler) put(ctx context.Context, m module.Version, info *Info, mod []byte) (err error) {
	op := h.opts.begin(ctx, OpPut, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = int64(len(mod))
	return h.noteConflict(m, h.storage.Put(op.ctx, m, info, mod))
}

// admit asks Options.Admit about a staged zip. The error is of a kind that makes no
// go command ask elsewhere.
func (h *Handler) admit(ctx context.Context, stage Stage, size int64, m module.Version) error {
	if h.opts.Admit == nil {
		return nil
	}
	err := h.opts.Admit(ctx, m, io.NewSectionReader(stage, 0, size), size)
	switch outermost(err).(type) {
	case *BlockedError:
		h.denied.PutFor(m, err, h.opts.MissingTTL)
		return err
	case *UnavailableError:
		return err
	}
	if err != nil {
		return &UnavailableError{Source: "the check of new zips", Err: err}
	}
	return nil
}

// mayFetch asks Options.AllowFetch whether the request may cost a fetch, once.
func (x *exchange) mayFetch(m module.Version) error {
	if x.h.opts.AllowFetch == nil || x.mayCost {
		return nil
	}
	err := refusedRequest(x.h.opts.AllowFetch(x.r, m))
	if x.mayCost = err == nil; !x.mayCost {
		x.source = "" // nothing was asked
	}
	return err
}

// mayFill is mayFetch for a fill, unless it is one that was scheduled a moment ago.
func (x *exchange) mayFill(f Fill) error {
	if x.h.opts.AllowFetch == nil {
		return nil
	}
	_, lately := x.h.scheduled.Get(f)
	if !lately && !f.Zip {
		_, lately = x.h.scheduled.Get(Fill{Module: f.Module, Zip: true})
	}
	if lately {
		return nil
	}
	err := x.mayFetch(f.Module)
	if err == nil {
		x.h.scheduled.PutFor(f, struct{}{}, max(x.h.opts.FillAfter, time.Minute))
	}
	return err
}

// refusedRequest makes the error of a hook one with the request: 403, unless it wraps a
// RefusedError that says otherwise.
func refusedRequest(err error) error {
	if err == nil {
		return nil
	}
	return &requestError{http.StatusForbidden, err}
}
