package redirect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
)

var v1 = module.Version{Path: "example.com/m", Version: "v1.0.0"}

func TestNewRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                             "the scheme is not http or https",
		"registry.example.com":         "the scheme is not http or https",
		"file:///srv/go":               "the scheme is not http or https",
		"http://":                      "the host is missing",
		"http://:3001":                 "the host is missing",
		"http://a.test/?x=1":           "a query has no meaning here",
		"http://a.test/#x":             "a fragment has no meaning here",
		"http://a.test:port":           "invalid port",
		"http://a.test,http://b.test":  "it is a list",
		"http://a.test,direct":         "it is a list",
		"http://u:s3cret@a.test:port/": "the URL is not one of",
		"http://u:s3/cret@a.test/":     "the URL is not one of",
		"s3cret@a.test":                "the URL is not one of",
	} {
		_, err := redirect.New(url, nil)
		if assert.ErrorContains(t, err, want, url) {
			assert.NotContains(t, err.Error(), "s3", url)
		}
	}
	_, err := redirect.New("http://a.test", &redirect.Options{MaxZipBytes: -1})
	assert.ErrorContains(t, err, "negative")
}

// What has neither a list nor a @latest is asked for each once, whatever comes
// first.
func TestAbsentListIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &tree{files: map[string]string{}}
		o, _ := wired(t, src)
		u := upstream(t, "http://up.test", o)
		ask := func(path string, latestFirst bool) {
			var missing *athens.MissingError
			for i := range 2 {
				if latestFirst == (i == 0) {
					_, err := u.Resolve(t.Context(), path, "latest")
					assert.ErrorAs(t, err, &missing)
				} else {
					_, err := u.Versions(t.Context(), path)
					assert.ErrorAs(t, err, &missing)
				}
			}
		}
		ask("example.com/a", false)
		assert.Equal(t, []string{"example.com/a/@v/list", "example.com/a/@latest"}, src.requests())
		ask("example.com/b", true)
		assert.Equal(t, []string{"example.com/b/@latest", "example.com/b/@v/list"}, src.requests())

		// It is news again soon, and a flood of names takes no memory for good.
		time.Sleep(5 * time.Second)
		src.files["example.com/a/@v/list"] = "v1.0.0"
		got, err := u.Versions(t.Context(), "example.com/a")
		assert.NoError(t, err)
		assert.Equal(t, []string{"v1.0.0"}, got)
	})
}

func TestVersions(t *testing.T) {
	src := &tree{files: map[string]string{
		"example.com/m/@v/list": "v1.10.0\nv1.2.0 2024-01-02T03:04:05Z\r\n\nv1.2.0\nv1.9.0-rc.1\nnonsense\nv1\nv2.0.0\nv3.0.0+incompatible\n" +
			"v0.0.0-20240102030405-abcdefabcdef\nv1.0.0+meta\n   v0.1.0\nv1.11.0",
		"example.com/empty/@v/list":   "",
		"example.com/!upper/@v/list":  "v1.0.0\n",
		"example.com/many/@v/list":    "v1.0.0\nv1.0.1\nv1.0.2\nv1.0.3\n",
		"example.com/large/@v/list":   strings.Repeat("v1.0.0\n", 100),
		"sub/example.com/m/@v/list":   "v0.0.1\n",
		"example.com/m/v2/@v/list":    "v1.0.0\nv2.0.0\n",
		"example.com/nothing/@latest": info("v0.0.0-20240102030405-abcdefabcdef"),
	}}
	srv := serve(t, src)
	u := upstream(t, srv.URL+"/", &redirect.Options{MaxVersions: 3, MaxListBytes: 300})
	for path, want := range map[string][]string{
		"example.com/empty": {},
		"example.com/Upper": {"v1.0.0"},
		"example.com/m/v2":  {"v2.0.0"},
	} {
		got, err := u.Versions(t.Context(), path)
		assert.NoError(t, err, path)
		assert.Equal(t, want, got, path)
	}
	var invalid *athens.InvalidError
	for _, path := range []string{"example.com/many", "example.com/large", "example.com/bad path"} {
		_, err := u.Versions(t.Context(), path)
		assert.ErrorAs(t, err, &invalid, path)
	}
	all, err := upstream(t, srv.URL, nil).Versions(t.Context(), "example.com/m")
	assert.NoError(t, err)
	assert.Equal(t, []string{"v0.1.0", "v1.2.0", "v1.9.0-rc.1", "v1.10.0", "v1.11.0", "v3.0.0+incompatible"}, all)

	below, err := upstream(t, srv.URL+"/sub/", nil).Versions(t.Context(), "example.com/m")
	assert.NoError(t, err)
	assert.Equal(t, []string{"v0.0.1"}, below)

	_, err = u.Versions(t.Context(), "example.com/nothing")
	var missing *athens.MissingError
	assert.ErrorAs(t, err, &missing)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.EqualError(t, err, "example.com/nothing: not found: no such thing")
}

