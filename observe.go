package athens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/oneline"
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
	OpRecord  = "record" // a version is added to the ledger
	OpFill    = "fill"   // a fill runs

	// Values of Event.Outcome.
	OutcomeHeld         = "held"         // served from the store
	OutcomeLocated      = "located"      // redirected to the store's own URL, see ZipLocator
	OutcomeRedirect     = "redirect"     // redirected to the upstream
	OutcomeFetch        = "fetch"        // served from a source
	OutcomeRemembered   = "remembered"   // a source's earlier answer to list, @latest or a query, or a checksum database's
	OutcomeDone         = "done"         // an operation other than a request succeeded
	OutcomeUnauthorized = "unauthorized" // 401
	OutcomeBlocked      = "blocked"      // 403, 410, 429, or nothing left to list
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
	Advisory string        // of a request for a file of a version, see [Route]
	User     string        // of a request: who asked, see RequestInfo
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
	case http.StatusForbidden, http.StatusGone, http.StatusTooManyRequests:
		return OutcomeBlocked
	case http.StatusNotFound:
		return OutcomeMissing
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestURITooLong:
		return OutcomeInvalid
	}
	return OutcomeFailed
}

// observe tells Options.Observe and the log how a request was answered.
func (x *exchange) observe() {
	e := Event{
		Op: OpRequest, Module: x.req.Module, File: fileNames[x.req.Kind], Outcome: x.outcome, Source: x.source,
		Status: x.w.status, Bytes: x.w.bytes, Duration: time.Since(x.start), Err: x.err, Request: x.r, Advisory: x.route.Advisory, User: RequestInfoFrom(x.r.Context()).User,
	}
	if x.remembered && e.Source != SourceStore {
		e.Source = SourceMemory
		if e.Outcome == OutcomeFetch {
			e.Outcome = OutcomeRemembered
		}
	}
	x.h.logRequest(&e, x.failure)
	if x.h.opts.Observe != nil {
		x.h.opts.Observe(e)
	}
}

// attrsHandler is what Options.Logger documents of its handler.
type attrsHandler interface {
	HandleAttrs(ctx context.Context, t time.Time, level slog.Level, msg string, attrs []slog.Attr) error
}

// logRequest writes the line of a request. A failure is worth a warning; what is
// missing, blocked or wrongly asked for is an answer like any other.
func (h *Handler) logRequest(e *Event, failure string) {
	log, ctx, level := h.opts.Logger, e.Request.Context(), slog.LevelInfo
	if e.Outcome == OutcomeFailed {
		level = slog.LevelWarn
	}
	if !log.Enabled(ctx, level) {
		return
	}
	if direct, ok := log.Handler().(attrsHandler); ok {
		line, _ := h.lines.Get().(*[]slog.Attr)
		if line == nil {
			line = new([]slog.Attr)
		}
		*line = e.attrs((*line)[:0], failure)
		_ = direct.HandleAttrs(ctx, time.Now(), level, OpRequest, *line) // there is nowhere to report it
		clear(*line)
		h.lines.Put(line)
		return
	}
	log.LogAttrs(ctx, level, OpRequest, e.attrs(make([]slog.Attr, 0, 12), failure)...)
}

// attrs appends what the line of a request says. docs/operations.md documents the keys.
func (e *Event) attrs(line []slog.Attr, failure string) []slog.Attr {
	if e.Module.Path != "" {
		line = append(line, slog.String("module", e.Module.Path))
	}
	if e.Module.Version != "" {
		line = append(line, slog.String("version", e.Module.Version))
	}
	line = append(line,
		slog.String("file", e.File),
		slog.String("outcome", e.Outcome),
		slog.String("source", e.Source),
		slog.Int("status", e.Status),
		slog.Int64("bytes", e.Bytes),
		milliseconds(e.Duration),
		slog.String("client", host(e.Request.RemoteAddr)))
	if e.User != "" {
		line = append(line, slog.String("user", e.User))
	}
	if e.Advisory != "" {
		line = append(line, slog.String("advisory", e.Advisory))
	}
	if failure != "" {
		line = append(line, slog.String("error", failure))
	}
	return line
}

// host returns an address without its port.
func host(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 && !strings.HasSuffix(addr, "]") {
		addr = addr[:i]
	}
	return strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
}

// fileNames names each kind of request in the log, by protocol.Kind.
var fileNames = [...]string{"unknown", "list", "latest", "info", "mod", "zip", "query", "sumdb"}

func milliseconds(d time.Duration) slog.Attr {
	return slog.Float64("ms", float64(d.Microseconds())/1000)
}

// logPanic logs where a panic happened, if err is one.
func logPanic(log *slog.Logger, err error) {
	if crash, ok := errors.AsType[*flight.PanicError](err); ok {
		log.Error("panic", "value", printable(fmt.Sprint(crash.Value), maxErrorBody), "stack", string(crash.Stack))
	}
}

// warn logs an error that no request ends with.
func warn(log *slog.Logger, msg string, m module.Version, err error) {
	log.Warn(msg, "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
}

// alarm logs an error that an operator has to look into.
func alarm(log *slog.Logger, msg string, m module.Version, err error) {
	log.Error(msg, "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
}

// userinfo finds credentials in URLs, whoever put them into an error; the user's
// name may be a mail address.
var userinfo = regexp.MustCompile(`://[^/\s"']+@`)

// printable makes s one line of printable characters, without credentials and
// of at most limit bytes.
func printable(s string, limit int) string {
	return oneline.Of(userinfo.ReplaceAllString(s, "://"), limit) // cut last, or the cut could hide the @
}
