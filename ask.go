package athens

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/protocol"
)

// inquiry is a question with the circumstances in which a client asks it.
type inquiry struct {
	question
	chain string
	// source names what may be silent: the upstream, or a host of version control.
	source string
	// spare reports whether the store can answer instead; nil means that it can't.
	spare func() bool
	// anew says that the client does not accept a remembered answer.
	anew bool
	// admit, which may be nil, says why the client may not have the source asked.
	admit func() error
}

// forceInterval is how often clients can force the source to be asked one question.
const forceInterval = 5 * time.Second

// maxRetryAfter bounds the Retry-After of a source that is obeyed.
const maxRetryAfter = time.Hour

// ask returns a fresh answer to q from memory, otherwise the source's answer from ask, which
// runs once for all clients that wait. For StaleTTL it returns the last good answer at once,
// while ask runs. If the source fails, it returns the last good answer, however old. It
// returns an old "not found" for MissingTTL only, and no older answer if the source refuses.
// The result is good, or its err says why not.
//
// If there is an older answer, a client waits for the source for StaleAfter. After a source
// was silent for that long, no client waits for it until it has answered something.
func (as *answers) ask(ctx context.Context, q inquiry, ask func(context.Context) (answer, error)) answer {
	last := as.get(q.question)
	anew, insists := as.renews(q, last), as.insists(q, last)
	ttl, stale := as.opts.ListTTL, as.opts.StaleTTL
	if last.missing != nil {
		ttl, stale = as.opts.MissingTTL, 0
	}
	if !anew && last.good() && time.Since(last.at) < ttl || time.Now().Before(last.retryAt) {
		return last.fromMemory()
	}
	key := questionKey{q.question, q.chain}
	if q.admit != nil && !as.calls.Running(key) {
		if err := q.admit(); err != nil {
			if !anew && last.good() && time.Since(last.at) < ttl+stale {
				return last.fromMemory()
			}
			return answer{err: err}
		}
	}
	call := as.calls.Start(key, func(ctx context.Context) (answer, error) {
		ctx, cancel := context.WithTimeout(ctx, as.opts.FetchTimeout)
		defer cancel()
		if a := as.get(q.question); a.at.After(last.at) || a.failed.After(last.failed) {
			return a.fromMemory(), nil // another call has ended since the caller looked
		}
		if insists {
			info := RequestInfoFrom(ctx)
			info.NoCache = true
			ctx = info.Context(ctx)
		}
		asked := time.Now()
		a, err := ask(ctx)
		a.asked = asked
		as.heard(q.source, err)
		return as.learn(q.question, a, err)
	})
	if !anew && last.good() && time.Since(last.at) < ttl+stale {
		return last.fromMemory()
	}
	wait, cancel := ctx, context.CancelFunc(func() {})
	if !q.anew && as.opts.StaleAfter >= 0 && (last.usable() || q.spare != nil && q.spare()) {
		wait, cancel = context.WithTimeoutCause(ctx, as.patience(q.source), errSilent)
	}
	defer cancel()
	now, err := call.Wait(wait)
	if err == nil {
		return now
	}
	if errors.Is(err, errSilent) {
		as.quiet.PutFor(q.source, struct{}{}, as.opts.FetchTimeout)
		err = &UnavailableError{Source: q.source, Err: errSilent}
	}
	if last.usable() && !refused(err) && ctx.Err() == nil {
		return last.fromMemory()
	}
	return answer{err: err}
}

// errSilent is why a client gets an older answer: the source has not answered yet.
var errSilent error = silentError{}

type silentError struct{}

func (silentError) Error() string { return "it has not answered yet" }

// Timeout makes it a timeout, see [UnavailableError].
func (silentError) Timeout() bool { return true }

// patience is how long a client waits for a source when there is an older answer.
func (as *answers) patience(source string) time.Duration {
	if _, quiet := as.quiet.Get(source); quiet {
		return 0
	}
	return as.opts.StaleAfter
}

// heard notes that a source has answered, so that clients wait for it again. If a silent
// source fails in the end, clients still don't wait for it for DownTTL.
func (as *answers) heard(source string, err error) {
	if err == nil || Final(err) {
		as.quiet.Delete(source)
	} else if _, quiet := as.quiet.Get(source); quiet {
		as.quiet.PutFor(source, struct{}{}, as.opts.DownTTL)
	}
}

