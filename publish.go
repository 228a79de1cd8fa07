package athens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/pattern"
)

// published are the modules of Options.Published.
type published struct {
	any   bool // there are patterns
	paths pattern.Set
	slots *limit.Keyed[module.Version]           // one for each version
	whole *cache.Cache[module.Version, struct{}] // versions whose zip was there
}

// maxPublishing is how many uploads that have arrived are stored at once, or wait for that.
const maxPublishing = 1024

func newPublished(list string) (*published, error) {
	globs, err := pattern.Parse(list)
	if err != nil {
		return nil, err
	}
	p := &published{
		slots: limit.NewKeyed[module.Version](1, maxPublishing, maxPublishing),
		whole: cache.New(recentBytes, func(m module.Version, _ struct{}) int64 { return int64(len(m.Path) + len(m.Version)) }),
	}
	p.paths.Add(0, globs)
	p.any = len(globs) > 0
	return p, nil
}

// has reports whether versions of a module are published here.
func (p *published) has(path string) bool { return p.any && p.paths.Last(path) > pattern.None }

// errUnpublished is why a version of a module that is published here is missing.
var errUnpublished = errors.New("no such version was published here, and the module has no other source")

// Publish stores a version of a module that Options.Published matches, from its zip, which
// is read to its end once it is known that the version may be published. The zip is checked
// as a fetched one is, and must have a go.mod with the module's path: under another path no
// go command could use it. No checksum database is asked. The go.mod becomes the .mod, and
// the .info has the present time. On return the version is stored and recorded in the Ledger.
// It returns the version's two lines of go.sum, and whether it is new.
//
// Publishing the same content again changes nothing; other content is a [*ConflictError]. A
// path that is not matched, or a version that is blocked or was removed, is a
// [*BlockedError], and a zip that fails the checks an [*InvalidError]. [Status] has the
// status for other faults of the upload, such as a pseudo-version or a zip that is too large.
// A zip with a method Size() int64, which says how many bytes it will have, is refused for its
// size before it is read.
//
// If the process dies, the version is absent or whole: clients see no version of a published
// module before its zip is stored, and publishing it again completes it.
func (h *Handler) Publish(ctx context.Context, m module.Version, zip io.Reader) (sums []string, created bool, err error) {
	if err := h.mayPublish(ctx, m); err != nil {
		return nil, false, err
	}
	tooLarge := &requestError{http.StatusRequestEntityTooLarge, fmt.Errorf("the zip has more than %d bytes", h.opts.MaxZipBytes)}
	if sized, ok := zip.(interface{ Size() int64 }); ok && sized.Size() > h.opts.MaxZipBytes {
		return nil, false, tooLarge
	}
	stage, err := h.storage.Stage(ctx)
	if err != nil {
		return nil, false, &storeError{err}
	}
	defer stage.Close() // the store cleans up what Close leaves
	w := limit.NewWriter(stage, h.opts.MaxZipBytes)
	_, err = io.Copy(w, zip)
	switch {
	case w.Exceeded():
		return nil, false, tooLarge
	case w.Err() != nil:
		return nil, false, &storeError{w.Err()}
	case err != nil:
		return nil, false, &requestError{http.StatusBadRequest, fmt.Errorf("read the zip: %w", err)}
	}
	mod, hash, err := modcheck.Upload(stage, w.Written(), m, h.opts.MaxZipBytes)
	if err == nil {
		err = modcheck.Mod(mod, h.opts.MaxModBytes)
	}
	if err != nil {
		return nil, false, &InvalidError{m.Path, m.Version, err}
	}
	modHash, err := modcheck.ModHash(mod)
	if err != nil {
		return nil, false, &InvalidError{m.Path, m.Version, err}
	}
	created, err = h.storePublished(ctx, stage, w.Written(), m, mod, hash)
	if err != nil {
		return nil, false, err
	}
	return []string{m.Path + " " + m.Version + " " + hash, m.Path + " " + m.Version + "/go.mod " + modHash}, created, nil
}

// mayPublish returns why a version can't be published here, before any of it is read.
func (h *Handler) mayPublish(ctx context.Context, m module.Version) error {
	refused := func(why string) error {
		return &requestError{http.StatusBadRequest, errors.New(m.String() + " can't be published: " + why)}
	}
	switch {
	case module.CanonicalVersion(m.Version) != m.Version || m.Version == "":
		return refused("the version is not canonical; it is one such as v1.2.3 or v1.2.3-rc.1")
	case strings.HasSuffix(m.Version, "+incompatible"):
		return refused("+incompatible is for versions without a go.mod; end the module path in the major version, as in example.com/m/v2")
	case module.IsPseudoVersion(m.Version):
		return refused("a pseudo-version names a commit of a repository; choose a version such as v1.2.3 or v1.2.3-rc.1")
	}
	if err := module.Check(m.Path, m.Version); err != nil {
		return refused(strings.TrimPrefix(err.Error(), m.String()+": "))
	}
	if !h.published.has(m.Path) {
		return &BlockedError{Path: m.Path, Version: m.Version, Reason: "versions of this module come from another source; it is not one of those that are published here"}
	}
	route, err := h.route(ctx, m)
	if err == nil {
		err = route.refusal(m)
	}
	if err == nil {
		_, err = h.keeper.holds(ctx, m, InfoFile) // it may have been removed
	}
	return err
}

// storePublished stores a staged zip that was checked, and reports whether it was not held.
func (h *Handler) storePublished(ctx context.Context, stage Stage, size int64, m module.Version, mod []byte, hash string) (created bool, err error) {
	// The upload is whole: what is stored of it does not depend on its sender any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.opts.FetchTimeout)
	defer cancel()
	release, err := h.published.slots.Acquire(ctx, m, h.opts.FetchTimeout)
	if err != nil {
		return false, &UnavailableError{Source: "the store", Err: err}
	}
	defer release()
	held, err := h.keeper.holds(ctx, m, ModFile, ZipFile)
	if err != nil {
		return false, err
	}
	info := &Info{Version: m.Version, Time: time.Now().UTC().Truncate(time.Second)}
	if info.Raw, err = info.Encode(); err != nil { // raw, its time is no conflict with that of a first attempt
		return false, err
	}
	if err := h.keeper.agreesMod(ctx, m, mod); err != nil {
		return false, err
	}
	if err := h.keeper.mayCommit(ctx, stage, size, m, hash); err != nil {
		return false, err
	}
	h.opts.named(ctx, m.Path, *info)
	if err := h.keeper.put(ctx, m, info, mod); err != nil {
		return false, err
	}
	return !held, h.keeper.commit(ctx, stage, size, m, hash)
}

// complete reports whether a version may be shown: of a published module, clients see
// whole versions only.
func (h *Handler) complete(ctx context.Context, m module.Version) (bool, error) {
	if !h.published.has(m.Path) {
		return true, nil
	}
	if _, known := h.published.whole.Get(m); known {
		return true, nil
	}
	held, err := h.keeper.holds(ctx, m, ZipFile)
	if held {
		h.published.whole.Put(m, struct{}{})
	}
	return held, err
}

// completeOnly returns those of a module's held versions that may be shown.
func (h *Handler) completeOnly(ctx context.Context, path string, versions []string) ([]string, error) {
	if !h.published.has(path) {
		return versions, nil
	}
	var failed error
	return slices.DeleteFunc(slices.Clone(versions), func(v string) bool {
		complete, err := h.complete(ctx, module.Version{Path: path, Version: v})
		if _, removed := outermost(err).(*BlockedError); err != nil && !removed {
			failed = err
		}
		return !complete
	}), failed
}
