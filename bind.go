package athens

import (
	"context"
	"time"

	"golang.org/x/mod/module"
)

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
		mf := h.joinMeta(src, m, chain, time.Now())
		if _, err := mf.stored.Wait(ctx); err != nil {
			return nil, meta{}, err // no zip without .info and .mod
		}
		if content, err := mf.content.Wait(ctx); content != nil || err != nil {
			return content, meta{}, err
		}
		// Another fetch has stored them meanwhile, so this one has no content.
	}
	content, err := src.Fetch(ctx, m)
	if err != nil {
		return nil, meta{}, err
	}
	if !h.verifies(src) && !h.fetchedRecently(ctx, src, m, chain) {
		// A tag may have moved, and only a checksum database could tell by the zip.
		err = h.checkCommit(ctx, src, content, m)
	}
	return content, meta{}, err
}

// fetchedRecently reports whether the held .info and .mod of m came from the upstream just
// now, so that it need not be asked for the .info again.
func (h *Handler) fetchedRecently(ctx context.Context, src source, m module.Version, chain string) bool {
	if src.vcs {
		return false
	}
	if _, recent := h.recent.Get(m); recent {
		return true
	}
	if h.metaFetches.Running(src.key(m, chain)) { // it may have stored them and be about to note it
		_, _ = h.joinMeta(src, m, chain, time.Now(), InfoFile, ModFile).stored.Wait(ctx) // a conflict shows again
	}
	_, recent := h.recent.Get(m)
	return recent
}

// checkCommit checks that content is of the commit of the stored .info.
func (h *Handler) checkCommit(ctx context.Context, src source, content Content, m module.Version) error {
	got, err := h.getInfo(ctx, src, content, m)
	if err != nil {
		return err
	}
	held, err := h.read(ctx, m, InfoFile, maxInfo)
	if err != nil {
		return err
	}
	return h.noteConflict(m, compareHeld(m, held, got, src.vcs))
}
