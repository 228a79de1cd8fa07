package protocoltest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// Each file of testdata/protocol is a script: what is held, what the sources
// have and how they are, then requests and what must become of them. A new case
// is a new file, or a few lines in one. The commands are those of setUp, act and
// expect below; words are split at blanks, one in double quotes is a Go string.
// Time is that of testing/synctest, so a script waits for an hour in no time.
//
// Whatever a script says, each error response must be one that the go command
// shows, no private path may ever reach the upstream, and no credentials a
// response or the log.
func TestProtocol(t *testing.T) {
	files, err := filepath.Glob("testdata/protocol/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			synctest.Test(t, func(t *testing.T) {
				s := newScript(t)
				for i, line := range strings.Split(string(text), "\n") {
					s.where = fmt.Sprintf("%s:%d: %s", name, i+1, line)
					s.run(splitWords(t, line))
				}
				s.end()
			})
		})
	}
}

// splitWords splits a line at blanks outside of Go strings. "#" begins a comment.
func splitWords(t testing.TB, line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimSpace(line) {
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		word := line[:end]
		if word[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			require.NoError(t, err, line)
			word, err = strconv.Unquote(quoted)
			require.NoError(t, err, line)
			end = len(quoted)
		}
		words, line = append(words, word), line[end:]
	}
	return words
}

// script is one script at work.
type script struct {
	t     *testing.T
	where string // the line, for errors

	store    *athenstest.Store
	vcs      *athenstest.Source
	upstream *athenstest.Upstream
	fills    *athenstest.Fills
	log      bytes.Buffer
	opts     athens.Options
	handler  *athens.Handler // made by the first request

	private []string          // patterns
	blocked map[string]string // why, by PATH@VERSION or PATH
	denied  map[string]string // why, by path
	headers http.Header       // of the next request
	tls     bool              // of the next requests
	last    http.Header       // of the last response, for the next request
	said    []string          // bodies and headers of all responses
	lookups map[string]string // what the checksum database says
	key     string            // of the checksum database, if that is known
	plain   bool              // the store has no abilities
	tracing map[string]int    // operations begun and not ended
	traced  []string          // operations since the last request
	traceMu sync.Mutex        //
	got     *httptest.ResponseRecorder
	cut     bool          // the last response was
	took    time.Duration // of the last request
	err     error         // of the last fill
}

func newScript(t *testing.T) *script {
	s := &script{
		t:        t,
		store:    athenstest.NewStore(t),
		vcs:      athenstest.NewSource(t, "vcs"),
		upstream: athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "http://registry.test/"),
		fills:    &athenstest.Fills{},
		blocked:  map[string]string{},
		denied:   map[string]string{},
		headers:  http.Header{},
		tracing:  map[string]int{},
	}
	s.opts = athens.Options{Prefetch: -1, Route: s.route, Allow: s.allow, Trace: s.trace, Logger: slog.New(slog.NewTextHandler(&s.log, nil))}
	return s
}

func (s *script) route(_ context.Context, m module.Version) (r athens.Route, err error) {
	for _, pattern := range s.private {
		r.Private = r.Private || module.MatchPrefixPatterns(pattern, m.Path)
	}
	r.Blocked = s.blocked[m.Path] + s.blocked[m.String()]
	return r, nil
}

func (s *script) allow(_ *http.Request, m module.Version) error {
	if why := s.denied[m.Path]; why != "" {
		return fmt.Errorf("%s", why)
	}
	return nil
}

func (s *script) trace(ctx context.Context, op string, _ module.Version) (context.Context, func(error)) {
	s.traceMu.Lock()
	defer s.traceMu.Unlock()
	s.tracing[op]++
	s.traced = append(s.traced, op)
	return ctx, func(error) {
		s.traceMu.Lock()
		defer s.traceMu.Unlock()
		s.tracing[op]--
	}
}

// run runs one line.
func (s *script) run(words []string) {
	if len(words) == 0 {
		return
	}
	name, args := words[0], words[1:]
	switch name {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS":
		s.request(name, args)
		return
	case "fill":
		s.fill(args)
		return
	}
	if !s.setUp(name, args) && !s.expect(name, args) {
		s.fatalf("no such command")
	}
}

func (s *script) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n%s\nresponse: %s\nlog: %s", s.where, fmt.Sprintf(format, args...), s.dump(), s.log.String())
}

// version reads PATH@VERSION.
func (s *script) version(word string) module.Version {
	path, version, ok := strings.Cut(word, "@")
	if !ok {
		s.fatalf("%s is not PATH@VERSION", word)
	}
	return module.Version{Path: path, Version: version}
}

