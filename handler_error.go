package athens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/netguard"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/quota"
	"github.com/athens-go/athens/internal/retryafter"
)

// maxErrorBody is the longest error body in bytes: the go command hides longer
// ones.
const maxErrorBody = 600

// requestError is an error with the request itself.
type requestError struct {
	status int
	err    error
}

func (e *requestError) Error() string { return e.err.Error() }

func (e *requestError) Unwrap() error { return e.err }

// fail answers with err. It is the only place that writes an error response.
// If the body has begun, the connection is cut instead, so that the client does
// not take what it has for the whole.
func (x *exchange) fail(err error) {
	status, retry := Status(err)
	x.failure, x.err, x.outcome = x.describe(err.Error()), err, outcomeOf(err)
	if x.r.Context().Err() != nil {
		x.outcome = OutcomeCanceled
	}
	logPanic(x.h.opts.Logger, err)
	if x.w.answered() {
		// Without the deadline, a middleware that recovers would let the
		// body end cleanly.
		_ = http.NewResponseController(&x.w).SetWriteDeadline(time.Unix(1, 0))
		panic(http.ErrAbortHandler)
	}
	header := x.w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Location", "Accept-Ranges"} {
		header.Del(name)
	}
	if login, ok := errors.AsType[*RefusedError](err); ok && status == http.StatusUnauthorized && login.Challenge != "" {
		header.Set("WWW-Authenticate", login.Challenge)
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	retryafter.Set(header, retry)
	body := x.describe(x.publicText(err)) + "\n" // the log has the whole
	header.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write([]byte(body)) // the client has gone: nothing to tell it
	}
}

// defaultRetry is what Retry-After says when the source does not.
const defaultRetry = 5 * time.Second

// Status returns the HTTP status that a [Handler] answers err with, and for how long
// its Retry-After header asks the client to wait; zero means that there is no such
// header. A nil error is 200.
func Status(err error) (code int, retryAfter time.Duration) {
	if err == nil {
		return http.StatusOK, 0
	}
	if exceeded, ok := errors.AsType[*quota.Error](err); ok {
		return http.StatusTooManyRequests, exceeded.RetryAfter // not 404: clients must not go elsewhere
	}
	var request *requestError
	if errors.As(err, &request) {
		if refused, ok := errors.AsType[*RefusedError](request.err); ok {
			return refused.answer()
		}
		return request.status, 0
	}
	switch e := outermost(err).(type) {
	case *MissingError:
		return http.StatusNotFound, 0
	case *BlockedError:
		if e.Removed {
			return http.StatusGone, 0
		}
		if e.Until.IsZero() {
			return http.StatusForbidden, 0
		}
		return http.StatusForbidden, max(time.Until(e.Until), time.Second)
	case *InvalidError, *ConflictError:
		return http.StatusBadGateway, 0
	case *UnavailableError:
		if fault := ownFault(err); fault != 0 {
			return statusOfStore(fault)
		}
		retry := e.RetryAfter
		if retry <= 0 {
			retry = defaultRetry
		}
		if e.Timeout() {
			return http.StatusGatewayTimeout, retry
		}
		return http.StatusServiceUnavailable, retry
	case *storeError:
		return statusOfStore(ownFault(e))
	}
	if fault := ownFault(err); fault != 0 {
		return statusOfStore(fault)
	}
	var refused *RefusedError
	var crash *flight.PanicError
	switch {
	case errors.As(err, &refused):
		return refused.answer()
	case errors.As(err, &crash):
		return http.StatusInternalServerError, 0
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, defaultRetry
	case errors.Is(err, context.Canceled), errors.Is(err, flight.ErrClosed):
		return http.StatusServiceUnavailable, defaultRetry
	}
	return http.StatusBadGateway, defaultRetry
}

