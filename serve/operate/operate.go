// Package operate lets operators and CI jobs change what a running server serves, by
// requests with a credential:
//
//	POST /refresh  {"module": "corp.example/x", "version": "v1.2.3"}   or "ref": "main", or neither for @latest
//	POST /remove   {"module": "corp.example/x", "version": "v1.2.3", "reason": "leaks a key"}
//	POST /hide     the same
//	POST /restore  {"module": "corp.example/x", "version": "v1.2.3"}
//
// /refresh asks the source of a module again, fetches the version, and answers with its
// .info: clients can use a tag that was just pushed at once. It also takes the push events
// of GitHub, GitLab and Gitea, see [Options.Hooks]. /remove and /hide take a version back,
// and /restore undoes that, as [athens.Remover] says.
//
//	api, err := operate.New(handler, store, &operate.Options{Authorize: …})
//	…
//	root := api.Front(tokens.Require(serve.Front(handler, health, page)))
//
// The API answers a request without a credential with 401, one whose credential does not
// suffice with 403, a malformed one with another 4xx, and more than 8 at once with 429.
// None of these requests changes anything. A body has at most 64 KiB, that of a push event
// at most 4 MiB, and has to arrive within 10 seconds. The API reads 8 push events at a time.
package operate

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/serve/internal/refusal"
)

// Limits of a request.
const (
	maxBody   = 64 << 10 // bytes
	maxReason = 300      // bytes: an answer to a go command shows that much
	maxRef    = 200      // bytes
	atOnce    = 8
	readTime  = 10 * time.Second // for a body
)

// The rights that [Options.Authorize] is asked for.
const (
	Refresh = "refresh" // to have sources asked anew
	Admin   = "admin"   // to take versions back
)