// setUp does a command that changes the server or what it stands on. It reports whether name is one.
//
//	mode redirect|fetch|registry|alone     what the handler has (redirect is the default)
//	without vcs|fills|location|sumdb       … but not this
//	without sumdb-store                    the store has not that ability
//	restart [alone]                        a new handler on the same store, in that mode
//	option NAME VALUE                      a field of Options
//	hold M@V whole|meta|mod|no-info        what the store has
//	vcs|upstream has M@V [FILE CONTENT]…   what a source has
//	vcs|upstream has-no-mod M@V            … with an .info only
//	vcs|upstream forgets M@V
//	vcs|upstream query M@QUERY VERSION     what a query means there
//	vcs|upstream fails KIND|all HOW        how it is from now on; "mended" as before
//	upstream location URL                  where clients are sent
//	store fails OP failed|happened|full    the same of the store
//	store zips URL                         where the store has its zips; "" is with itself
//	private PATTERN; block PATH[@VERSION] REASON; deny PATH REASON
//	sumdb knows M@V [zip|mod]; sumdb lies M@V; sumdb down
//	sumdb key|other-key                    its key is known, or another one
//	tls                                    the next requests come by https
//	refresh PATH
//	wait DURATION
//	send NAME VALUE                        a header of the next request; $NAME is that of the last response
func (s *script) setUp(name string, args []string) bool {
	switch name {
	case "mode", "without":
		s.wire(name, args)
	case "restart":
		require.NoError(s.t, s.handler.Shutdown(s.t.Context()), s.where)
		s.handler = nil
		if len(args) > 0 {
			s.opts.Fetcher, s.opts.Upstream, s.opts.Fills = nil, nil, nil
		}
	case "option":
		s.option(args[0], args[1])
	case "hold":
		athenstest.HoldAs(s.t, s.store, athenstest.NewVersion(s.t, s.version(args[0]), args[2:]...), args[1])
	case "vcs":
		s.source(s.vcs, args)
	case "upstream":
		if args[0] == "location" {
			s.upstream.Base = args[1]
		} else {
			s.source(s.upstream.Source, args)
		}
	case "store":
		if args[0] == "zips" {
			s.store.ZipBase = args[1]
			break
		}
		s.store.Fail(args[1], strings.TrimPrefix(args[2], "mended"))
	case "private":
		s.private = append(s.private, args[0])
	case "block":
		s.blocked[args[0]] = args[1]
	case "deny":
		s.denied[args[0]] = args[1]
	case "sumdb":
		s.checksums(args)
	case "tls":
		s.tls = true
	case "refresh":
		s.handler.Refresh(args[0])
	case "wait":
		d, err := time.ParseDuration(args[0])
		require.NoError(s.t, err, s.where)
		time.Sleep(d)
	case "send":
		value := args[1]
		if of, ok := strings.CutPrefix(value, "$"); ok {
			value = s.last.Get(of)
			require.NotEmpty(s.t, value, s.where)
		}
		s.headers.Add(args[0], value)
	default:
		return false
	}
	return true
}

// wire says what the handler has.
func (s *script) wire(name string, args []string) {
	switch strings.Join(append([]string{name}, args...), " ") {
	case "mode redirect":
		s.opts.Fetcher, s.opts.Upstream, s.opts.Fills = s.vcs, athenstest.SumDBUpstream{Upstream: s.upstream}, s.fills
	case "mode fetch":
		s.opts.Fetcher, s.opts.Upstream, s.opts.Fills, s.opts.MissFetch = s.vcs, athenstest.SumDBUpstream{Upstream: s.upstream}, s.fills, true
	case "mode registry":
		s.opts.Fetcher, s.opts.Fills = s.vcs, s.fills
	case "mode alone":
	case "without vcs":
		s.opts.Fetcher = nil
	case "without fills":
		s.opts.Fills = nil
	case "without location":
		s.upstream.Base = ""
	case "without sumdb-store":
		s.plain = true
	case "without sumdb":
		s.opts.Upstream = s.upstream
	default:
		s.fatalf("no such wiring")
	}
}

func (s *script) option(name, value string) {
	durations := map[string]*time.Duration{
		"ListTTL": &s.opts.ListTTL, "StaleTTL": &s.opts.StaleTTL, "MissingTTL": &s.opts.MissingTTL, "DownTTL": &s.opts.DownTTL,
		"StaleAfter": &s.opts.StaleAfter,
		"FillAfter":  &s.opts.FillAfter, "FetchTimeout": &s.opts.FetchTimeout,
	}
	sizes := map[string]*int64{"MaxModBytes": &s.opts.MaxModBytes, "MaxZipBytes": &s.opts.MaxZipBytes, "AnswerCacheBytes": &s.opts.AnswerCacheBytes}
	var err error
	switch {
	case durations[name] != nil:
		*durations[name], err = time.ParseDuration(value)
	case sizes[name] != nil:
		*sizes[name], err = strconv.ParseInt(value, 10, 64)
	case name == "MaxPseudoVersions":
		s.opts.MaxPseudoVersions, err = strconv.Atoi(value)
	case name == "FillWhole":
		s.opts.FillWhole = value == "true"
	default:
		s.fatalf("no such option")
	}
	require.NoError(s.t, err, s.where)
}