func TestResolve(t *testing.T) {
	const pseudo = "v0.0.0-20240102030405-abcdefabcdef"
	src := &tree{files: map[string]string{
		"a.test/m/@latest":                     info("v1.3.0"),
		"a.test/m/@v/list":                     "v1.2.0\nv1.2.9\nv1.3.0-rc.1\nv1.20.0-rc.1\nv2.0.0+incompatible\n",
		"a.test/m/@v/v1.2.9.info":              info("v1.2.9"),
		"a.test/m/@v/v1.20.0-rc.1.info":        info("v1.20.0-rc.1"),
		"a.test/m/@v/v2.0.0+incompatible.info": info("v2.0.0+incompatible"),
		"a.test/m/@v/v0.info":                  info(pseudo),
		"a.test/m/@v/v2.0.0.info":              info("v2.0.0+incompatible"),
		"a.test/m/@v/main.info":                info(pseudo),
		"a.test/m/@v/!branch.info":             info(pseudo),
		"a.test/m/@v/wrong.info":               info("v2.0.0"),
		"a.test/m/@v/broken.info":              "{",
		"a.test/m/@v/v1.2.0.info":              info("v1.2.9"),
		"a.test/pre/@v/list":                   "v1.0.0-rc.1\nv1.0.0-rc.2\n",
		"a.test/pre/@v/v1.0.0-rc.2.info":       info("v1.0.0-rc.2"),
		"a.test/bare/@v/list":                  pseudo + "\nv0.0.0-20230102030405-abcdefabcdef\n",
		"a.test/bare/@v/" + pseudo + ".info":   info(pseudo),
		"a.test/none/@v/list":                  "",
		"a.test/back/@v/list":                  "v1.0.0\nv1.1.0\nv1.1.1\nv1.2.0\n",
		"a.test/back/@v/v1.2.0.mod":            "module a.test/back\n\nretract [v1.1.0, v1.2.0]\n",
		"a.test/back/@v/v1.0.0.info":           info("v1.0.0"),
		"a.test/back/@v/v1.1.info":             info("v1.1.1"),
	}}
	u := upstream(t, serve(t, src).URL, once())
	for _, c := range []struct{ path, query, want, asked string }{
		{"a.test/m", "latest", "v1.3.0", "a.test/m/@latest"},
		{"a.test/m", "main", pseudo, "a.test/m/@v/main.info"},
		{"a.test/m", "Branch", pseudo, "a.test/m/@v/!branch.info"},
		{"a.test/m", "v2.0.0", "v2.0.0+incompatible", "a.test/m/@v/v2.0.0.info"},
		{"a.test/m", "v1.2", "v1.2.9", "a.test/m/@v/list a.test/m/@v/v1.2.9.mod a.test/m/@v/v1.2.9.info"},
		{"a.test/m", "v1", "v1.2.9", "a.test/m/@v/list a.test/m/@v/v1.2.9.info"},
		{"a.test/m", "v1.20", "v1.20.0-rc.1", "a.test/m/@v/list a.test/m/@v/v1.20.0-rc.1.info"},
		{"a.test/m", "v2", "v2.0.0+incompatible", "a.test/m/@v/list a.test/m/@v/v2.0.0+incompatible.info"},
		{"a.test/m", "v0", pseudo, "a.test/m/@v/list a.test/m/@v/v0.info"},
		{"a.test/pre", "latest", "v1.0.0-rc.2", "a.test/pre/@latest a.test/pre/@v/list a.test/pre/@v/v1.0.0-rc.2.mod a.test/pre/@v/v1.0.0-rc.2.info"},
		{"a.test/back", "v1", "v1.0.0", "a.test/back/@v/list a.test/back/@v/v1.2.0.mod a.test/back/@v/v1.0.0.info"},
		{"a.test/back", "latest", "v1.0.0", "a.test/back/@latest a.test/back/@v/list a.test/back/@v/v1.0.0.info"},
		{"a.test/bare", "latest", pseudo, "a.test/bare/@latest a.test/bare/@v/list a.test/bare/@v/" + pseudo + ".info"},
	} {
		got, err := u.Resolve(t.Context(), c.path, c.query)
		if assert.NoError(t, err, "%s@%s", c.path, c.query) {
			assert.Equal(t, c.want, got.Version, "%s@%s", c.path, c.query)
			assert.Equal(t, time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC), got.Time)
		}
		assert.Equal(t, c.asked, strings.Join(src.requests(), " "), "%s@%s", c.path, c.query)
	}
	for _, c := range []struct{ path, query, want string }{
		{"a.test/back", "v1.1", "a.test/back@v1.1: not found: all such versions are retracted"},
		{"a.test/none", "latest", "a.test/none@latest: not found: no such thing"},
		{"a.test/gone", "latest", "a.test/gone@latest: not found: no such thing"},
		{"a.test/gone", "v1", "a.test/gone@v1: not found: no such thing"},
		{"a.test/m", "nobranch", "a.test/m@nobranch: not found: no such thing"},
		{"a.test/m", "wrong", `a.test/m@wrong: invalid: the .info names "v2.0.0", which is not a version of that module`},
		{"a.test/m", "broken", "a.test/m@broken: invalid: the .info is not the JSON of a version: unexpected end"},
		{"a.test/m", "v1.2.0", "a.test/m@v1.2.0: invalid: the .info names v1.2.9"},
		{"a.test/m", "feature/x", "a.test/m@feature/x: invalid: version \"feature/x\""},
	} {
		_, err := u.Resolve(t.Context(), c.path, c.query)
		assert.ErrorContains(t, err, c.want)
		assert.True(t, athens.Final(err), "%v", err)
	}
}