// describe says on one line which module and version were asked for, what was
// tried, and why it failed.
func (x *exchange) describe(why string) string {
	m := x.req.Module
	var what string
	switch x.req.Kind {
	case protocol.List:
		what = m.Path + ": list"
	case protocol.Latest:
		what = m.Path + "@latest"
	case protocol.Query:
		what = m.Path + "@" + fmt.Sprintf("%+q", m.Version)
	case protocol.Info:
		what = m.String() + ": .info"
	case protocol.Mod:
		what = m.String() + ": .mod"
	case protocol.Zip:
		what = m.String() + ": .zip"
	case protocol.SumDB:
		what = "sumdb " + x.req.DB
		if m.Path != "" {
			what += ": " + m.String()
		}
	}
	for _, said := range []string{what + ": ", m.String() + ": ", m.Path + ": "} {
		if m.Path != "" { // said once is enough, but URLs stay whole
			why = strings.TrimPrefix(why, said)
			why = strings.ReplaceAll(why, " "+said, " ")
		}
	}
	if x.source != "" && x.source != SourceStore {
		why = "not held, asked " + x.source + ": " + why
	}
	if what != "" {
		why = what + ": " + why
	}
	return printable(why, maxErrorBody-1)
}

// What fails on a machine is its own fault wherever it happens, and what may also be
// somebody else's is so where it is about a local file.
var (
	ownFaults  = [...]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE}
	fileFaults = [...]syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EIO, syscall.ENOTDIR, syscall.EISDIR, syscall.ENAMETOOLONG}
)

// ownFault returns why the machine that this server runs on failed, wherever in err that
// is: in the store, or in the repositories that a Fetcher keeps. Zero is no such fault.
func ownFault(err error) syscall.Errno {
	for _, errno := range ownFaults {
		if errors.Is(err, errno) {
			return errno
		}
	}
	var inPath *fs.PathError
	var inLink *os.LinkError
	if errors.As(err, &inPath) || errors.As(err, &inLink) {
		for _, errno := range fileFaults {
			if errors.Is(err, errno) {
				return errno
			}
		}
	}
	return 0
}

// statusOfStore is Status of a store that failed for that reason.
func statusOfStore(fault syscall.Errno) (code int, retryAfter time.Duration) {
	if fault == syscall.ENOSPC || fault == syscall.EDQUOT {
		return http.StatusInsufficientStorage, time.Minute
	}
	return http.StatusServiceUnavailable, defaultRetry
}

// publicText is what a client is told of err: no path of this machine, and no address
// in its network.
func (x *exchange) publicText(err error) string {
	text := err.Error()
	if _, ok := outermost(err).(*UnavailableError); ok || outermost(err) == nil {
		if fault := ownFault(err); fault != 0 {
			text = "the disk of this server failed: " + fault.Error()
		}
	}
	for _, path := range localPaths(err) {
		text = strings.ReplaceAll(text, path, hiddenPath)
	}
	text = localPath.ReplaceAllStringFunc(text, func(match string) string {
		path := strings.TrimLeft(match, "\t\n\f\r \"'(=[,;")
		if !strings.HasPrefix(path, "file:") && strings.Contains(x.r.URL.Path, path) {
			return match // the client's own words
		}
		return match[:len(match)-len(path)] + hiddenPath
	})
	return netguard.WithoutAddresses(errors.New(text)).Error()
}

// hiddenPath stands where a path was.
const hiddenPath = "(a local file)"

// localPath finds an absolute path in a text, whoever put it there; URLs stay whole.
// The last form is that of Windows, where names of folders have spaces.
var localPath = regexp.MustCompile(`(?:^|[\s"'(=\[,;])(?:(?:/[^/\s"'():;,]+){2,}/?|file://[^\s"']+|` +
	`(?:[A-Za-z]:[\\/]|\\\\)[^\s"'():;,]*(?: [^\s"'():;,\\]*\\[^\s"'():;,]*)*)`)

// windowsRoot begins an absolute path on Windows.
var windowsRoot = regexp.MustCompile(`^(?:[A-Za-z]:[\\/]|\\\\)`)

// localPaths returns the paths that the errors of the os package in err are about.
func localPaths(err error) []string {
	var all []string
	switch e := err.(type) {
	case nil:
		return nil
	case *fs.PathError:
		all = append(all, e.Path)
	case *os.LinkError:
		all = append(all, e.Old, e.New)
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		all = append(all, localPaths(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, localPaths(inner)...)
		}
	}
	paths := all[:0]
	for _, path := range all {
		if len(path) > 1 && strings.HasPrefix(path, "/") || windowsRoot.MatchString(path) {
			paths = append(paths, path)
		}
	}
	return paths
}
