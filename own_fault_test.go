package athens

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What fails on the machine itself is told as that, wherever it failed; and no body has
// a path of the machine, or an address in its network. The log has both.
func TestOwnFaults(t *testing.T) {
	file := func(errno error) error {
		return &fs.PathError{Op: "open", Path: "/srv/my cache/git/x.pack", Err: errno}
	}
	source := func(err error) error { return &UnavailableError{Source: "version control of example.com/m", Err: err} }
	for name, c := range map[string]struct {
		err    error
		status int
		body   string
	}{
		"full cache":       {source(fmt.Errorf("fetch: %w", file(syscall.ENOSPC))), 507, "the disk of this server failed: no space left"},
		"quota of cache":   {source(errors.Join(errors.New("fetch"), file(syscall.EDQUOT))), 507, "the disk of this server failed: "},
		"cache read only":  {source(file(syscall.EROFS)), 503, "the disk of this server failed: read-only"},
		"cache of another": {source(file(syscall.EACCES)), 503, "the disk of this server failed: permission denied"},
		"no descriptors":   {source(&os.SyscallError{Syscall: "socket", Err: syscall.EMFILE}), 503, "the disk of this server failed: too many open files"},
		"bare":             {file(syscall.EIO), 503, "the disk of this server failed: "},
		"renamed":          {&storeError{&os.LinkError{Op: "rename", Old: "/srv/a", New: "/srv/b", Err: syscall.ENOSPC}}, 507, "the store failed: rename (a local file) (a local file): no space"},
		"store":            {&storeError{file(syscall.EROFS)}, 503, "the store failed: open (a local file): read-only"},
		"words of a tool":  {source(errors.New("git: cd /srv/cache/vcs/01: could not create '/srv/cache/x'")), 503, "git: cd (a local file): could not create '(a local file)'"},
		"file URL":         {source(errors.New("get file:///srv/mirror/x: odd")), 503, "get (a local file) odd"},
		"addresses":        {source(errors.New("lookup git.test on 10.1.2.3:53: no such host")), 503, "lookup git.test: no such host"},
		"IPv6":             {&InvalidError{Err: errors.New("read tcp [fd00::1]:443: reset")}, 502, "reset"},
		"URLs stay":        {source(errors.New(`Get "https://git.test/srv/a/b": odd`)), 503, "https://git.test/srv/a/b"},
		"the client's own": {&requestError{400, errors.New("no path: /example.com/m/@v/v1.0.0.info")}, 400, "/example.com/m/@v/v1.0.0.info"},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			h := &Handler{opts: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
			w := httptest.NewRecorder()
			x := &exchange{h: h, r: httptest.NewRequest(http.MethodGet, "/example.com/m/@v/v1.0.0.info", nil)}
			x.w.ResponseWriter = w
			x.fail(c.err)
			assert.Equal(t, c.status, w.Code)
			assert.Contains(t, w.Body.String(), c.body)
			for _, secret := range []string{"/srv/my", "/srv/cache", "/srv/mirror", "10.1.2.3", "fd00"} {
				assert.NotContains(t, w.Body.String(), secret)
			}
			assert.Equal(t, printable(x.describe(c.err.Error()), 600), x.failure, "the log has the whole")
		})
	}
}
