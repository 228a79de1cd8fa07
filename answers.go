package athens

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/modcheck"
)

// question is asked of a source, and its answer changes.
type question struct {
	op    string // "list", "latest", "query", "there", "sumdb", "proved", "tile", or a file's extension
	path  string
	query string
}

// fileQuestion is the question whether a version has a file. Only "no" is remembered here,
// since files are kept in the store.
func fileQuestion(m module.Version, f File) question {
	return question{f.String(), m.Path, m.Version}
}

// answer is a source's answer to a question.
type answer struct {
	versions  []string             // list
	info      *Info                // latest, query; shared, so it is not changed
	body      []byte               // sumdb, proved, tile
	retracted modcheck.Retractions // retractions
	missing   error                // the definite "not found"

	asked   time.Time // when the source was asked for it; zero: see at
	at      time.Time // when the source gave it
	failed  time.Time // when the source last failed
	err     error     // why it failed
	retryAt time.Time // when the source may be asked again after that

	remembered bool // the source did not give it just now; set for the caller only
}

// fromMemory returns the answer, marked as remembered.
func (a answer) fromMemory() answer {
	a.remembered = true
	return a
}

// since returns the time that the answer is of: what changes at the source after that may be
// missing in it.
func (a *answer) since() time.Time {
	if a.asked.IsZero() {
		return a.at
	}
	return a.asked
}

// good reports whether the source has ever answered.
func (a *answer) good() bool { return !a.at.IsZero() }

// usable reports whether the answer may be given after its time is over. A "not found" may
// not.
func (a *answer) usable() bool { return a.good() && a.missing == nil }

// size estimates the memory of a question and its answer, in bytes. Errors hold more than
// their text, and an .info more than its strings.
func (a *answer) size(q question) int64 {
	n := len(q.op) + len(q.path) + len(q.query) + cap(a.body)
	for _, v := range a.versions {
		n += len(v)
	}
	n += int(unsafe.Sizeof("")) * cap(a.versions)
	for _, r := range a.retracted {
		n += len(r.Low) + len(r.High) + int(unsafe.Sizeof(r))
	}
	for _, err := range []error{a.missing, a.err} {
		if err != nil {
			n += 512 + 4*len(err.Error())
		}
	}
	if a.info != nil {
		n += int(unsafe.Sizeof(*a.info)) + len(a.info.Version) + cap(a.info.Raw)
		if o := a.info.Origin; o != nil {
			n += int(unsafe.Sizeof(*o)) + len(o.VCS) + len(o.URL) + len(o.Subdir) + len(o.Hash) + len(o.TagPrefix) + len(o.TagSum) + len(o.Ref) + len(o.RepoSum)
		}
	}
	return int64(n)
}

// answers remembers what sources answered. A question that several clients ask at the same
// time is put to its source once.
type answers struct {
	opts  *Options
	calls *flight.Calls[questionKey, answer]
	known *cache.Cache[question, answer]
	// forgotten is when Forget was called for a module, or for all of them ("").
	forgotten *cache.Cache[string, time.Time]
	quiet     *cache.Cache[string, struct{}] // sources that clients waited for in vain, see ask
}

// questionKey keeps questions that came through other servers apart from those of clients,
// as flightKey does.
type questionKey struct {
	question
	chain string
}

func newAnswers(ctx context.Context, opts *Options) *answers {
	return &answers{
		opts:      opts,
		calls:     flight.NewCalls[questionKey, answer](ctx),
		known:     cache.New(opts.AnswerCacheBytes, func(q question, a answer) int64 { return a.size(q) }),
		forgotten: cache.New(forgottenBytes, func(path string, _ time.Time) int64 { return int64(len(path)) }),
		quiet:     cache.New(1<<20, func(source string, _ struct{}) int64 { return int64(len(source)) }),
	}
}

// get returns the remembered answer; it is zero if there is none.
func (as *answers) get(q question) answer {
	a, _ := as.known.Get(q)
	return a
}

// put remembers a. It may drop answers that have not been used for a long time.
func (as *answers) put(q question, a answer) {
	as.known.Put(q, a)
}

// missing returns the remembered "not found" for q, if there is one that no other
// answer has contradicted.
func (as *answers) missing(q question) error {
	if a := as.get(q); a.missing != nil && time.Since(a.at) < as.opts.MissingTTL && !as.contradicted(q, a.at) && !as.outdated(q.path, a.since()) {
		return a.missing
	}
	return nil
}

