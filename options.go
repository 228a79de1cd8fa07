package athens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Options says where a [Handler] gets what it does not hold, and holds the
// hooks of whoever embeds it. The zero Options makes a handler that only serves
// what is held. All hooks are called from many goroutines at once; one
// that panics costs the request, or the shared work, that it was called for.
type Options struct {
	// Fetcher is version control. If it is nil, private modules that are not
	// held can't be served.
	Fetcher Fetcher
	// Upstream is the registry that public modules come from. If it is nil,
	// all modules come from Fetcher, as the private ones do.
	Upstream Upstream
	// Fills catches up on what was redirected or is owed; somebody has to
	// call its Run with [Handler.Fill]. If it is nil, nothing that was
	// redirected is filled, and zips that are owed are fetched at once.
	Fills FillScheduler

	// MissFetch fetches a miss from Upstream for the client. If it is
	// false, the client is redirected there and a fill is scheduled.
	MissFetch bool
	// FillAfter is how long a fill waits after the redirect, so that the
	// upstream has filled its own store. Zero means 10 seconds; a negative
	// one means no delay.
	FillAfter time.Duration
	// FillWhole makes each fill fetch the zip too, not only what was asked.
	FillWhole bool

	// Private is the module paths that are private whatever Route says: they
	// come from version control only, the Upstream and checksum databases
	// never hear of them. Nil means GOPRIVATE and GONOPROXY of the environment
	// (see [EnvPatterns]); an empty Patterns means that none are.
	Private *Patterns
	// Route says whether a version is public, private or blocked. For a
	// question about a whole module its version is empty; a query is asked
	// about by the version that it resolved to, and its text is asked about
	// as if it were a path. Requests and fills ask alike. An error answers
	// the request: a [*BlockedError] with 403, any other with 503; the module
	// then never reaches the Upstream. If Route is nil, modules are public
	// unless Private matches, and none is blocked.
	Route func(ctx context.Context, m module.Version) (Route, error)
	// Allow decides whether a request may be answered at all, before
	// anything is looked up. m is zero for requests that are about no module
	// (checksum database tiles); its version may be empty or a query. An
	// error that is or wraps an [*UnauthorizedError] is answered with 401, any
	// other with 403 and its text. If Allow is nil, all requests are answered.
	Allow func(r *http.Request, m module.Version) error
	// Trace is called before each operation on a source or the store, with
	// one of OpInfo, OpMod, … The operation runs on the context it returns,
	// and the function it returns is called with the result. If it is nil,
	// nothing is traced.
	Trace func(ctx context.Context, op string, m module.Version) (context.Context, func(error))
	// Observe is called once for each request that was answered, and for each
	// fetch, store write and fill that ended. The log line of a request has
	// the same values. If it is nil, nothing is observed.
	Observe func(Event)
	// Checksums is the checksum database that must vouch for what is public
	// before it is stored. If it has the ability [SumDBKey], answers of that
	// database that clients ask for need its signature, too. If it is nil,
	// none is asked.
	Checksums Checksums
	// Logger gets one line a request and one a fill. If it is nil, nothing
	// is logged.
	Logger *slog.Logger

	// ListTTL is how long an answer to list, @latest or a query holds, and
	// how long clients may keep it. Zero means one minute; a negative one
	// means that each is asked for anew.
	ListTTL time.Duration
	// MaxStale is how long after its ListTTL an answer to list, @latest or a
	// query is still given at once, while the source is asked in the
	// background. Zero means 15 seconds; a negative one means that clients
	// wait for the source.
	MaxStale time.Duration
	// StaleAfter is how long a client waits for the source of such an answer
	// when there is an older one, or the store can tell: that is given then,
	// while the source is still asked. Zero means one second; a negative one
	// means that clients wait until the source answers or fails.
	StaleAfter time.Duration
	// MissingTTL is how long a definite "not found" is remembered. Zero means
	// one minute; a negative one means not at all.
	MissingTTL time.Duration
	// DownTTL is how long a source that failed to answer list, @latest or a
	// query, or refused to, is not asked the same again; a source that said
	// for how long (Retry-After) is not asked for as long, up to an hour. Zero
	// means 5 seconds; a negative one means that it is asked each time, unless
	// it said otherwise.
	DownTTL time.Duration
	// MaxPseudoVersions bounds how many pseudo-versions of one module clients
	// can make this server store in an hour: there is one for each commit of a
	// repository. What is beyond that is redirected without a fill, or answered
	// with 429 where no client is redirected. Zero means 500; a negative one
	// means that there is no such limit.
	MaxPseudoVersions int
	// AnswerCacheBytes bounds the memory for remembered answers, in bytes, what was
	// proved of checksum databases included. Zero means 64 MiB.
	AnswerCacheBytes int64
	// FetchTimeout bounds one fetch from a source, whoever waits. Zero means
	// 10 minutes.
	FetchTimeout time.Duration
	// WriteTimeout is how long a client may take for each 256 KiB of a body
	// before its connection is cut: who reads nothing would else hold a file,
	// or a zip on its way, for ever. For these answers it takes the place of
	// the WriteTimeout of an [http.Server], which bounds the whole answer and
	// the wait before it. Zero means one minute; a negative one means that
	// there is no such limit.
	WriteTimeout time.Duration
	// MaxModBytes bounds the .mod files that are taken, in bytes; each is held in
	// memory. Zero means 32 MiB, and 1 GiB is the most. The go command has no
	// limit for them, but one of 16 MiB for the go.mod in a zip, so that of a
	// version above that there is no zip.
	MaxModBytes int64
	// MaxZipBytes bounds the zips that are taken, in bytes, packed and unpacked.
	// Zero means the go command's own limit, 500 MiB (see
	// golang.org/x/mod/zip), which can't be exceeded.
	MaxZipBytes int64
	// Prefetch bounds how many versions are fetched at once that no client
	// asked for yet but will: what a .mod requires, and the zip of a version
	// whose .mod and .info were asked for, once zips are. Only a server that fetches its
	// misses does so. Zero means 24 with an Upstream and 8 without; a negative
	// one means that nothing is fetched ahead.
	Prefetch int
	// MaxDetached bounds how many zips are fetched at once that no client
	// waits for and that no FillScheduler bounds, together with how many
	// versions the store looks at again (see [Rechecker]). Zero means 4.
	MaxDetached int
	// MaxScheduling bounds how many fills are on their way to Fills, which may
	// be a server elsewhere: while that is slow no redirect waits for it. What is
	// beyond it is dropped and counted, and the next miss schedules it again. Zero means
	// 1,024.
	MaxScheduling int
}

var (
	errNoFetcher = errors.New("this server has no access to version control")
	errNoSource  = errors.New("not held, and this server has no other source")
)

// withDefaults returns a checked copy of o with each zero made explicit.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if err := noNilPointers(map[string]any{"Fetcher": c.Fetcher, "Upstream": c.Upstream, "Fills": c.Fills, "Checksums": c.Checksums}); err != nil {
		return c, err
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
	if c.Private == nil {
		var err error
		if c.Private, err = EnvPatterns(); err != nil {
			return c, fmt.Errorf("athens: no default for Private: %w", err)
		}
	}
	c.timesWithDefaults()
	return c, c.sizesWithDefaults()
}

// noNilPointers refuses parts that are a nil pointer: an interface that holds one
// is not nil, and the first request would panic.
func noNilPointers(parts map[string]any) error {
	for name, part := range parts {
		if v := reflect.ValueOf(part); v.Kind() == reflect.Pointer && v.IsNil() {
			return fmt.Errorf("athens: %s is a nil %T; leave it out for none", name, part)
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
		{&o.MaxStale, 15 * time.Second},
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
		o.MaxStale = 0 // each is asked for anew
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
