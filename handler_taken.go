package athens

import (
	"context"
	"sync"

	"golang.org/x/mod/module"
)

// takenBack returns the mark that a version has in the store: that it was removed or
// hidden. An error says that the marks can't be read.
func (x *exchange) takenBack(version string) (*BlockedError, error) {
	store, ok := x.h.storage.(Remover)
	if !ok {
		return nil, nil
	}
	if x.marks == nil {
		x.marks = sync.OnceValues(func() (map[string]BlockedError, error) {
			return store.Marks(x.r.Context(), x.req.Module.Path)
		})
	}
	marks, err := x.marks()
	if err != nil {
		return nil, &storeError{err}
	}
	if mark, ok := marks[version]; ok {
		return &mark, nil
	}
	return nil, nil
}

// unlisted returns why a version is neither listed nor chosen: it is blocked, or was
// taken back.
func (x *exchange) unlisted(version string) error {
	if err := x.blocked(version); err != nil {
		return err
	}
	mark, err := x.takenBack(version)
	if mark != nil {
		return mark
	}
	return err
}

// drop returns err, a source's. If the upstream says that it has removed m, what is held
// of m goes, too: it comes back once the upstream restores it.
func (h *Handler) drop(ctx context.Context, src source, m module.Version, err error) error {
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
