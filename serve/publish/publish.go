// Package publish takes versions of modules that live in no repository, from clients with a
// credential:
//
//	PUT /corp.example/x/@v/v1.2.3.zip
//
// The body is a module zip, as golang.org/x/mod/zip makes it and as the go command reads it.
// The answer is 201 with the version's two lines of go.sum, or 200 with the same lines if the
// server has this version already with the same content. A published version never changes.
//
//	uploads, err := publish.New(handler, &publish.Options{Publish: …})
//	…
//	root := uploads.Front(tokens.Require(serve.Front(handler, health, page)))
//
// [athens.Options].Published of the handler says for which modules, and
// [athens.Handler.Publish] how an upload is checked. Other answers, each of which means that
// nothing was stored:
//
//   - 400: the version can't be published, such as a pseudo-version, or the upload broke off
//   - 401 and 403: the credential is missing, or does not suffice for this module; a module
//     that is not published here, or whose version is blocked, is 403 too
//   - 408: the upload was too slow
//   - 409: the version is there with other content; the text has both hashes
//   - 410: an operator has removed the version; the text has the reason
//   - 413: the zip is too large
//   - 415: the request has a Content-Encoding
//   - 422: the body is not a valid zip of this version, or its go.mod names another module
//   - 429: too many uploads are under way
//   - 503 and 507: the store failed, or is full
//
// An upload takes no slot, and none of it is read, before its credential was checked. It may
// take 30 seconds, one more for each 64 KiB that have arrived, and 30 minutes at most.
// [Options] bounds how many uploads run at once, in all and for one caller.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/serve/internal/refusal"
)

// Options configures an [API]. With its zero value every upload is refused.
type Options struct {
	// Publish returns the name of the caller, for the log and for MaxUploadsEach, if a
	// request has the right to publish versions of a module path. It is asked before
	// anything of the upload is read. An error that is or wraps an
	// [*athens.RefusedError] is answered as it says, an [*athens.UnavailableError]
	// with 503, any other with 403. If it is nil, nobody may publish.
	Publish func(r *http.Request, path string) (name string, err error)

	// MaxUploads bounds how many uploads run at once. Each may take the handler's
	// MaxZipBytes of the store's disk. Zero means 16.
	MaxUploads int
	// MaxUploadsEach bounds how many of them are of one caller, so that one that is slow
	// leaves places for others. Zero means 4, or MaxUploads if that is less.
	MaxUploadsEach int

	// Changed is told of each new version before its caller gets the answer: kind is
	// "recorded", and the reason is empty. If it is nil, nobody is told.
	Changed func(ctx context.Context, kind string, m module.Version, reason string)
	// Logger gets one line for each version that is published, and for each failure of
	// the store. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// API answers the uploads. Make one with [New].
type API struct {
	handler *athens.Handler
	opts    Options
	places  *limit.Keyed[string] // by the caller's name
}

// New returns the API of a handler. A nil opts means the zero [Options]. It fails if handler
// is nil or a limit is negative.
func New(handler *athens.Handler, opts *Options) (*API, error) {
	if handler == nil {
		return nil, errors.New("publish: New needs a handler; it is nil")
	}
	a := &API{handler: handler}
	if opts != nil {
		a.opts = *opts
	}
	if a.opts.MaxUploads < 0 || a.opts.MaxUploadsEach < 0 {
		return nil, errors.New("publish: MaxUploads or MaxUploadsEach is negative; zero means the default")
	}
	if a.opts.MaxUploads == 0 {
		a.opts.MaxUploads = 16
	}
	if a.opts.MaxUploadsEach == 0 {
		a.opts.MaxUploadsEach = 4
	}
	a.opts.MaxUploadsEach = min(a.opts.MaxUploadsEach, a.opts.MaxUploads)
	if a.opts.Logger == nil {
		a.opts.Logger = slog.New(slog.DiscardHandler)
	}
	a.places = limit.NewKeyed[string](a.opts.MaxUploadsEach, a.opts.MaxUploads, 4*a.opts.MaxUploads)
	return a, nil
}

// Front returns a handler that answers each PUT of a version's zip, and passes all other
// requests on to next. It checks the credentials itself: put it before what else does.
func (a *API) Front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, ok := asked(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if err := a.take(w, r, m); err != nil {
			// The server reads a little of an unread body, to keep the connection.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(dropTime))
			refusal.Answer(w, a.opts.Logger, "upload", err)
		}
	})
}

// asked returns the version that a request wants to publish.
func asked(r *http.Request) (module.Version, bool) {
	if r.Method != http.MethodPut || strings.Contains(strings.ToLower(r.URL.RawPath), "%2f") {
		return module.Version{}, false
	}
	req, err := protocol.Parse(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil && !errors.Is(err, protocol.ErrVersion) { // Publish says what is wrong with a version
		return module.Version{}, false
	}
	return req.Module, req.Kind == protocol.Zip
}

// placeWait is how long an upload waits for a place.
const placeWait = 5 * time.Second

// take takes an upload.
func (a *API) take(w http.ResponseWriter, r *http.Request, m module.Version) error {
	name, err := a.authorize(r, m.Path)
	if err != nil {
		return err
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return &refusal.Error{Status: http.StatusUnsupportedMediaType, Err: errors.New("the upload has a Content-Encoding; send the zip as it is")}
	}
	leave, err := a.places.Acquire(r.Context(), name, placeWait)
	if errors.Is(err, limit.ErrBusy) {
		err = &refusal.Error{Status: http.StatusTooManyRequests, RetryAfter: 5 * time.Second, Err: fmt.Errorf("%d uploads of one caller, or %d in all, are under way; try again", a.opts.MaxUploadsEach, a.opts.MaxUploads)}
	}
	if err != nil {
		return err
	}
	defer leave()
	body := newUpload(w, r)
	start := time.Now()
	sums, created, err := a.handler.Publish(r.Context(), m, body)
	body.end()
	if body.err != nil {
		return body.err
	}
	if err != nil {
		return explain(m, err)
	}
	a.opts.Logger.Info("version published", "module", m.Path, "version", m.Version, "new", created, "bytes", body.read, "user", name, "ms", time.Since(start).Milliseconds())
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		if a.opts.Changed != nil {
			a.opts.Changed(context.WithoutCancel(r.Context()), "recorded", m, "")
		}
	}
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, strings.Join(sums, "\n")) // the client may have gone
	return nil
}

// authorize returns who wants to publish.
func (a *API) authorize(r *http.Request, path string) (string, error) {
	if a.opts.Publish == nil {
		return "", refusal.NoLogins()
	}
	name, err := a.opts.Publish(r, path)
	return name, refusal.Forbidden(err)
}

// explain gives what is wrong with an upload its status: for a source, the same would be a
// fault of the source.
func explain(m module.Version, err error) error {
	if conflict, ok := errors.AsType[*athens.ConflictError](err); ok {
		return &refusal.Error{Status: http.StatusConflict, Err: fmt.Errorf("%s is there with other content, and a version never changes: its .%s is %s, that of the upload %s; publish another version",
			m, conflict.File, conflict.Held, conflict.Got)}
	}
	if invalid, ok := errors.AsType[*athens.InvalidError](err); ok {
		return &refusal.Error{Status: http.StatusUnprocessableEntity, Err: invalid}
	}
	return err
}