func (s *script) source(f *athenstest.Source, args []string) {
	switch args[0] {
	case "has":
		f.Add(s.version(args[1]), args[2:]...)
	case "has-no-mod":
		f.Add(s.version(args[1]))
		f.HideMod(s.version(args[1]))
	case "forgets":
		f.Forget(s.version(args[1]))
	case "query":
		query := s.version(args[1])
		f.SetQuery(query.Path, query.Version, args[2])
	case "fails":
		f.Fail(strings.TrimPrefix(args[1], "all"), strings.TrimPrefix(args[2], "mended"))
	default:
		s.fatalf("a source can't do that")
	}
}

// request makes a request: METHOD PATH [HTTP/1.0].
func (s *script) request(method string, args []string) {
	s.begin()
	u, err := url.Parse("http://proxy.test:3000" + strings.ReplaceAll(args[0], "{64k}", strings.Repeat("a", 64<<10)))
	require.NoError(s.t, err, s.where)
	r := httptest.NewRequestWithContext(s.t.Context(), method, "http://proxy.test:3000/", nil)
	r.URL, r.Header = u, s.headers
	if r.Host = s.headers.Get("Host"); r.Host == "" {
		r.Host = u.Host
	}
	if len(args) > 1 {
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0
	}
	if s.tls {
		r.TLS = &tls.ConnectionState{}
	}
	s.headers, s.cut, s.got = http.Header{}, false, httptest.NewRecorder()
	func() {
		defer func() {
			if v := recover(); v != nil {
				require.Equal(s.t, http.ErrAbortHandler, v, s.where)
				s.cut = true
			}
		}()
		start := time.Now()
		s.handler.ServeHTTP(s.got, r)
		s.took = time.Since(start)
	}()
	s.last = s.got.Result().Header
	s.said = append(s.said, fmt.Sprint(s.last, s.got.Body))
	s.checkResponse(r)
}

// begin forgets what was counted before.
func (s *script) begin() {
	if s.handler == nil {
		if s.lookups != nil {
			s.opts.Checksums = s
		}
		if s.key != "" {
			s.opts.Checksums = athenstest.KeyedChecksums{Checksums: s, Key: s.key}
		}
		var err error
		store := athens.Storage(s.store)
		if s.plain {
			store = struct{ athens.Storage }{s.store}
		}
		s.handler, err = athens.NewHandler(store, &s.opts)
		require.NoError(s.t, err, s.where)
	}
	synctest.Wait() // detached work belongs to the request before
	s.calls()
	s.fills.Take()
	s.log.Reset()
	s.traceMu.Lock()
	s.traced = nil
	s.traceMu.Unlock()
}

// calls returns what the sources were asked since the last request.
func (s *script) calls() []string { return append(s.upstream.Take(), s.vcs.Take()...) }

// fill runs a fill, as a FillScheduler would: fill M@V [zip].
func (s *script) fill(args []string) {
	s.begin()
	s.err = s.handler.Fill(s.t.Context(), athens.Fill{Module: s.version(args[0]), Zip: len(args) > 1})
}

// end shuts down, which must leave nothing behind, and checks what holds always.
func (s *script) end() {
	if s.handler == nil {
		s.fatalf("the script has no request")
	}
	synctest.Wait()
	require.NoError(s.t, s.handler.Shutdown(s.t.Context()))
	for op, n := range s.tracing {
		require.Zero(s.t, n, "operations that never ended: %s", op)
	}
	require.Zero(s.t, s.store.Count("stages"), "stages never closed")
	for _, pattern := range s.private {
		for _, heard := range s.upstream.Heard() {
			path, _, _ := strings.Cut(heard, "@")
			unescaped, err := module.UnescapePath(strings.TrimSuffix(path, "/"))
			if err == nil {
				path = unescaped
			}
			require.False(s.t, module.MatchPrefixPatterns(pattern, path), "the upstream heard of %s", heard)
			require.NotContains(s.t, heard, pattern, "the upstream heard of it")
		}
	}
	require.NotContains(s.t, strings.Join(s.said, "\n"), "s3cret")
}
