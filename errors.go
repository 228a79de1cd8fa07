package athens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"golang.org/x/mod/module"
)

// MissingError is the definite answer that something does not exist: the
// module, the version, or one of its files. The server answers 404 and
// remembers it for a while. It satisfies errors.Is(err, [fs.ErrNotExist]), but
// nothing else that does is definite.
type MissingError struct {
	Path  string // module path
	Query string // version or query; empty if the whole module is missing
	Err   error  // the source's own error
}

func (e *MissingError) Error() string { return describe(e.Path, e.Query, "not found", e.Err) }

// Unwrap returns Err.
func (e *MissingError) Unwrap() error { return e.Err }

// Is reports whether target is [fs.ErrNotExist].
func (e *MissingError) Is(target error) bool { return target == fs.ErrNotExist }

// BlockedError says that policy forbids a version, or that an operator took it back. The
// server answers 403, or 410 if it was removed, with the reason.
type BlockedError struct {
	Path    string // module path
	Version string // version or query; empty if the whole module is blocked
	Reason  string // shown to the user
	// Until is when the version may be served, for Retry-After; zero means never.
	Until time.Time
	// Removed says that an operator removed the version from the store, see [Remover].
	Removed bool
}

func (e *BlockedError) Error() string {
	what := "blocked"
	if e.Removed {
		what = "removed"
	}
	return describe(e.Path, e.Version, what, errors.New(e.Reason))
}

// RefusedError says that the server refuses a request, whatever it asks for: the client
// has to log in, or has reached a limit. [Options].Allow and AllowFetch return it.
type RefusedError struct {
	// Status is what the server answers: 401, 403 or 429. Any other value, such as zero,
	// counts as 403.
	Status int
	// Reason is shown to the user. That of a limit names the setting.
	Reason string
	// Challenge is the WWW-Authenticate header of a 401, such as `Basic realm="modules"`.
	Challenge string
	// RetryAfter is how long it takes until another request can succeed, for a 429. Zero
	// leaves that to the server.
	RetryAfter time.Duration
}

func (e *RefusedError) Error() string {
	switch {
	case e.Reason != "":
		return e.Reason
	case e.Status == http.StatusUnauthorized:
		return "log in to use this server"
	case e.Status == http.StatusTooManyRequests:
		return "too many requests"
	}
	return "this server refuses the request"
}

// answer returns the status and the Retry-After that the server answers with.
func (e *RefusedError) answer() (code int, retryAfter time.Duration) {
	switch e.Status {
	case http.StatusUnauthorized:
		return e.Status, 0
	case http.StatusTooManyRequests:
		return e.Status, cmp.Or(max(e.RetryAfter, 0), defaultRetry)
	}
	return http.StatusForbidden, 0
}

// InvalidError says that a source's answer is wrong: a broken zip, an .info of another
// version, a hash that the checksum database does not know, or that the request came back
// to a server that it had come through. Nothing is stored. The server answers 502 without
// Retry-After.
type InvalidError struct {
	Path    string // module path
	Version string // version or query; may be empty
	Err     error  // what is wrong with it
}

func (e *InvalidError) Error() string { return describe(e.Path, e.Version, "invalid", e.Err) }

// Unwrap returns Err.
func (e *InvalidError) Unwrap() error { return e.Err }

// ConflictError says that a source offers other content for a version than the store
// holds. The store does not change. The server answers 502 without Retry-After if the
// content was needed, and logs the conflict as an error.
type ConflictError struct {
	Module module.Version
	File   File   // the file that differs
	Held   string // what is held: a hash or the value that differs
	Got    string // what was offered
}

func (e *ConflictError) Error() string {
	return describe(e.Module.Path, e.Module.Version, "conflict",
		fmt.Errorf("the .%s held is %s, the source now has %s", e.File, e.Held, e.Got))
}

// UnavailableError says that a source could not be asked. The server answers
// 503 with Retry-After, or 504 if the source was too slow.
type UnavailableError struct {
	Source     string        // what was asked, without credentials
	RetryAfter time.Duration // when to try again; zero leaves that to the server
	Err        error         // why it failed
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s is unavailable: %v", e.Source, e.Err)
}

// Unwrap returns Err.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Timeout reports whether the source was asked but did not answer in time.
func (e *UnavailableError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

// Final reports whether a retry can't change err: it is a [*MissingError],
// [*BlockedError], [*InvalidError] or [*ConflictError]. The outermost error of this package
// decides, so an [*UnavailableError] that wraps a MissingError is not final. A
// [FillScheduler] gives up after a final error.
func Final(err error) bool {
	switch outermost(err).(type) {
	case *MissingError, *BlockedError, *InvalidError, *ConflictError:
		return true
	}
	return false
}

// outermost returns the first error in err's chain that is of this package, or
// nil. It does not look into joined errors: they are not definite.
func outermost(err error) error {
	for ; err != nil; err = errors.Unwrap(err) {
		switch err.(type) {
		case *MissingError, *BlockedError, *InvalidError, *ConflictError, *UnavailableError, *storeError:
			return err
		}
	}
	return nil
}

// storeError says that the Storage failed, not a source.
type storeError struct{ err error }

func (e *storeError) Error() string { return "the store failed: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// describe writes "path@version: what: why", leaving out what is empty.
func describe(path, version, what string, why error) string {
	s := path
	if version != "" {
		s += "@" + version
	}
	if s != "" {
		s += ": "
	}
	s += what
	if why != nil && why.Error() != "" {
		s += ": " + why.Error()
	}
	return s
}
