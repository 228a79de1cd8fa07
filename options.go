package athens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Options configures a [Handler]: its sources, its policy and its limits. With the
// zero Options a handler serves only what its Storage holds. Hooks are called from
// many goroutines at once. A hook that panics fails the request, or the shared work,
// that called it.
type Options struct {
	// Sources

	// Fetcher reads version control. If it is nil, private modules that are not
	// held can't be served.
	Fetcher Fetcher
	// Upstream is the registry that public modules come from. If it is nil, all
	// modules come from Fetcher.
	Upstream Upstream
	// Fills fetches later what clients were redirected for, and pending zips. Its
	// Run must be called with [Handler.Fill]. If it is nil, the handler does not
	// fetch what it redirected clients for, and fetches pending zips at once.
	Fills FillScheduler
	// Checksums is the checksum database that must know a public version before
	// it is stored. If it also implements [SumDBKey], answers of that database are
	// passed on to clients only with its signature. If it is nil, no database is
	// asked.
	Checksums Checksums
	// Ledger records each version once its zip is stored, and is served to clients as
	// a checksum database under its name, private modules included; a look-up of what
	// is not held fetches it. The store must agree with it: a version that is recorded
	// with another hash is neither stored nor served. At the start, what a [Lister]
	// holds is recorded. If it is nil, nothing is recorded, and clients get checksum
	// databases from the Upstream only.
	Ledger Ledger

	// Offline makes the handler use none of these: it serves what its Storage holds, and
	// a miss is 404 with a text that says so. If it is false, sources are asked.
	Offline bool

	// Misses

	// MissFetch makes the handler fetch a miss from Upstream for the client. If it
	// is false, the client is redirected to Upstream and a fill is scheduled.
	MissFetch bool
	// FillAfter is how long a fill waits after the redirect, so that the upstream
	// fills its own store first. Zero means 10 seconds; a negative value means no
	// delay.
	FillAfter time.Duration
	// FillWhole makes each fill fetch the zip too. If it is false, a fill fetches
	// what the client asked for.
	FillWhole bool

	// Policy

	// Private has GOPRIVATE's syntax: the module paths that are private whatever Route
	// says. They are fetched from version control only, and the Upstream and checksum
	// databases never learn of them. A path is private in every spelling that leads to
	// it: upper or lower case, escapes, a port or a dot behind the host, endings such as
	// ".git" and ".v2". If it is empty, GOPRIVATE and GONOPROXY of the environment, or
	// of "go env -w", are used; "none" means no path.
	Private string
	// Published has GOPRIVATE's syntax: the module paths whose versions are stored by
	// [Handler.Publish] alone. No source is asked for them, whatever Route says: lists,
	// @latest and queries are answered from the store, and what it does not hold is not
	// found. A path is matched in every spelling, as by Private, which may match it too. If
	// it is empty, nothing is published here.
	Published string
	// Route says whether a version is public, private or blocked. For a question
	// about a whole module, m.Version is empty. For a query, Route is called with
	// the version that the query resolved to, and with the query's text as if it
	// were a path. Requests and fills follow the same Route. An error fails the
	// request: a [*BlockedError] with 403, any other with 503; the Upstream is not
	// asked then. If it is nil, modules are public unless Private matches, and none
	// is blocked.
	Route func(ctx context.Context, m module.Version) (Route, error)
	// Named is told which versions of a module a source has just named: in a list, as
	// the answer to a query, or with the .info of a version. Of a listed one only
	// Version is set. It is called before Route is asked about them, so that a policy
	// knows since when they exist. What is served from the store or from memory is not
	// told again. If it is nil, nobody is told.
	Named func(ctx context.Context, path string, versions []Info)
	// Admit has the last look at a zip that has passed every other check, before it is
	// stored and before a client gets any of it: for a virus scanner, or a check of
	// licences. The zip has size bytes. A [*BlockedError] refuses it with 403, any
	// other error with 503; nothing is stored then. A refusal is remembered for
	// MissingTTL; after it, and after any other error, the next request fetches the zip
	// and asks again. Clients are redirected for no zip. If it is nil, what
	// passes the checks is stored.
	Admit func(ctx context.Context, m module.Version, zip io.ReaderAt, size int64) error
	// Allow decides whether a request may be answered at all, before anything is
	// looked up. m is zero for a request that names no module (a checksum database
	// tile); m.Version may be empty or a query. An error that is or wraps a
	// [*RefusedError] is answered as that says, any other with 403 and its text. If it
	// is nil, all requests are answered.
	Allow func(r *http.Request, m module.Version) error

	// AllowFetch decides whether a request may cost a fetch. It is called once for a
	// request whose answer is neither stored nor remembered, before a source is asked
	// for it or a new fill is scheduled, and not for one that waits for a fetch that
	// is under way. Answers of checksum databases are no fetches, except that a Ledger
	// fetches what is looked up. An error is answered as one of Allow. If it is nil,
	// every request may.
	AllowFetch func(r *http.Request, m module.Version) error

	// Reports

	// Trace is called before each operation on a source or the store, with one of
	// OpInfo, OpMod, … The operation runs on the context that it returns, and the
	// function that it returns is called with the result. [RequestInfo].TraceParent
	// says what caused the operation. If it is nil, nothing is traced.
	Trace func(ctx context.Context, op string, m module.Version) (context.Context, func(error))
	// Observe is called once for each answered request, and for each fetch, store
	// write and fill that ended. The log line of a request has the same values. If
	// it is nil, nothing is observed.
	Observe func(Event)
	// Logger gets one line for each request and each fill. A request's line is written
	// without an allocation if the [slog.Handler] also has the method HandleAttrs, as
	// that of package serve has: HandleAttrs(ctx, time, level, message, attrs []slog.Attr)
	// error is Handle for a record with these attributes and no source position. It must
	// not keep attrs, which the next line uses again. If Logger is nil, nothing is logged.
	Logger *slog.Logger

	// Freshness

	// ListTTL is how long an answer to list, @latest or a query stays fresh, and
	// how long clients may cache it. Zero means one minute; a negative value means
	// that the source is asked for each.
	ListTTL time.Duration
	// StaleTTL is how long after its ListTTL an answer to list, @latest or a query
	// is still given at once, while the source is asked in the background. Zero
	// means 15 seconds; a negative value means that clients wait for the source.
	StaleTTL time.Duration
	// StaleAfter is how long a client waits for the source if there is an older
	// answer, or one from the store; then it gets that, and the source is still
	// asked. Zero means one second; a negative value means that clients wait until
	// the source answers or fails.
	StaleAfter time.Duration
	// MissingTTL is how long a definite "not found" is remembered. Zero means one
	// minute; a negative value means not at all.
	MissingTTL time.Duration
	// DownTTL is how long to wait before asking a source again for a list, @latest
	// or query that it failed or refused to answer. A source that sends Retry-After
	// is not asked for that long, at most an hour. Zero means 5 seconds; a negative
	// value means that a source is asked each time, unless it sent Retry-After.
	DownTTL time.Duration

	// Limits

	// FetchTimeout bounds one fetch from a source, however many clients wait for
	// it. Zero means 10 minutes.
	FetchTimeout time.Duration
	// WriteTimeout is how long a client may take for each 256 KiB of a body before
	// its connection is cut. Otherwise a client that stops reading could hold a
	// file, or a zip in progress, open forever. For these answers it replaces the
	// WriteTimeout of an [http.Server], which bounds the whole answer and the wait
	// before it. Zero means one minute; a negative value means no limit.
	WriteTimeout time.Duration
	// AnswerCacheBytes bounds the memory for remembered answers, including those
	// of checksum databases. Zero means 64 MiB.
	AnswerCacheBytes int64
	// MaxModBytes bounds a .mod, which is held in memory. Zero means 32 MiB; the
	// most is 1 GiB. The go command has no limit for a .mod, but one of 16 MiB for
	// the go.mod in a zip, so a version with a larger go.mod has no zip.
	MaxModBytes int64
	// MaxZipBytes bounds a zip, both packed and unpacked. Zero means 500 MiB, the
	// go command's own limit (see golang.org/x/mod/zip), which is also the most.
	MaxZipBytes int64
	// MaxPseudoVersions bounds how many pseudo-versions of one module clients can
	// make this server store in an hour: there is one for each commit of a
	// repository. Beyond it a miss is redirected without a fill, or answered with
	// 429 where no client is redirected. Zero means 500; a negative value means no
	// limit.
	MaxPseudoVersions int
	// Prefetch bounds how many versions are fetched at once before a client asks
	// for them: those that a .mod requires, and the zips of versions whose .mod and
	// .info were requested, once a client requests zips. How many are fetched in
	// all is in proportion to what clients request. Only a handler that fetches its
	// misses prefetches. Zero means 24 with an Upstream and 8 without; a negative
	// value means that nothing is prefetched.
	Prefetch int
	// MaxDetached bounds how many zips without a FillScheduler, and how many
	// rechecks of the store (see [Rechecker]), run at once after the answer to the
	// client. Zero means 4.
	MaxDetached int
	// MaxScheduling bounds how many calls of Fills.Schedule run at once; redirects
	// do not wait for a slow one. A fill beyond the limit is dropped and counted,
	// and the next miss schedules it again. Zero means 1,024.
	MaxScheduling int
}

