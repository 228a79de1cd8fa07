package athens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

func TestPrintable(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":                {"not found", "not found"},
		"lines":                {"a\r\nb\tc\u2028d", "a b c d"},
		"blanks":               {"  a   b ", "a b"},
		"escapes":              {"\x1b[31mred\x1b[0m\x7f", "[31mred [0m"},
		"directions":           {"a\u202eb\u200bc", "a b c"},
		"no UTF-8":             {"a\xffb", "a b"},
		"letters":              {"größe 世界", "größe 世界"},
		"user and password":    {"Get https://user:s3cret@host/x: no", "Get https://host/x: no"},
		"token":                {"https://s3cret@host", "https://host"},
		"mail address as user": {"https://me@corp:s3cret@host/", "https://host/"},
		"two URLs":             {"https://s3cret@a, ssh://git:s3cret@b", "https://a, ssh://b"},
		"a module, no user":    {"https://host/example.com/m/@v/v1.0.0.info", "https://host/example.com/m/@v/v1.0.0.info"},
		"behind very much":     {strings.Repeat(" ", 400) + "https://user:s3cret" + strings.Repeat("x", 400) + "@host", "https://host"},
		"cut":                  {strings.Repeat("ab", 99), strings.Repeat("ab", 48) + "a…"},
		"cut in a letter":      {strings.Repeat("世", 99), strings.Repeat("世", 32) + "…"},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, printable(c.in, 100)) })
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("https://user:pw@host/ \x00\n", 40)
	f.Add(strings.Repeat("é", 99), 10)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 4 + limit&0x3ff
		got := printable(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q has %q", got, r)
			}
		}
	})
}

func TestStatus(t *testing.T) {
	missing := &MissingError{Path: "m"}
	for name, c := range map[string]struct {
		err    error
		status int
		retry  time.Duration
	}{
		"missing":                   {missing, 404, 0},
		"missing, wrapped":          {fmt.Errorf("list: %w", missing), 404, 0},
		"missing and more":          {errors.Join(missing, errors.New("x")), 502, defaultRetry},
		"not exist":                 {fs.ErrNotExist, 502, defaultRetry},
		"not exist, of a file":      {&os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, 502, defaultRetry},
		"blocked":                   {&BlockedError{}, 403, 0},
		"removed":                   {&BlockedError{Removed: true}, 410, 0},
		"removed, by the store":     {storageError(fmt.Errorf("open: %w", &BlockedError{Removed: true})), 410, 0},
		"invalid":                   {&InvalidError{Err: missing}, 502, 0},
		"conflict":                  {&ConflictError{}, 502, 0},
		"refused":                   {&RefusedError{}, 403, 0},
		"refused with no such code": {fmt.Errorf("hook: %w", &RefusedError{Status: 204}), 403, 0},
		"not logged in":             {fmt.Errorf("hook: %w", &RefusedError{Status: 401, RetryAfter: time.Hour}), 401, 0},
		"too many":                  {&RefusedError{Status: 429}, 429, defaultRetry},
		"too many, of a hook":       {refusedRequest(errors.Join(&RefusedError{Status: 429, RetryAfter: time.Hour}, errors.New("x"))), 429, time.Hour},
		"another refusal":           {refusedRequest(&UnavailableError{Err: errors.New("x")}), 403, 0},
		"a source refuses":          {&UnavailableError{Err: &RefusedError{Status: 401}}, 503, defaultRetry},
		"down":                      {&UnavailableError{Err: errors.New("x")}, 503, defaultRetry},
		"down, by something absent": {&UnavailableError{Err: missing}, 503, defaultRetry},
		"busy":                      {&UnavailableError{Err: errors.New("x"), RetryAfter: time.Hour}, 503, time.Hour},
		"slow":                      {&UnavailableError{Err: context.DeadlineExceeded}, 504, defaultRetry},
		"slow, in the network":      {&UnavailableError{Err: os.ErrDeadlineExceeded}, 504, defaultRetry},
		"out of time":               {context.DeadlineExceeded, 504, defaultRetry},
		"cut off":                   {context.Canceled, 503, defaultRetry},
		"store failed":              {&storeError{errors.New("x")}, 503, defaultRetry},
		"store lost a file":         {&storeError{fs.ErrNotExist}, 503, defaultRetry},
		"store full":                {&storeError{fmt.Errorf("write: %w", syscall.ENOSPC)}, 507, time.Minute},
		"quota used up":             {&storeError{syscall.EDQUOT}, 507, time.Minute},
		"disk of a source full":     {&UnavailableError{Err: syscall.ENOSPC}, 507, time.Minute},
		"own":                       {&requestError{http.StatusTeapot, missing}, 418, 0},
	} {
		t.Run(name, func(t *testing.T) {
			status, retry := Status(c.err)
			assert.Equal(t, c.status, status)
			assert.Equal(t, c.retry, retry)
		})
	}
}

