package athens

import (
	"context"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
)

// doubt lets the store look again at a version of which a file could not be read,
// if it is able to. What it finds damaged is not held any more, so that the next
// request gets it from its source.
func (h *Handler) doubt(m module.Version) {
	store, ok := h.storage.(Rechecker)
	if !ok {
		return
	}
	h.doubts.Join(m, flight.NewFuture[struct{}], func(ctx context.Context, _ *flight.Future[struct{}]) {
		select {
		case h.places <- struct{}{}:
			defer func() { <-h.places }()
		case <-ctx.Done():
			return
		}
		damaged, err := store.Recheck(ctx, m)
		if damaged {
			h.damaged.Add(1)
			h.opts.Logger.Error("damaged", "module", m.Path, "version", m.Version)
		}
		if err != nil {
			h.opts.Logger.Warn("not looked at again", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
		}
	}, func(f *flight.Future[struct{}], err error) { f.Set(struct{}{}, err) })
}
