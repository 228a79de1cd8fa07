// Package refusal answers the requests that the APIs of serve refuse: those of operators and
// CI jobs, and those of clients that publish.
package refusal

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/retryafter"
)

// Error is an error with its status. The client is shown its text.
type Error struct {
	Status     int
	RetryAfter time.Duration // zero: the client is not told
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// NoLogins is why a request that needs a credential is refused by a server that knows none.
func NoLogins() error {
	return &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "this server has no logins"}
}

// Forbidden gives the error of a hook that was asked for a right its status: 403, unless it
// says itself that a login is missing or that nobody can tell now.
func Forbidden(err error) error {
	_, refused := errors.AsType[*athens.RefusedError](err)
	_, down := errors.AsType[*athens.UnavailableError](err)
	if err == nil || refused || down {
		return err
	}
	return &Error{Status: http.StatusForbidden, Err: err}
}

// Answer answers with an error. A fault of the server is logged; what failed, such as "upload",
// is all that the client learns of it, because the error may name paths of this
// machine.
func Answer(w http.ResponseWriter, log *slog.Logger, what string, err error) {
	status, retry := athens.Status(err)
	own, isOwn := errors.AsType[*Error](err)
	if isOwn {
		status, retry = own.Status, own.RetryAfter
	}
	header := w.Header()
	if login, ok := errors.AsType[*athens.RefusedError](err); ok && status == http.StatusUnauthorized && login.Challenge != "" {
		header.Set("WWW-Authenticate", login.Challenge)
	}
	retryafter.Set(header, retry)
	text := err.Error()
	if status >= http.StatusInternalServerError {
		log.Error(what+" failed", "error", text)
		if !isOwn {
			text = "the " + what + " failed; the server's log has the reason"
		}
	}
	header.Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}