// Options configures an [API]. With its zero value every request is refused.
type Options struct {
	// Authorize returns the name of the caller, for the log, if a request has the right
	// for a module path. It is asked with an empty path first, before the body is read:
	// whether the caller has the right for any module. An error that is or wraps an
	// [*athens.RefusedError] is answered as that says, any other with 403. If it is
	// nil, only push events are let in.
	Authorize func(r *http.Request, right, path string) (name string, err error)
	// Hooks returns the secrets with which push events are signed, or that they
	// present. It is called for each event. If it is nil or returns none, each event
	// is refused.
	Hooks func() []string
	// Changed is told of each change, before its caller gets the answer: kind is
	// "removed", "hidden", "restored" or "refreshed". Of what was refreshed m.Version may
	// be empty, and only what was removed or hidden has a reason. If it is nil, nobody is told.
	Changed func(ctx context.Context, kind string, m module.Version, reason string)
	// Logger gets one line for each change. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// API answers the requests. Make one with [New].
type API struct {
	handler *athens.Handler
	store   athens.Storage
	opts    Options
	slots   chan struct{} // of operations whose callers have shown their right
	events  chan struct{} // of push events that are being read: nobody knows yet who sends them
	// received are the latest push events, which must not be followed twice.
	received *cache.Cache[[sha256.Size]byte, bool]
}

// New returns the API of a handler and its store. A nil opts means the zero [Options]. It
// fails if handler or store is nil.
func New(handler *athens.Handler, store athens.Storage, opts *Options) (*API, error) {
	if handler == nil || store == nil {
		return nil, errors.New("operate: New needs a handler and its store; one is nil")
	}
	a := &API{handler: handler, store: store, slots: make(chan struct{}, atOnce), events: make(chan struct{}, atOnce), received: cache.New(replayBytes, func([sha256.Size]byte, bool) int64 { return 0 })}
	if opts != nil {
		a.opts = *opts
	}
	if a.opts.Logger == nil {
		a.opts.Logger = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// Front returns a handler that answers the POST requests of the API, and passes all others
// on to next. It checks the credentials itself: put it before what else does.
func (a *API) Front(next http.Handler) http.Handler {
	orders := map[string]func(http.ResponseWriter, *http.Request) error{
		"/refresh": a.refresh,
		"/remove":  a.takeBack("removed", athens.Remover.Remove),
		"/hide":    a.takeBack("hidden", athens.Remover.Hide),
		"/restore": a.takeBack("restored", func(r athens.Remover, ctx context.Context, m module.Version, _ string) error {
			return r.Restore(ctx, m)
		}),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		does := orders[r.URL.Path]
		if does == nil || r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		if err := does(w, r); err != nil {
			refusal.Answer(w, a.opts.Logger, "operation", err)
		}
	})
}

// malformed is the refusal of a request that can't be understood.
func malformed(format string, args ...any) error {
	return &refusal.Error{Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// authorize returns who may do that.
func (a *API) authorize(r *http.Request, right, path string) (string, error) {
	if a.opts.Authorize == nil {
		return "", refusal.NoLogins()
	}
	name, err := a.opts.Authorize(r, right, path)
	return name, refusal.Forbidden(err)
}

// enter takes one of the places in slots, and returns what gives it back.
func enter(slots chan struct{}, what string) (leave func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	default:
		return nil, &refusal.Error{Status: http.StatusTooManyRequests, RetryAfter: time.Second, Err: fmt.Errorf("more than %d %s at once", cap(slots), what)}
	}
}

// order is the body of a request.
type order struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	Ref     string `json:"ref"`
	Reason  string `json:"reason"`
}

// read returns the order of a caller who has a right for its module, and the caller's name.
func (a *API) read(w http.ResponseWriter, r *http.Request, right string) (o order, name string, err error) {
	if _, err := a.authorize(r, right, ""); err != nil {
		return o, "", err
	}
	data, err := body(w, r, maxBody)
	if err != nil {
		return o, "", err
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, "", malformed("the body is not a JSON request: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return o, "", malformed("the body has more than one JSON object")
	}
	if err := module.CheckPath(o.Module); err != nil {
		return o, "", malformed("module: %w", err)
	}
	if o.Version != "" {
		if err := module.Check(o.Module, o.Version); err != nil || module.CanonicalVersion(o.Version) != o.Version {
			return o, "", malformed("version %.80q is not a canonical version of %s, such as v1.2.3", o.Version, o.Module)
		}
	}
	name, err = a.authorize(r, right, o.Module)
	return o, name, err
}

// body reads the JSON body of a request.
func body(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return nil, &refusal.Error{Status: http.StatusUnsupportedMediaType, Err: errors.New("the Content-Type is not application/json")}
	}
	// A server of another kind may have no deadlines; those of net/http have.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(readTime)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, &refusal.Error{Status: http.StatusRequestEntityTooLarge, Err: fmt.Errorf("the body has more than %d bytes", most)}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &refusal.Error{Status: http.StatusRequestTimeout, Err: fmt.Errorf("the body did not arrive within %v", readTime)}
	}
	if err != nil {
		return nil, malformed("read the body: %w", err)
	}
	return data, nil
}

// takeBack returns what marks a version, for a caller with the right Admin. Kind is what
// the version then is; a caller that restores it gives no reason.
func (a *API) takeBack(kind string, mark func(athens.Remover, context.Context, module.Version, string) error) func(http.ResponseWriter, *http.Request) error {
	reasoned := kind != "restored"
	return func(w http.ResponseWriter, r *http.Request) error {
		o, name, err := a.read(w, r, Admin)
		switch {
		case err != nil:
			return err
		case o.Version == "" || o.Ref != "":
			return malformed("give a module and a version")
		case !reasoned && o.Reason != "":
			return malformed("this request takes no reason")
		}
		if reasoned {
			if err := CheckReason(o.Reason); err != nil {
				return &refusal.Error{Status: http.StatusBadRequest, Err: err}
			}
		}
		store, ok := a.store.(athens.Remover)
		if !ok {
			return &refusal.Error{Status: http.StatusNotImplemented, Err: errors.New("this store can't remove or hide versions")}
		}
		leave, err := enter(a.slots, "operations")
		if err != nil {
			return err
		}
		defer leave()
		m := module.Version{Path: o.Module, Version: o.Version}
		if err := mark(store, r.Context(), m, o.Reason); err != nil {
			return err
		}
		a.changed(r.Context(), kind, m, o.Reason)
		a.opts.Logger.Warn("version taken back", "operation", strings.TrimPrefix(r.URL.Path, "/"), "module", m.Path, "version", m.Version, "reason", o.Reason, "user", name)
		return answer(w, m)
	}
}

// changed tells Options.Changed, also if the caller has left.
func (a *API) changed(ctx context.Context, kind string, m module.Version, reason string) {
	if a.opts.Changed != nil {
		a.opts.Changed(context.WithoutCancel(ctx), kind, m, reason)
	}
}

// CheckReason returns what is wrong with the reason for which a version is taken back: it is
// one printable line of at most 300 bytes.
func CheckReason(reason string) error {
	unprintable := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
	switch {
	case strings.TrimSpace(reason) == "":
		return errors.New("give a reason; users see it")
	case len(reason) > maxReason:
		return fmt.Errorf("the reason has %d bytes, more than %d", len(reason), maxReason)
	case strings.ContainsFunc(reason, unprintable):
		return errors.New("the reason is not one line of printable characters")
	}
	return nil
}

// answer answers with JSON.
func answer(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(data, '\n')) // the client may have gone
	return nil
}
