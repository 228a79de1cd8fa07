package athens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/modcheck"
)

// arrival is the .info and .mod of a version on their way from a source into the
// store. It stays joinable until they are stored, so nobody asks again.
type arrival struct {
	content *flight.Future[Content]
	info    *flight.Future[*Info]    // nil without error: look into the store
	mod     *flight.Future[[]byte]   // the same
	stored  *flight.Future[struct{}] // both are held

	since time.Time // what was learned after it need not be asked

	// What is wanted first is asked for first, and the rest when that was
	// there: a version that does not exist costs one question.
	mu     sync.Mutex
	wanted map[File]chan struct{} // closed when it is
	over   chan struct{}          // closed when what was not wanted is not asked for
}

// newArrival returns an arrival that somebody wants who looked at what is known
// at since.
func newArrival(since time.Time) *arrival {
	return &arrival{
		since:   since,
		content: flight.NewFuture[Content](),
		info:    flight.NewFuture[*Info](),
		mod:     flight.NewFuture[[]byte](),
		stored:  flight.NewFuture[struct{}](),
		wanted:  map[File]chan struct{}{InfoFile: make(chan struct{}), ModFile: make(chan struct{})},
		over:    make(chan struct{}),
	}
}

// end sets what was not set yet.
func (a *arrival) end(err error) {
	a.content.Set(nil, err)
	a.info.Set(nil, err)
	a.mod.Set(nil, err)
	a.stored.Set(struct{}{}, err)
}

// isClosed reports whether c is.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// want asks for files, unless it is too late for one.
func (a *arrival) want(files ...File) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range files {
		if isClosed(a.wanted[f]) {
			continue
		}
		if isClosed(a.over) {
			return false
		}
		close(a.wanted[f])
	}
	return true
}

// got says what came of asking for one file: after it, the other is wanted, too,
// or not any more.
func (a *arrival) got(err error) {
	if err == nil {
		a.want(InfoFile, ModFile)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !isClosed(a.over) {
		close(a.over)
	}
}

// errUnasked says that nobody wanted a file before the other failed.
var errUnasked = errors.New("not asked for")

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

// part gets a file as soon as it is wanted and tells of it.
func part[V any](ctx context.Context, as *answers, a *arrival, m module.Version, f File, get func() (V, error), settle settling, tell func(V, error)) *flight.Future[V] {
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

// key returns the flight that a wish for m joins. Only questions to an upstream
// can come back.
func (s source) key(m module.Version, chain string) flightKey {
	if s.vcs {
		chain = ""
	}
	return flightKey{m, chain}
}

// arrive joins or starts the arrival of m, for the files that are wanted of it.
func (h *Handler) arrive(src source, m module.Version, chain string, since time.Time, wanted ...File) *arrival {
	if src.vcs {
		wanted = []File{InfoFile, ModFile} // the commit has both
	}
	key := src.key(m, chain)
	for {
		a := h.arrivals.Join(key, func() *arrival { return newArrival(since) }, func(ctx context.Context, a *arrival) {
			ctx, cancel := context.WithTimeout(h.onward(ctx, src, chain), h.opts.FetchTimeout)
			defer cancel()
			a.end(h.fetchMeta(ctx, src, m, a, settles(h.answers, h.arrivals, key, a)))
		}, (*arrival).end)
		if a.want(wanted...) {
			return a
		}
		h.arrivals.Forget(key, a)
	}
}

// fetchMeta gets .info and .mod, checks and stores them.
func (h *Handler) fetchMeta(ctx context.Context, src source, m module.Version, a *arrival, settle settling) (err error) {
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
	// What an upstream says may be answered before it is stored, unless
	// somebody has to vouch for it first.
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
			h.ahead.follow(m, mod) // before the client can act on the answer
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

// keep stores .info and .mod that have arrived.
func (h *Handler) keep(ctx context.Context, src source, m module.Version, info *Info, mod []byte, answered bool) error {
	if err := h.vouchMod(src, m, mod); err != nil {
		return err
	}
	if src.vcs {
		// Before it is held: a process that dies in between, or a Put that fails
		// although it happened, must not leave a version whose zip nobody owes.
		h.owe(src, m)
	}
	if err := h.put(ctx, m, info, mod); err != nil {
		if answered && !Final(err) { // else there is an answer to say it, or an alarm
			h.opts.Logger.Warn("not stored", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
		}
		return err
	}
	if !src.vcs {
		h.answers.noteArrival(m)
	}
	return nil
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

// getInfo gets the .info and checks it.
func (h *Handler) getInfo(ctx context.Context, src source, content Content, m module.Version) (info *Info, err error) {
	op := h.opts.begin(ctx, OpInfo, src.name, m)
	defer func() { op.end(err) }()
	info, err = content.Info(op.ctx)
	if err != nil {
		return nil, err
	}
	if info == nil || info.Version != m.Version {
		got := ""
		if info != nil {
			got = info.Version
		}
		return nil, &InvalidError{m.Path, m.Version, fmt.Errorf("the source's .info is of version %.80q", got)}
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

// vouchMod checks the .mod of a public module by the checksum database.
func (h *Handler) vouchMod(src source, m module.Version, mod []byte) error {
	if h.opts.Checksums == nil {
		return nil
	}
	h1, err := modcheck.ModHash(mod)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return h.vouch(src, m, "/go.mod", h1)
}

// vouch checks a hash of a public module by the checksum database. What the
// database does not know is not stored, but it is not missing either.
func (h *Handler) vouch(src source, m module.Version, suffix, h1 string) error {
	if h.opts.Checksums == nil || src.Private {
		return nil
	}
	version := m.Version + suffix
	lines, err := h.opts.Checksums.Lookup(m.Path, version)
	if missing, ok := outermost(err).(*MissingError); ok {
		return &InvalidError{m.Path, m.Version, fmt.Errorf("the checksum database does not know it: %v", missing.Err)}
	}
	if Final(err) { // its words, not those of the source
		return &InvalidError{m.Path, m.Version, fmt.Errorf("the checksum database fails: %w", err)}
	}
	if err != nil {
		return err
	}
	if err := modcheck.Vouched(lines, module.Version{Path: m.Path, Version: version}, h1); err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return nil
}