func TestContent(t *testing.T) {
	src := &tree{files: map[string]string{
		"example.com/m/@v/v1.0.0.info": `{"Version":"v1.0.0","Time":"2024-01-02T04:04:05+01:00","Origin":{"VCS":"git","URL":"https://me:s3cret@git.test/m","Hash":"abc"},"Short":"x"}`,
		"example.com/m/@v/v1.0.0.mod":  "module example.com/m\n",
		"example.com/m/@v/v1.0.0.zip":  strings.Repeat("zip", 100_000),
	}}
	u := upstream(t, serve(t, src).URL, nil)
	c, err := u.Fetch(t.Context(), v1)
	require.NoError(t, err)
	assert.Empty(t, src.requests(), "Fetch asks nothing")

	got, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, &athens.Info{
		Version: "v1.0.0",
		Time:    time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		Origin:  &athens.Origin{VCS: "git", URL: "https://git.test/m", Hash: "abc"},
	}, got)
	mod, err := c.Mod(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "module example.com/m\n", string(mod))
	var zip bytes.Buffer
	require.NoError(t, c.Zip(t.Context(), &zip))
	assert.Equal(t, src.files["example.com/m/@v/v1.0.0.zip"], zip.String())
	assert.Len(t, src.requests(), 3)

	var invalid *athens.InvalidError
	for _, m := range []module.Version{{Path: "example.com/m", Version: "main"}, {Path: "example.com/m", Version: "v2.0.0"}, {Path: "../m", Version: "v1.0.0"}} {
		_, err = u.Fetch(t.Context(), m)
		assert.ErrorAs(t, err, &invalid, m.String())
	}

	c, err = u.Fetch(t.Context(), module.Version{Path: "example.com/m", Version: "v1.0.1"})
	require.NoError(t, err)
	var missing *athens.MissingError
	_, err = c.Mod(t.Context())
	assert.ErrorAs(t, err, &missing)
	assert.ErrorAs(t, c.Zip(t.Context(), &zip), &missing)
}