var (
	errNoFetcher = errors.New("this server has no access to version control")
	errOffline   = errors.New("not in the store, and this server is offline: it asks no source")
	errNoSource  = errors.New("not in the store, and this server has no other source")
)

// withDefaults returns a checked copy of o with each zero made explicit.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if err := noNilPointers(map[string]any{"Fetcher": c.Fetcher, "Upstream": c.Upstream, "Fills": c.Fills, "Checksums": c.Checksums, "Ledger": c.Ledger}); err != nil {
		return c, err
	}
	if c.Offline {
		c.Fetcher, c.Upstream, c.Fills, c.Checksums, c.MissFetch = nil, nil, nil, nil, false
	}
	if c.MissFetch && c.Upstream == nil {
		return c, errors.New("athens: MissFetch needs an Upstream")
	}
	if c.FetchTimeout < 0 {
		return c, errors.New("athens: FetchTimeout is negative")
	}
	switch {
	case c.MaxDetached < 0:
		return c, errors.New("athens: MaxDetached is negative")
	case c.MaxScheduling < 0:
		return c, errors.New("athens: MaxScheduling is negative")
	}
	c.MaxPseudoVersions = cmp.Or(c.MaxPseudoVersions, 500)
	c.MaxDetached = cmp.Or(c.MaxDetached, 4)
	c.MaxScheduling = cmp.Or(c.MaxScheduling, 1024)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Upstream != nil && !c.MissFetch || c.Upstream == nil && c.Fetcher == nil:
		c.Prefetch = 0 // clients ask elsewhere
	case c.Prefetch == 0 && c.Upstream != nil:
		c.Prefetch = 24
	case c.Prefetch == 0:
		c.Prefetch = 8
	}
	c.timesWithDefaults()
	return c, c.sizesWithDefaults()
}

