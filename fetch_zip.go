package athens

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modcheck"
)

// joinZip joins or starts the fetch of the zip of m, after its .info and .mod.
func (h *Handler) joinZip(src source, m module.Version, chain string, since time.Time) *zipFetch {
	key := src.key(m, chain)
	return h.zipFetches.Join(key, newZipFetch, func(ctx context.Context, a *zipFetch) {
		ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
		defer cancel()
		if err := h.answers.missingSince(fileQuestion(m, ZipFile), since); err != nil {
			a.end(err)
			return
		}
		a.end(h.fetchZip(ctx, src, m, chain, a, settles(h.answers, h.zipFetches, key, a)))
	}, (*zipFetch).end)
}

// storeZip makes the store hold the zip of m.
func (h *Handler) storeZip(ctx context.Context, src source, m module.Version) error {
	_, err := h.joinZip(src, m, "", time.Now()).stored.Wait(ctx)
	return err
}

// fetchZip gets, checks and stores a zip.
func (h *Handler) fetchZip(ctx context.Context, src source, m module.Version, chain string, a *zipFetch, settle settling) (err error) {
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

// commit checks a staged zip and stores it.
func (h *Handler) commit(ctx context.Context, src source, stage Stage, size int64, m module.Version) (err error) {
	h1, err := h.checkZip(ctx, src, stage, size, m)
	if err != nil {
		return err
	}
	if err := h.vouch(src, m, "", h1); err != nil {
		return err
	}
	op := h.opts.begin(ctx, OpCommit, SourceStore, m)
	defer func() { op.end(err) }()
	op.event.Bytes = size
	return h.stored(m, stage.Commit(op.ctx, m, h1))
}

// checkZip checks a staged zip and returns its hash. What comes from version control
// has the go.mod that is held. From an upstream the go command accepts any: a zip
// without a go.mod, or with another one, has a .mod of its own, and each its hash.
func (h *Handler) checkZip(ctx context.Context, src source, stage Stage, size int64, m module.Version) (h1 string, err error) {
	if !src.vcs {
		h1, err = modcheck.ZipAlone(stage, size, m, h.opts.MaxZipBytes)
	} else {
		var mod []byte
		if mod, err = h.read(ctx, m, ModFile, h.opts.MaxModBytes); err != nil {
			return "", err
		}
		h1, err = modcheck.Zip(stage, size, m, mod, h.opts.MaxZipBytes)
	}
	if err != nil {
		return "", &InvalidError{m.Path, m.Version, err}
	}
	return h1, nil
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
	if src.vcs || !h.answers.fetchedLately(m) {
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
