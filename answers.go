package athens

import (
	"container/list"
	"context"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
)

// question is something that is asked of a source and whose answer changes.
type question struct {
	op    string // "list", "latest", "query", "sumdb", "proved", "arrived", or a file's extension
	path  string
	query string
}

// fileQuestion is whether a version has a file, of which only "no" is
// remembered here: files are the store's business.
func fileQuestion(m module.Version, f File) question {
	return question{f.String(), m.Path, m.Version}
}

// answer is what a source said to a question.
type answer struct {
	versions []string // list
	info     *Info    // latest, query; shared, so it is not changed
	body     []byte   // sumdb, proved
	missing  error    // the definite "not found"

	at     time.Time // when it was said
	failed time.Time // when the source was last asked in vain
	err    error     // why that failed
}

// good reports whether the source ever answered.
func (a *answer) good() bool { return !a.at.IsZero() }

// size estimates the memory that an answer takes.
func (a *answer) size(q question) int64 {
	n := 400 + len(q.path) + len(q.query) + len(a.body)
	for _, v := range a.versions {
		n += 16 + len(v)
	}
	return int64(n)
}

// answers remembers what sources said, the most recently used first, and asks
// once however many want to know.
type answers struct {
	opts  *Options
	calls *flight.Calls[questionKey, answer]

	mu    sync.Mutex
	byKey map[question]*list.Element // of *entry
	used  *list.List                 // most recently used first
	bytes int64
}

type entry struct {
	question
	answer
}

// questionKey keeps questions of servers out of the flights of clients, as
// flightKey does.
type questionKey struct {
	question
	chain string
}

func newAnswers(ctx context.Context, opts *Options) *answers {
	return &answers{
		opts:  opts,
		calls: flight.NewCalls[questionKey, answer](ctx),
		byKey: make(map[question]*list.Element),
		used:  list.New(),
	}
}

// get returns what is remembered.
func (as *answers) get(q question) answer {
	as.mu.Lock()
	defer as.mu.Unlock()
	e, ok := as.byKey[q]
	if !ok {
		return answer{}
	}
	as.used.MoveToFront(e)
	return e.Value.(*entry).answer
}

// put remembers a, and forgets what was not used for the longest time.
func (as *answers) put(q question, a answer) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if e, ok := as.byKey[q]; ok {
		as.drop(e)
	}
	as.byKey[q] = as.used.PushFront(&entry{q, a})
	as.bytes += a.size(q)
	for as.bytes > as.opts.AnswerCacheBytes {
		as.drop(as.used.Back())
	}
}

func (as *answers) drop(e *list.Element) {
	old := as.used.Remove(e).(*entry)
	delete(as.byKey, old.question)
	as.bytes -= old.size(old.question)
}

// missing returns the remembered "not found" for q, if there is one.
func (as *answers) missing(q question) error {
	if a := as.get(q); a.missing != nil && time.Since(a.at) < as.opts.MissingTTL {
		return a.missing
	}
	return nil
}

// missingSince returns the "not found" for q that was remembered after since.
func (as *answers) missingSince(q question, since time.Time) error {
	if a := as.get(q); a.missing != nil && a.at.After(since) {
		return as.missing(q)
	}
	return nil
}

// remember keeps err if it is a definite "not found".
func (as *answers) remember(q question, err error) {
	if missing, ok := outermost(err).(*MissingError); ok {
		as.put(q, answer{missing: missing, at: time.Now()})
	}
}

// noteArrival remembers that .info and .mod of a version have just come from the
// upstream, so that its zip need not be held against another .info.
func (as *answers) noteArrival(m module.Version) {
	as.put(question{"arrived", m.Path, m.Version}, answer{at: time.Now()})
}

// arrived reports whether they came lately.
func (as *answers) arrived(m module.Version) bool {
	a := as.get(question{"arrived", m.Path, m.Version})
	return a.good() && time.Since(a.at) < as.opts.FetchTimeout
}

// ask returns the source's answer to q: a fresh one from memory, else from ask,
// which is called once however many want it. For a while the last good answer
// is given at once, while ask runs. If the source fails, that answer serves,
// however old; a "not found" serves for its time only, and nothing against a
// refusal. The result is good, or its err says why not.
func (as *answers) ask(ctx context.Context, q question, chain string, ask func(context.Context) (answer, error)) answer {
	last := as.get(q)
	ttl, stale := as.opts.ListTTL, as.opts.MaxStale
	if last.missing != nil {
		ttl, stale = as.opts.MissingTTL, 0
	}
	if last.good() && time.Since(last.at) < ttl || !last.failed.IsZero() && time.Since(last.failed) < as.opts.DownTTL {
		return last
	}
	call := as.calls.Start(questionKey{q, chain}, func(ctx context.Context) (answer, error) {
		ctx, cancel := context.WithTimeout(ctx, as.opts.FetchTimeout)
		defer cancel()
		if a := as.get(q); a.at.After(last.at) || a.failed.After(last.failed) {
			return a, nil // learned since the caller looked
		}
		a, err := ask(ctx)
		return as.learn(q, a, err)
	})
	if last.good() && time.Since(last.at) < ttl+stale {
		return last
	}
	now, err := call.Wait(ctx)
	if err != nil {
		if last.good() && last.missing == nil && !refused(err) && ctx.Err() == nil {
			return last
		}
		return answer{err: err}
	}
	return now
}

// standIn lets what is kept in the store answer q at once, while the source is
// asked, when its own last answer is too old for that or there is none. A
// refusal stands.
func (as *answers) standIn(q question, body []byte) {
	a := as.get(q)
	if a.missing != nil || refused(a.err) || a.good() && time.Since(a.at) < as.opts.ListTTL+as.opts.MaxStale {
		return
	}
	if !a.good() {
		a.body = body
	}
	a.at = time.Now().Add(-as.opts.ListTTL)
	as.put(q, a)
}

// learn remembers what a source said, or that it could not be asked. It returns
// what is known now; the error is a refusal.
func (as *answers) learn(q question, a answer, err error) (answer, error) {
	switch e := outermost(err).(type) {
	case nil:
	case *MissingError:
		a, err = answer{missing: e}, nil
	case *LoopError:
		return answer{}, err // for this chain of servers only
	case *BlockedError, *InvalidError: // not an outage: what was said before is no more
		as.put(q, answer{failed: time.Now(), err: err})
		return answer{}, err
	}
	if err == nil {
		a.at = time.Now()
	} else {
		a = as.get(q) // perhaps good, but old
		if a.missing != nil {
			a = answer{} // an old "not found" says nothing about now
		}
		a.failed, a.err = time.Now(), err
	}
	as.put(q, a)
	return a, nil
}