// noNilPointers refuses parts that are a nil pointer: an interface that holds one
// is not nil, and the first request would panic.
func noNilPointers(parts map[string]any) error {
	for name, part := range parts {
		if v := reflect.ValueOf(part); v.Kind() == reflect.Pointer && v.IsNil() {
			return fmt.Errorf("athens: %s is a nil %T; pass an untyped nil instead", name, part)
		}
	}
	return nil
}

// timesWithDefaults makes each zero time its default, and each negative one zero.
func (o *Options) timesWithDefaults() {
	if o.StaleAfter == 0 {
		o.StaleAfter = time.Second // a negative one stays
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.FillAfter, 10 * time.Second},
		{&o.ListTTL, time.Minute},
		{&o.StaleTTL, 15 * time.Second},
		{&o.MissingTTL, time.Minute},
		{&o.DownTTL, 5 * time.Second},
		{&o.FetchTimeout, 10 * time.Minute},
		{&o.WriteTimeout, time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		*d.field = max(*d.field, 0)
	}
	if o.ListTTL == 0 {
		o.StaleTTL = 0 // each is asked for anew
	}
}

// sizesWithDefaults makes each zero size its default, and refuses what is out of
// bounds.
func (o *Options) sizesWithDefaults() error {
	for _, d := range []struct {
		name        string
		field       *int64
		value, most int64
	}{
		{"MaxModBytes", &o.MaxModBytes, 32 << 20, 1 << 30},
		{"MaxZipBytes", &o.MaxZipBytes, zip.MaxZipFile, zip.MaxZipFile},
		{"AnswerCacheBytes", &o.AnswerCacheBytes, 64 << 20, 1 << 40},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 || *d.field > d.most {
			return fmt.Errorf("athens: %s is %d, not between 1 and %d", d.name, *d.field, d.most)
		}
	}
	return nil
}