// missingFor is missing for a client, which may want a new answer.
func (as *answers) missingFor(q inquiry) error {
	err := as.missing(q.question)
	if err != nil && as.renews(q, as.get(q.question)) {
		return nil
	}
	return err
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

// standIn makes body, which the store has, the answer that q gets at once while the source
// is asked. It does so if there is no answer, or if the last one is too old for that. A
// refusal still counts.
func (as *answers) standIn(q question, body []byte) {
	a := as.get(q)
	if a.missing != nil || refused(a.err) || a.good() && time.Since(a.at) < as.opts.ListTTL+as.opts.StaleTTL {
		return
	}
	if !a.good() {
		a.body = body
	}
	a.at = time.Now().Add(-as.opts.ListTTL)
	as.put(q, a)
}

// refused reports whether a source refuses to answer, or a hook to ask it. Held versions are
// served when a source is down or a repository is gone, but not when it refuses.
func refused(err error) bool {
	_, missing := outermost(err).(*MissingError)
	return Final(err) && !missing || errors.As(err, new(*requestError))
}

// Refresh forgets what sources answered about a module: the next request for its list,
// @latest or a query asks its source, and so does one for a version that was not found.
// Held versions stay. While the source can't be asked, its last answers are still given.
func (h *Handler) Refresh(path string) {
	h.answers.put(question{op: "refresh", path: path}, answer{at: time.Now()})
}

// refreshed reports whether Refresh was called for a module at that time or later.
func (as *answers) refreshed(path string, at time.Time) bool {
	called := as.get(question{op: "refresh", path: path})
	return called.good() && !called.at.Before(at)
}

// forgottenBytes bounds the memory for modules that were forgotten: some thousand.
const forgottenBytes = 1 << 20

// Forget is [Handler.Refresh] for a module of which the Upstream has said that it changed: it
// is asked again, and may answer from its own memory. An empty path stands for all modules.
// An Upstream that has a method Forget(path string), too, is told.
func (h *Handler) Forget(path string) {
	if up, ok := h.opts.Upstream.(interface{ Forget(path string) }); ok && path != "" {
		up.Forget(path)
	}
	h.answers.forgotten.Put(path, time.Now())
}

// outdated reports whether what a source said of a module at that time must not be used,
// because Forget was called since.
func (as *answers) outdated(path string, at time.Time) bool {
	for _, of := range []string{path, ""} {
		if called, ok := as.forgotten.Get(of); ok && !called.Before(at) {
			return true
		}
	}
	return false
}

// contradicted reports whether a "not found" of that time is out of date: the module has
// been refreshed since, or a newer list names the missing version.
func (as *answers) contradicted(q question, at time.Time) bool {
	if as.refreshed(q.path, at) {
		return true
	}
	list := as.get(question{op: OpList, path: q.path})
	if !list.usable() || !list.at.After(at) {
		return false
	}
	switch {
	case q.op == OpLatest:
		return len(list.versions) > 0
	case q.op == OpQuery && isPrefix(q.query):
		return slices.ContainsFunc(list.versions, func(v string) bool { return strings.HasPrefix(v, q.query+".") })
	}
	return q.query != "" && slices.Contains(list.versions, q.query)
}

// named drops every "not found" that an answer to @latest or a query contradicts. Lists
// name many versions, so contradicted looks into the list instead.
func (as *answers) named(path string, a answer) {
	if a.info == nil {
		return
	}
	m := module.Version{Path: path, Version: a.info.Version}
	for _, q := range []question{
		{op: OpList, path: path}, {OpLatest, path, "latest"}, {OpQuery, path, m.Version},
		fileQuestion(m, InfoFile), fileQuestion(m, ModFile), fileQuestion(m, ZipFile),
	} {
		if as.get(q).missing != nil {
			as.known.Delete(q)
		}
	}
}

// renews reports whether a remembered answer must not be used: it is contradicted, the
// module was refreshed or forgotten since, or the client wants a new answer and the last one
// is old enough for that.
func (as *answers) renews(q inquiry, last answer) bool {
	return as.insists(q, last) || as.outdated(q.path, last.since())
}

// insists reports whether the source itself must not answer from memory.
func (as *answers) insists(q inquiry, last answer) bool {
	switch {
	case q.anew && time.Since(last.at) >= forceInterval:
		return true
	case last.missing != nil && as.contradicted(q.question, last.at):
		return true
	}
	return as.refreshed(q.path, last.since())
}
