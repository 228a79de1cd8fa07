package athens

import (
	"context"
	"errors"
	"time"
)

// inquiry is a question and how it is put to its source.
type inquiry struct {
	question
	chain string
	// source is whose silence counts: the upstream, or a host of version control.
	source string
	// spare, which may be nil, reports whether the store can answer instead.
	spare func() bool
	// anew says that the client wants no remembered answer.
	anew bool
}

// forceInterval is how often clients can have one question put to its source anew.
const forceInterval = 5 * time.Second

// maxRetryAfter bounds how long a source is not asked because it said so.
const maxRetryAfter = time.Hour

// ask returns the source's answer to q: a fresh one from memory, otherwise from ask,
// which is called once however many want it. For StaleTTL the last good answer
// is given at once, while ask runs. If the source fails, that answer serves,
// however old; a "not found" serves for its time only, and nothing against a
// refusal. The result is good, or its err says why not.
//
// Where there is an answer to fall back on, the source has StaleAfter. A source that
// let somebody wait for as long is not waited for again until it has answered
// something.
func (as *answers) ask(ctx context.Context, q inquiry, ask func(context.Context) (answer, error)) answer {
	last := as.get(q.question)
	anew := as.renews(q, last)
	ttl, stale := as.opts.ListTTL, as.opts.StaleTTL
	if last.missing != nil {
		ttl, stale = as.opts.MissingTTL, 0
	}
	if !anew && last.good() && time.Since(last.at) < ttl || time.Now().Before(last.retryAt) {
		return last.fromMemory()
	}
	call := as.calls.Start(questionKey{q.question, q.chain}, func(ctx context.Context) (answer, error) {
		ctx, cancel := context.WithTimeout(ctx, as.opts.FetchTimeout)
		defer cancel()
		if a := as.get(q.question); a.at.After(last.at) || a.failed.After(last.failed) {
			return a, nil // learned since the caller looked
		}
		if anew {
			ctx = WithNoCache(ctx)
		}
		a, err := ask(ctx)
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

// renews reports whether a remembered answer does not count: something has happened
// since, or the client wants to know it anew and the last time is long enough ago.
func (as *answers) renews(q inquiry, last answer) bool {
	switch {
	case q.anew && time.Since(last.at) >= forceInterval:
		return true
	case last.missing != nil && as.contradicted(q.question, last.at):
		return true
	}
	return as.refreshed(q.path, last.at)
}

// errSilent is why an older answer serves: the source has not answered yet.
var errSilent error = silentError{}

type silentError struct{}

func (silentError) Error() string { return "it has not answered yet" }

// Timeout makes it a timeout, see [UnavailableError].
func (silentError) Timeout() bool { return true }

// patience is how long a client waits for a source although there is another answer.
func (as *answers) patience(source string) time.Duration {
	if _, quiet := as.quiet.Get(source); quiet {
		return 0
	}
	return as.opts.StaleAfter
}

// heard notes how a source has answered: a silent one that fails in the end is still
// not waited for, for a while.
func (as *answers) heard(source string, err error) {
	if err == nil || Final(err) {
		as.quiet.Delete(source)
	} else if _, quiet := as.quiet.Get(source); quiet {
		as.quiet.PutFor(source, struct{}{}, as.opts.DownTTL)
	}
}

// learn remembers what a source said, or that it could not be asked. It returns
// what is known now; the error is a refusal.
func (as *answers) learn(q question, a answer, err error) (answer, error) {
	now := time.Now()
	switch e := outermost(err).(type) {
	case nil:
	case *MissingError:
		a, err = answer{missing: e}, nil
	case *LoopError:
		return answer{}, err // for this chain of servers only
	case *BlockedError, *InvalidError: // not an outage: what was said before is no more
		as.put(q, answer{failed: now, retryAt: now.Add(as.opts.DownTTL), err: err})
		return answer{}, err
	}
	if err == nil {
		a.at = now
		as.named(q.path, a)
	} else {
		a = as.get(q) // perhaps good, but old
		if a.missing != nil {
			a = answer{} // an old "not found" says nothing about now
		}
		a.failed, a.err, a.retryAt = now, err, now.Add(max(as.opts.DownTTL, min(retryAfter(err), maxRetryAfter)))
	}
	as.put(q, a)
	return a, nil
}

// retryAfter is what the source of an outage says of when to ask again; zero if it
// says nothing.
func retryAfter(err error) time.Duration {
	if e, ok := outermost(err).(*UnavailableError); ok {
		return e.RetryAfter
	}
	return 0
}

// failure is why there is no answer, or that it was "not found".
func (a *answer) failure() error {
	switch {
	case a.missing != nil:
		return a.missing
	case a.good():
		return nil
	}
	if e, ok := a.err.(*UnavailableError); ok && e.RetryAfter > 0 {
		left := *e // the client is told what is left of it
		left.RetryAfter = max(time.Until(a.retryAt), time.Second)
		return &left
	}
	return a.err
}
