package athens

import (
	"context"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modcheck"
)

// proves reports whether a checksum database vouches for what the source returns.
func (h *Handler) proves(src source) bool { return h.opts.Checksums != nil && !src.Private }

// keepProved stores a version from version control with its zip, once the checksum
// database has vouched for that. A .mod says little of the commit: when a tag moves, it
// is often the same, and what was stored of the wrong commit would bind the right one.
func (h *Handler) keepProved(ctx context.Context, src source, content Content, m module.Version, info *Info, mod []byte) error {
	stage, err := h.storage.Stage(ctx)
	if err != nil {
		return &storeError{err}
	}
	defer stage.Close() // a leftover file is the store's to sweep
	size, err := h.getZip(ctx, src, content, m, stage)
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
	if err := h.keep(ctx, src, m, info, mod, false); err != nil || src.Blocked != "" {
		return err // of what is blocked the .mod is all that may be served
	}
	return h.commitZip(ctx, stage, size, m, h1)
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