// learn remembers what a source answered, or that it failed. It returns the answer that
// is known now; an error means that the source refuses.
func (as *answers) learn(q question, a answer, err error) (answer, error) {
	now := time.Now()
	switch e := outermost(err).(type) {
	case nil:
	case *MissingError:
		a, err = answer{missing: e, asked: a.asked}, nil
	case *BlockedError, *InvalidError: // not an outage: earlier answers no longer count
		if _, loop := errors.AsType[*protocol.LoopError](err); loop {
			return answer{}, err // it concerns this chain of servers only
		}
		as.put(q, answer{failed: now, retryAt: now.Add(as.opts.DownTTL), err: err})
		return answer{}, err
	}
	if err == nil {
		a.at = now
		as.named(q.path, a)
	} else {
		a = as.get(q) // it may be good, but old
		if a.missing != nil {
			a = answer{} // an old "not found" may be wrong by now
		}
		a.failed, a.err, a.retryAt = now, err, now.Add(max(as.opts.DownTTL, min(retryAfter(err), maxRetryAfter)))
	}
	as.put(q, a)
	if err != nil && a.good() {
		a = a.fromMemory()
	}
	return a, nil
}

// retryAfter returns the Retry-After of a source that is unavailable, or zero.
func retryAfter(err error) time.Duration {
	if e, ok := outermost(err).(*UnavailableError); ok {
		return e.RetryAfter
	}
	return 0
}

// failure returns the error that a has in place of an answer: "not found", or why the
// source could not be asked.
func (a *answer) failure() error {
	switch {
	case a.missing != nil:
		return a.missing
	case a.good():
		return nil
	}
	if e, ok := a.err.(*UnavailableError); ok && e.RetryAfter > 0 {
		left := *e // the client is told the remaining time
		left.RetryAfter = max(time.Until(a.retryAt), time.Second)
		return &left
	}
	return a.err
}

// noCache reports whether a request asks for no remembered answer, as RFC 9111 has it.
func noCache(header http.Header) bool {
	values, old := header["Cache-Control"], header["Pragma"]
	if len(values) == 0 {
		return len(old) > 0 && strings.Contains(strings.ToLower(strings.Join(old, ",")), "no-cache")
	}
	for directive := range strings.SplitSeq(strings.Join(values, ","), ",") {
		switch strings.ToLower(strings.ReplaceAll(directive, " ", "")) {
		case "no-cache", "no-store", "max-age=0":
			return true
		}
	}
	return false
}

// ask asks the source a question about the module. Spare reports whether the store can
// answer instead; nil means that it can't.
func (x *exchange) ask(src source, q question, spare func() bool, ask func(context.Context) (answer, error)) answer {
	put := inquiry{question: q, chain: x.chainTo(src), source: src.host(q.path), spare: spare, anew: noCache(x.r.Header)}
	if x.h.opts.AllowFetch != nil {
		put.admit = func() error { return x.mayFetch(module.Version{Path: q.path, Version: q.query}) }
	}
	a := x.h.answers.ask(x.r.Context(), put, ask)
	x.remembered = a.remembered
	return a
}

// sourceList returns the versions that the source lists.
func (x *exchange) sourceList(spare func() bool) ([]string, error) {
	m := x.req.Module
	src, err := x.h.sourceOf(x.r.Context(), m, x.route)
	if err != nil {
		return nil, err
	}
	x.source = src.name
	a := x.ask(src, question{op: OpList, path: m.Path}, spare, func(ctx context.Context) (a answer, err error) {
		op := x.h.opts.begin(x.h.server.onward(ctx, src, x.chainTo(src)), OpList, src.name, m)
		defer func() { op.end(err) }()
		a.versions, err = src.versions(op.ctx, m.Path)
		x.h.opts.namedList(op.ctx, m.Path, a.versions)
		return a, err
	})
	return a.versions, a.failure()
}

// namedList is named for the versions of a list.
func (o *Options) namedList(ctx context.Context, path string, versions []string) {
	if o.Named == nil {
		return
	}
	infos := make([]Info, len(versions))
	for i, v := range versions {
		infos[i].Version = v
	}
	o.named(ctx, path, infos...)
}

