package athens

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/mod/module"
)

// Names in events, traces and log lines.
const (
	// Values of Event.Op. Options.Trace gets all but OpRequest.
	OpRequest = "request" // a client's request
	OpInfo    = "info"    // one file of a version is fetched from a source
	OpMod     = "mod"
	OpZip     = "zip"
	OpList    = "list" // a source is asked a question
	OpLatest  = "latest"
	OpQuery   = "query"
	OpSumDB   = "sumdb"
	OpPut     = "put"    // .info and .mod are stored
	OpCommit  = "commit" // a zip is stored
	OpFill    = "fill"   // a fill runs

	// Values of Event.Outcome.
	OutcomeHeld         = "held"         // served from the store
	OutcomeLocated      = "located"      // redirected to the store's own URL, see ZipLocator
	OutcomeRedirect     = "redirect"     // redirected to the upstream
	OutcomeFetch        = "fetch"        // served from a source
	OutcomeRemembered   = "remembered"   // a source's earlier answer to list, @latest or a query
	OutcomeDone         = "done"         // an operation other than a request succeeded
	OutcomeUnauthorized = "unauthorized" // 401
	OutcomeBlocked      = "blocked"      // 403, or nothing left to list
	OutcomeMissing      = "missing"      // a definite "not found"
	OutcomeInvalid      = "invalid"      // any other 4xx: the request is malformed
	OutcomeCanceled     = "canceled"     // the client left before the answer ended
	OutcomeFailed       = "failed"       // any other error

	// Values of Event.Source.
	SourceStore    = "store"
	SourceUpstream = "upstream"
	SourceVCS      = "vcs"
	SourceMemory   = "memory" // what a source said earlier
)

// Event is what [Options].Observe learns of: a client's request that was
// answered, or an operation on a source or the store that ended. Fields that do
// not apply are zero.
type Event struct {
	Op       string         // OpRequest, OpInfo, …
	Module   module.Version // Version may be empty, or a query
	File     string         // of a request: list, latest, info, mod, zip, query, sumdb or unknown; of a fill: mod or zip
	Outcome  string         // OutcomeHeld, …
	Source   string         // SourceStore, …: where the answer came from
	Status   int            // of a request: HTTP status
	Bytes    int64          // of the body that was sent, or of the file that was fetched or stored
	Duration time.Duration
	Err      error         // why it failed; it may hold credentials and local paths
	Request  *http.Request // of a request; not to be kept
}

// operation is one use of a source or of the store, as Trace and Observe see it.
type operation struct {
	opts  *Options
	ctx   context.Context
	event Event
	start time.Time
	trace func(error)
}

// begin starts an operation, which runs on the operation's ctx.
func (o *Options) begin(ctx context.Context, op, source string, m module.Version) operation {
	p := operation{opts: o, ctx: ctx, event: Event{Op: op, Source: source, Module: m}, start: time.Now()}
	if o.Trace != nil {
		p.ctx, p.trace = o.Trace(ctx, op, m)
	}
	return p
}

// end tells Trace and Observe the result.
func (p *operation) end(err error) {
	if p.trace != nil {
		p.trace(err)
	}
	if p.opts.Observe != nil {
		p.event.Err, p.event.Duration = err, time.Since(p.start)
		if p.event.Outcome = outcomeOf(err); err == nil {
			p.event.Outcome = OutcomeDone
		}
		p.opts.Observe(p.event)
	}
}

// outcomeOf names what err means.
func outcomeOf(err error) string {
	switch status, _ := Status(err); status {
	case http.StatusUnauthorized:
		return OutcomeUnauthorized
	case http.StatusForbidden:
		return OutcomeBlocked
	case http.StatusNotFound:
		return OutcomeMissing
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestURITooLong:
		return OutcomeInvalid
	}
	return OutcomeFailed
}
