package athens

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/athens-go/athens/internal/netguard"
)

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
		if path := strings.TrimLeft(match, "\t \"'(=[,;"); !strings.HasPrefix(path, "file:") && strings.Contains(x.r.URL.Path, path) {
			return match // the client's own words
		}
		return match[:strings.IndexAny(match, "/f")] + hiddenPath
	})
	return netguard.WithoutAddresses(errors.New(text)).Error()
}

// hiddenPath stands where a path was.
const hiddenPath = "(a local file)"

// localPath finds an absolute path in a text, whoever put it there; URLs stay whole.
var localPath = regexp.MustCompile(`(?:^|[\s"'(=\[,;])(?:(?:/[^/\s"'():;,]+){2,}/?|file://[^\s"']+)`)

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
		if len(path) > 1 && strings.HasPrefix(path, "/") {
			paths = append(paths, path)
		}
	}
	return paths
}