func TestZipWriterFails(t *testing.T) {
	src := &tree{files: map[string]string{"example.com/m/@v/v1.0.0.zip": "zip"}}
	u := upstream(t, serve(t, src).URL, nil)
	c, err := u.Fetch(t.Context(), v1)
	require.NoError(t, err)
	full := errors.New("no space left")
	assert.Equal(t, full, c.Zip(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full })))
	assert.Len(t, src.requests(), 1)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Each status becomes one kind of error, with the server's words.
func TestAnswers(t *testing.T) {
	const from = "example.com/m@v1.0.0: .zip: not held, asked vcs: "
	for _, c := range []struct {
		name       string
		status     int
		header     string // NAME: VALUE
		body       string
		want       string // without the server's URL
		kind       error
		retryAfter time.Duration
	}{
		{name: "gone", status: 410, body: "no such version\n", want: "example.com/m@v1.0.0: not found: no such version", kind: new(athens.MissingError)},
		{name: "removed at Athens", status: 410, body: "example.com/m@v1.0.0: .zip: removed: malware, not found: by scanners\n", want: "example.com/m@v1.0.0: removed: malware, not found: by scanners", kind: new(athens.BlockedError)},
		{name: "removed behind Athens", status: 410, body: from + "removed: malware\n", want: "example.com/m@v1.0.0: removed: malware", kind: new(athens.BlockedError)},
		{name: "gone elsewhere", status: 410, body: "it was removed: gone\n", want: "example.com/m@v1.0.0: not found: it was removed: gone", kind: new(athens.MissingError)},
		{name: "missing at Athens", status: 404, body: from + "not found: unknown revision", want: "example.com/m@v1.0.0: not found: unknown revision", kind: new(athens.MissingError)},
		{name: "page", status: 404, header: "Content-Type: text/html", body: "<html>", want: "example.com/m@v1.0.0: not found", kind: new(athens.MissingError)},
		{name: "blocked", status: 403, body: "example.com/m@v1.0.0: blocked: CVE-1 (rules.txt:3)\n", want: "example.com/m@v1.0.0: blocked: CVE-1 (rules.txt:3)", kind: new(athens.BlockedError)},
		{name: "blocked silently", status: 451, want: "example.com/m@v1.0.0: blocked: URL answers 451", kind: new(athens.BlockedError)},
		{name: "login", status: 401, body: "who are you?", want: "URL is unavailable: it does not accept the credentials: it answers 401 Unauthorized: who are you?", kind: new(athens.UnavailableError)},
		{name: "proxy login", status: 407, want: "URL is unavailable: it does not accept the credentials: it answers 407 Proxy Authentication Required", kind: new(athens.UnavailableError)},
		{name: "bad request", status: 400, body: "what?", want: "URL is unavailable: it answers 400 Bad Request: what?", kind: new(athens.UnavailableError)},
		{name: "no content", status: 204, want: "URL is unavailable: it answers 204 No Content", kind: new(athens.UnavailableError)},
		{name: "nowhere", status: 302, want: "URL is unavailable: it answers 302 Found", kind: new(athens.UnavailableError)},
		{name: "unknown", status: 499, want: "URL is unavailable: it answers 499", kind: new(athens.UnavailableError)},
		{name: "busy", status: 429, header: "Retry-After: 7", want: "URL is unavailable: it answers 429 Too Many Requests", kind: new(athens.UnavailableError), retryAfter: 7 * time.Second},
		{name: "down", status: 503, header: "Retry-After: 99999999999", body: "down", want: "URL is unavailable: it answers 503 Service Unavailable: down", kind: new(athens.UnavailableError), retryAfter: 24 * time.Hour},
		{name: "down since long", status: 503, header: "Retry-After: Mon, 02 Jan 2006 15:04:05 GMT", want: "URL is unavailable: it answers 503 Service Unavailable", kind: new(athens.UnavailableError)},
		{name: "senseless", status: 503, header: "Retry-After: soon", want: "URL is unavailable: it answers 503 Service Unavailable", kind: new(athens.UnavailableError)},
		{name: "gateway", status: 502, header: "Content-Type: text/html", body: "<html>: invalid: ", want: "URL is unavailable: it answers 502 Bad Gateway", kind: new(athens.UnavailableError)},
		{name: "bad content", status: 502, body: from + "invalid: not a zip", want: "example.com/m@v1.0.0: invalid: it answers 502 Bad Gateway: " + from + "invalid: not a zip", kind: new(athens.InvalidError)},
		{name: "conflict", status: 502, body: from + "conflict: the .mod held is …", want: "conflict: the .mod held is …", kind: new(athens.InvalidError)},
		{name: "for now", status: 502, header: "Retry-After: 1", body: from + "invalid: not a zip", want: "URL is unavailable", kind: new(athens.UnavailableError), retryAfter: time.Second},
		{name: "loop", status: 502, body: from + "invalid: proxy loop: the servers 1.1 a, 1.1 b ask each other", want: "example.com/m@v1.0.0: invalid: proxy loop: the servers 1.1 a, 1.1 b ask each other", kind: new(athens.InvalidError)},
		{name: "loop status", status: 508, body: "a b", want: "example.com/m@v1.0.0: invalid: proxy loop: the servers a b ask each other", kind: new(athens.InvalidError)},
		{name: "packed", status: 200, header: "Content-Encoding: gzip", want: "example.com/m@v1.0.0: invalid: the answer has a Content-Encoding that was not requested", kind: new(athens.InvalidError)},
		{name: "unprintable", status: 404, body: "a\x00\x1b[31mb\n\n\u202ec\xff", want: "example.com/m@v1.0.0: not found: a [31mb c\uFFFD", kind: new(athens.MissingError)},
		{name: "long", status: 404, body: strings.Repeat("ü", 10_000), want: "example.com/m@v1.0.0: not found: " + strings.Repeat("ü", 254) + "…", kind: new(athens.MissingError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
				if name, value, ok := strings.Cut(c.header, ": "); ok {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.status)
				w.Write([]byte(c.body))
			}))
			content, err := upstream(t, srv.URL, once()).Fetch(t.Context(), v1)
			require.NoError(t, err)
			var w bytes.Buffer
			err = content.Zip(t.Context(), &w)
			require.Error(t, err)
			assert.Contains(t, strings.ReplaceAll(err.Error(), srv.URL, "URL"), c.want)
			assert.IsType(t, c.kind, err)
			assert.Zero(t, w.Len())
			var down *athens.UnavailableError
			if errors.As(err, &down) {
				assert.Equal(t, srv.URL, down.Source)
				assert.Equal(t, c.retryAfter, down.RetryAfter)
			}
		})
	}
}