// resolve asks the source which version a query means. Spare is as for ask.
func (x *exchange) resolve(op, query string, spare func() bool) (*Info, error) {
	m := module.Version{Path: x.req.Module.Path, Version: query}
	src, err := x.h.sourceOf(x.r.Context(), m, x.route)
	if err != nil {
		return nil, err
	}
	x.source, x.outcome = src.name, OutcomeFetch
	a := x.ask(src, question{op, m.Path, query}, spare, func(ctx context.Context) (a answer, err error) {
		span := x.h.opts.begin(x.h.server.onward(ctx, src, x.chainTo(src)), op, src.name, m)
		defer func() { span.end(err) }()
		a.info, err = src.Resolve(span.ctx, m.Path, query)
		if err == nil && (a.info == nil || !protocol.Canonical(module.Version{Path: m.Path, Version: a.info.Version})) {
			err = &InvalidError{m.Path, query, errors.New("the source answered with no canonical version")}
		}
		if err == nil {
			if invalid := checkInfo(a.info, src.vcs); invalid != nil {
				err = &InvalidError{m.Path, query, invalid}
			}
		}
		if err == nil {
			x.h.opts.named(span.ctx, m.Path, *a.info)
		}
		return a, err
	})
	return a.info, a.failure()
}

// chainTo returns the chain for questions to src.
func (x *exchange) chainTo(src source) string { return src.key(module.Version{}, x.chain).chain }

// noneFits reports whether err, a source's answer to a query, means that the module's
// repository exists and has no version that fits. Then no held version answers the query
// either; if the repository is gone, a held version does. For an upstream it is false: one
// that supports no queries, such as a folder of files, answers "not found" to all of them.
func (x *exchange) noneFits(err error) bool {
	if _, missing := outermost(err).(*MissingError); !missing {
		return false
	}
	m := x.req.Module
	src, err := x.h.sourceOf(x.r.Context(), m, x.route)
	if err != nil || !src.vcs {
		return false
	}
	a := x.ask(src, question{op: "there", path: m.Path}, nil, func(ctx context.Context) (answer, error) {
		ctx = x.h.server.onward(ctx, src, x.chainTo(src))
		_, err := src.Versions(ctx, m.Path)
		if err != nil { // an odd tag can make the list fail
			_, err = src.Resolve(ctx, m.Path, "HEAD")
		}
		return answer{}, err
	})
	return a.failure() == nil
}

// opRetractions is the question which versions a version's .mod retracts. The answer never
// changes.
const opRetractions = "retractions"

// retractions returns what the latest of some versions retracts, as the go command reads
// it: retractions that were withdrawn later do not count, and a version can retract itself.
// If fetch is set, the .mod may be fetched from the source. A .mod that can't be read
// retracts nothing.
func (x *exchange) retractions(versions []string, fetch bool) modcheck.Retractions {
	m := module.Version{Path: x.req.Module.Path, Version: latestOf(versions)}
	if m.Version == "" {
		return nil
	}
	q := question{opRetractions, m.Path, m.Version}
	if a := x.h.answers.get(q); a.good() {
		return a.retracted
	}
	ctx := x.r.Context()
	held, err := x.h.keeper.holds(ctx, m, ModFile)
	if err == nil && !held && fetch {
		if src, srcErr := x.h.sourceOf(x.r.Context(), m, x.route); srcErr == nil {
			err = x.h.fetches.storeMeta(ctx, src, m)
		}
	}
	mod, readErr := x.h.keeper.read(ctx, m, ModFile, x.h.opts.MaxModBytes)
	if err != nil || readErr != nil {
		return nil
	}
	a := answer{retracted: modcheck.Retracted(mod), at: time.Now()}
	x.h.answers.put(q, a)
	return a.retracted
}

// latestOf returns the version whose .mod says what is retracted: what "latest" would mean
// if nothing was retracted. It is "+incompatible" only if all versions are.
func latestOf(versions []string) string {
	compatible := slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return strings.HasSuffix(v, "+incompatible") })
	if len(compatible) > 0 {
		versions = compatible
	}
	return highest(versions, nil)
}