func TestFinal(t *testing.T) {
	for _, err := range []error{
		&MissingError{}, &BlockedError{}, &InvalidError{Err: errors.New("x")}, &ConflictError{},
		fmt.Errorf("fill: %w", &MissingError{Err: &UnavailableError{Err: errors.New("x")}}),
	} {
		assert.True(t, Final(err), "%T", err)
	}
	for _, err := range []error{
		nil, errors.New("x"), fs.ErrNotExist, context.Canceled, &UnavailableError{Err: &MissingError{}}, &storeError{&MissingError{}},
		errors.Join(&MissingError{}, errors.New("x")),
	} {
		assert.False(t, Final(err), "%T", err)
	}
}

func TestErrorsSayWhat(t *testing.T) {
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{&MissingError{Path: m.Path, Query: m.Version, Err: errors.New("no such tag")}, "example.com/m@v1.0.0: not found: no such tag"},
		{&MissingError{Path: m.Path}, "example.com/m: not found"},
		{&BlockedError{Path: m.Path, Version: m.Version, Reason: "CVE-1"}, "example.com/m@v1.0.0: blocked: CVE-1"},
		{&BlockedError{Path: m.Path, Version: m.Version, Reason: "CVE-1", Removed: true}, "example.com/m@v1.0.0: removed: CVE-1"},
		{&BlockedError{Path: m.Path}, "example.com/m: blocked"},
		{&InvalidError{m.Path, m.Version, errors.New("bad zip")}, "example.com/m@v1.0.0: invalid: bad zip"},
		{&ConflictError{m, ZipFile, "h1:a", "h1:b"}, "example.com/m@v1.0.0: conflict: the .zip held is h1:a, the source now has h1:b"},
		{&InvalidError{Err: &protocol.LoopError{Via: "1.1 a, 1.1 b"}}, "invalid: proxy loop: the servers 1.1 a, 1.1 b ask each other"},
		{&RefusedError{Reason: "the limit is 5"}, "the limit is 5"},
		{&RefusedError{Status: 401}, "log in to use this server"},
		{&RefusedError{Status: 429}, "too many requests"},
		{&RefusedError{}, "this server refuses the request"},
		{&UnavailableError{Source: "git.test", Err: errors.New("refused")}, "git.test is unavailable: refused"},
	} {
		assert.EqualError(t, c.err, c.want)
	}
	assert.ErrorIs(t, &MissingError{}, fs.ErrNotExist)
	assert.NotErrorIs(t, &UnavailableError{Err: errors.New("x")}, fs.ErrNotExist)
}

// A failure of this machine is reported as such, wherever it happened, and no body names a
// path of the machine or an address in its network. The log has both.
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
		"Windows":          {source(&fs.PathError{Op: "open", Path: `C:\Users\srv my\x.pack`, Err: syscall.EIO}), 503, "the disk of this server failed: "},
		"a tool's":         {source(errors.New(`git: could not create 'D:\srv my\cache\x': odd`)), 503, "git: could not create '(a local file)': odd"},
		"a share":          {&storeError{errors.New(`open \\srv\cache\x: odd`)}, 503, "the store failed: open (a local file): odd"},
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
			for _, secret := range []string{"/srv/my", "/srv/cache", "/srv/mirror", "10.1.2.3", "fd00", "srv my", `srv\cache`} {
				assert.NotContains(t, w.Body.String(), secret)
			}
			assert.Equal(t, printable(x.describe(c.err.Error()), 600), x.failure, "the log has the whole")
		})
	}
}