func TestGatewayTimeoutIsATimeout(t *testing.T) {
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }))
	_, err := upstream(t, srv.URL, once()).Versions(t.Context(), "example.com/m")
	var down *athens.UnavailableError
	require.ErrorAs(t, err, &down)
	assert.True(t, down.Timeout())
}

// Header adds to each request, and replaces nothing.
func TestHeader(t *testing.T) {
	got := make(chan http.Header, 1)
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		http.NotFound(w, r)
	}))
	u := upstream(t, srv.URL, &redirect.Options{UserAgent: "test", Header: func(ctx context.Context) http.Header {
		return http.Header{"Traceparent": {athens.RequestInfoFrom(ctx).Via}, "User-Agent": {"other"}}
	}})
	_, err := u.Versions(athens.RequestInfo{Via: "1.1 one"}.Context(t.Context()), "example.com/m")
	require.ErrorAs(t, err, new(*athens.MissingError))
	h := <-got
	assert.Equal(t, "1.1 one", h.Get("Traceparent"), "of the question's context")
	assert.Equal(t, "1.1 one", h.Get("Via"))
	assert.Equal(t, "test", h.Get("User-Agent"))
	assert.Equal(t, "identity", h.Get("Accept-Encoding"))
}

func TestVia(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			got = append(got, r.Header.Get("Via")+"|"+r.Header.Get("User-Agent"))
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
	end := serve(t, note(&tree{files: map[string]string{"example.com/m/@v/v1.0.0.mod": "module example.com/m\n"}}))
	begin := serve(t, note(http.RedirectHandler(end.URL+"/example.com/m/@v/v1.0.0.mod", http.StatusFound)))
	u := upstream(t, begin.URL, &redirect.Options{UserAgent: "test"})
	c, err := u.Fetch(t.Context(), v1)
	require.NoError(t, err)
	_, err = c.Mod(athens.RequestInfo{Via: "1.1 one, 1.1 two"}.Context(t.Context()))
	require.NoError(t, err)
	_, err = c.Mod(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"1.1 one, 1.1 two|test", "1.1 one, 1.1 two|test", "|test", "|test"}, got)
}

// Equal questions at once are one request; one that came through another
// server is a question of its own.
func TestEqualQuestionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		o, _ := wired(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			<-release
			fmt.Fprintln(w, "v1.0.0")
		}))
		u := upstream(t, "http://up.test", o)
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				got, err := u.Versions(t.Context(), "example.com/m")
				assert.NoError(t, err)
				assert.Equal(t, []string{"v1.0.0"}, got)
			})
		}
		wg.Go(func() {
			_, err := u.Versions(athens.RequestInfo{Via: "1.1 other"}.Context(t.Context()), "example.com/m")
			assert.NoError(t, err)
		})
		leaving, leave := context.WithCancel(t.Context())
		wg.Go(func() {
			_, err := u.Versions(leaving, "example.com/m")
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		assert.EqualValues(t, 2, asked.Load())
		close(release)
		wg.Wait()
		synctest.Wait()
		assert.EqualValues(t, 2, asked.Load())
	})
}

func TestManyAtOnce(t *testing.T) {
	const clients = 40
	src := &tree{files: map[string]string{}}
	for i := range clients {
		src.files[fmt.Sprintf("example.com/m%d/@v/v1.0.0.zip", i)] = strings.Repeat("z", 1000*i)
	}
	var now, most atomic.Int32
	u := upstream(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		src.ServeHTTP(w, r)
	})).URL, &redirect.Options{MaxConns: 4})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := u.Fetch(t.Context(), module.Version{Path: fmt.Sprintf("example.com/m%d", i), Version: "v1.0.0"})
			assert.NoError(t, err)
			var zip bytes.Buffer
			assert.NoError(t, c.Zip(t.Context(), &zip))
			assert.Equal(t, 1000*i, zip.Len())
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, most.Load(), int32(4))
	assert.Len(t, src.requests(), clients)
}

func TestSumDB(t *testing.T) {
	src := &tree{files: map[string]string{
		"sumdb/sum.test/supported":                    "",
		"sumdb/sum.test/lookup/example.com/!m@v1.0.0": "record",
		"sumdb/sum.test/tile/8/0/000":                 strings.Repeat("h", 8192),
		"sumdb/sum.test/tile/8/0/001":                 strings.Repeat("h", 10_001),
		"secret":                                      "secret",
	}}
	u := upstream(t, serve(t, src).URL, &redirect.Options{MaxSumDBAnswerBytes: 10_000})
	for _, path := range []string{"sumdb/sum.test/supported", "sumdb/sum.test/lookup/example.com/!m@v1.0.0", "sumdb/sum.test/tile/8/0/000"} {
		body, err := u.SumDB(t.Context(), path)
		assert.NoError(t, err, path)
		assert.Equal(t, src.files[path], string(body), path)
	}
	var missing *athens.MissingError
	_, err := u.SumDB(t.Context(), "sumdb/other.test/supported")
	assert.ErrorAs(t, err, &missing)
	var invalid *athens.InvalidError
	for _, path := range []string{"sumdb/sum.test/tile/8/0/001", "secret", "sumdb/../secret", "example.com/m/@v/list"} {
		_, err = u.SumDB(t.Context(), path)
		assert.ErrorAs(t, err, &invalid, path)
	}
}

// Only 404 and 410 say that a server does not carry a database: the go command then
// asks that itself, for what it must not know among the rest.
func TestSumDBNotCarried(t *testing.T) {
	for status, kind := range map[int]error{
		404: new(athens.MissingError), 410: new(athens.MissingError), 403: new(athens.BlockedError),
		400: new(athens.UnavailableError), 401: new(athens.UnavailableError), 405: new(athens.UnavailableError),
		429: new(athens.UnavailableError), 500: new(athens.UnavailableError), 503: new(athens.UnavailableError),
	} {
		u := upstream(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "host not permitted", status)
		})).URL, once())
		_, err := u.SumDB(t.Context(), "sumdb/other.test/supported")
		assert.IsType(t, kind, err, status)
		assert.ErrorContains(t, err, "host not permitted")
	}
}