// All memory that answers refer to counts for the bound, whatever they consist of.
func TestAnswersAreBoundedInBytes(t *testing.T) {
	const bound = 1 << 20
	long := func(i int, n int) string { return fmt.Sprint(i, strings.Repeat("x", n)) }
	for name, fresh := range map[string]func(i int) (question, answer){
		"infos": func(i int) (question, answer) {
			return question{OpQuery, "m", fmt.Sprint(i)}, answer{info: &Info{Version: "v1.0.0", Origin: &Origin{URL: long(i, 60_000), Ref: long(i, 9000)}}}
		},
		"missing": func(i int) (question, answer) {
			return question{OpQuery, "m", fmt.Sprint(i)}, answer{missing: &MissingError{Path: "m", Err: errors.New(long(i, 60_000))}}
		},
		"outages": func(i int) (question, answer) {
			return question{OpQuery, "m", fmt.Sprint(i)}, answer{err: fmt.Errorf("down: %w", &UnavailableError{Err: errors.New(long(i, 60_000))})}
		},
		"queries": func(i int) (question, answer) { return question{OpQuery, "m", long(i, 4000)}, answer{} },
		"paths":   func(i int) (question, answer) { return question{OpList, long(i, 4000), ""}, answer{} },
		"bodies": func(i int) (question, answer) {
			return question{OpSumDB, "m", fmt.Sprint(i)}, answer{body: make([]byte, 60_000)}
		},
		"lists": func(i int) (question, answer) {
			return question{OpList, fmt.Sprint(i), ""}, answer{versions: append(make([]string, 0, 4000), long(i, 9))}
		},
		"small": func(i int) (question, answer) { return question{OpList, fmt.Sprint(i), ""}, answer{at: time.Now()} },
	} {
		t.Run(name, func(t *testing.T) {
			as := newAnswers(t.Context(), &Options{AnswerCacheBytes: bound})
			before := heap()
			for i := range 1_000 {
				as.put(fresh(i))
			}
			assert.Less(t, heap()-before, int64(bound*3/2))
			runtime.KeepAlive(as)
		})
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Without Trace, Observe and Logger, neither an operation nor a request allocates memory
// for them.
func TestObserveNothingCostsNothing(t *testing.T) {
	h := &Handler{opts: Options{Logger: slog.New(slog.DiscardHandler)}}
	x := &exchange{h: h, r: httptest.NewRequest("GET", "/example.com/m/@v/list", nil)}
	assert.Zero(t, testing.AllocsPerRun(100, x.observe))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		op := h.opts.begin(context.Background(), OpInfo, SourceVCS, module.Version{Path: "example.com/m"})
		defer func() { op.end(nil) }()
		op.event.Bytes = 1
	}))
}

// attrsLog is a slog.Handler with the method that Options.Logger documents.
type attrsLog struct {
	slog.Handler
	lines []string
}

func (l *attrsLog) HandleAttrs(_ context.Context, _ time.Time, _ slog.Level, msg string, attrs []slog.Attr) error {
	l.lines = append(l.lines, fmt.Sprint(msg, " ", attrs))
	return nil
}

// userTeller is an upstream that records the RequestInfo of its calls.
type userTeller struct {
	listener
	infos []RequestInfo
}

func (u *userTeller) Versions(ctx context.Context, _ string) ([]string, error) {
	u.infos = append(u.infos, RequestInfoFrom(ctx))
	return []string{"v1.0.0"}, nil
}

// The user is in the log and in events. A source, whose answers are shared, is not told.
func TestUser(t *testing.T) {
	log, up := &attrsLog{Handler: slog.DiscardHandler}, &userTeller{}
	var events []Event
	h, err := NewHandler(&putOnly{}, &Options{Upstream: up, Private: "none", Logger: slog.New(enabled{log}), Observe: func(e Event) { events = append(events, e) }})
	require.NoError(t, err)
	for _, target := range []string{"/example.com/m/@v/list", "/example.com/m/@v/v1.0.0.mod"} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(RequestInfo{User: "ci"}.Context(r.Context())))
	}
	require.NoError(t, h.Shutdown(t.Context()))
	require.Len(t, log.lines, 2)
	for _, line := range log.lines {
		assert.Contains(t, line, "user=ci")
	}
	for _, e := range events {
		if e.Op == OpRequest {
			assert.Equal(t, "ci", e.User)
		}
	}
	require.Len(t, up.infos, 1)
	for _, info := range up.infos {
		assert.Empty(t, info.User)
	}
}

// enabled is attrsLog for all levels.
type enabled struct{ *attrsLog }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }
