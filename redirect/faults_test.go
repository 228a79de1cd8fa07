package redirect_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
)

// raw answers with bytes instead of HTTP by net/http, and then hangs up.
func raw(answer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, answer)
	})
}

func TestBadBodies(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, strings.Repeat("\x00", 1<<20))
	require.NoError(t, z.Close())
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name   string
		answer http.Handler
		want   string
		kind   error
		most   int // bytes that may have been written
	}{
		{"truncated", raw(ok + "Content-Length: 100\r\n\r\nshort"), "the answer was cut off: unexpected EOF", new(athens.UnavailableError), 5},
		{"truncated chunks", raw(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"), "the answer was cut off: unexpected EOF", new(athens.UnavailableError), 5},
		{"two lengths", raw(ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nshort"), "http: message cannot contain multiple Content-Length headers", new(athens.UnavailableError), 0},
		{"senseless length", raw(ok + "Content-Length: -5\r\n\r\nshort"), "bad Content-Length", new(athens.UnavailableError), 0},
		{"oversized, and says so", raw(ok + "Content-Length: 1001\r\n\r\n"), "invalid: the answer has more than 1000 bytes", new(athens.InvalidError), 0},
		{"oversized", raw(ok + "\r\n" + strings.Repeat("x", 100_000)), "invalid: the answer has more than 1000 bytes", new(athens.InvalidError), 1000},
		{"no HTTP", raw("SSH-2.0-server\r\n"), "malformed HTTP response", new(athens.UnavailableError), 0},
		{"endless header", raw(ok + strings.Repeat("X-Header: "+strings.Repeat("x", 1000)+"\r\n", 20_000)), "server response headers exceeded", new(athens.UnavailableError), 0},
		{"nothing", raw(""), "EOF", new(athens.UnavailableError), 0},
		{"packed although not asked for", raw(ok + "Content-Encoding: gzip\r\nContent-Length: " + strconv.Itoa(packed.Len()) + "\r\n\r\n" + packed.String()), "a Content-Encoding that was not requested", new(athens.InvalidError), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := upstream(t, serve(t, c.answer).URL, &redirect.Options{Tries: 1, MaxZipBytes: 1000, MaxModBytes: 1000})
			content, err := u.Fetch(t.Context(), v1)
			require.NoError(t, err)
			var zip bytes.Buffer
			err = content.Zip(t.Context(), &zip)
			require.Error(t, err)
			assert.IsType(t, c.kind, err)
			assert.Contains(t, err.Error(), c.want)
			assert.LessOrEqual(t, zip.Len(), c.most)
			_, err = content.Mod(t.Context())
			assert.IsType(t, c.kind, err)
		})
	}
}

// What comes is what was sent: no part of the client unpacks it.
func TestAsksForNoEncoding(t *testing.T) {
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, []string{"identity"}, r.Header["Accept-Encoding"])
		io.WriteString(w, "module example.com/m\n")
	}))
	for _, transport := range []http.RoundTripper{nil, new(http.Transport)} {
		c, err := upstream(t, srv.URL, &redirect.Options{Transport: transport}).Fetch(t.Context(), v1)
		require.NoError(t, err)
		_, err = c.Mod(t.Context())
		assert.NoError(t, err)
	}
}

// A transport of the embedder's own need not compare lengths.
func TestLengthIsCompared(t *testing.T) {
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ContentLength: 100, Body: io.NopCloser(strings.NewReader("short")), Request: r}, nil
	})
	c, err := upstream(t, "http://up.test", &redirect.Options{Transport: transport, Tries: 1}).Fetch(t.Context(), v1)
	require.NoError(t, err)
	var zip bytes.Buffer
	assert.EqualError(t, c.Zip(t.Context(), &zip), "http://up.test is unavailable: the answer was cut off: 5 of 100 bytes: unexpected EOF")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRedirects(t *testing.T) {
	mux := http.NewServeMux()
	srv := serve(t, mux)
	safe := httptest.NewTLSServer(mux)
	defer safe.Close()
	mux.HandleFunc("/hop/{n}/", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		if n == 0 {
			io.WriteString(w, "v1.0.0\n")
			return
		}
		w.Header().Set("Location", fmt.Sprintf("/hop/%d/x", n-1))
		w.WriteHeader([]int{301, 302, 303, 307, 308}[n%5])
	})
	for name, location := range map[string]string{
		"loop":  "",
		"down":  srv.URL + "/hop/0/x",
		"file":  "file:///etc/passwd",
		"empty": "http://",
		"bad":   "http://s3cret:token@[::1/%zz",
	} {
		mux.HandleFunc("/"+name+"/", func(w http.ResponseWriter, r *http.Request) {
			if location == "" {
				location = r.URL.Path
			}
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
			io.WriteString(w, strings.Repeat("x", 10_000))
		})
	}
	o := &redirect.Options{Transport: safe.Client().Transport}
	for base, want := range map[string]string{
		srv.URL + "/hop/10": "",
		srv.URL + "/hop/11": "the server redirects to yet another URL, too many times",
		srv.URL + "/loop":   "the server redirects to yet another URL, too many times",
		srv.URL + "/file":   "the server redirects to a URL that is neither http nor https",
		srv.URL + "/empty":  "the server redirects to a URL that is neither http nor https",
		srv.URL + "/bad":    "the server redirects to a malformed URL",
		srv.URL + "/down":   "",
		safe.URL + "/hop/3": "",
		safe.URL + "/down":  "the server redirects to http, although it was reached by https",
	} {
		u := upstream(t, base, o)
		got, err := u.Versions(t.Context(), "example.com/m")
		if want == "" {
			assert.NoError(t, err, base)
			assert.Equal(t, []string{"v1.0.0"}, got, base)
			continue
		}
		assert.EqualError(t, err, "example.com/m: invalid: "+want, base)
		assert.NoError(t, u.Healthy(t.Context()), base)
	}
}

// A server whose redirects lead to one that is down is not down itself.
func TestRedirectTargetDown(t *testing.T) {
	dead := serve(t, http.NotFoundHandler())
	dead.Close()
	u := upstream(t, serve(t, http.RedirectHandler(dead.URL+"/?token=s3cret", http.StatusFound)).URL, once())
	_, err := u.Versions(t.Context(), "example.com/m")
	var down *athens.UnavailableError
	require.ErrorAs(t, err, &down)
	assert.NotContains(t, err.Error(), "s3cret")
	assert.NoError(t, u.Healthy(t.Context()))
}

// Credentials go to the server they are for, and nowhere else.
func TestCredentials(t *testing.T) {
	const user, password = "deploy-bot", "p@ss/w0rd"
	other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("Authorization"))
		if _, back, ok := strings.Cut(r.URL.RawQuery, "back="); ok {
			http.Redirect(w, r, back, http.StatusFound)
			return
		}
		io.WriteString(w, "v1.0.0\n")
	}))
	mux := http.NewServeMux()
	srv := serve(t, mux)
	login := strings.Replace(srv.URL, "://", "://"+user+":p%40ss%2Fw0rd@", 1)
	mux.HandleFunc("/ok/", func(w http.ResponseWriter, r *http.Request) {
		name, pass, _ := r.BasicAuth()
		assert.Equal(t, user, name)
		assert.Equal(t, password, pass)
		io.WriteString(w, "v1.0.0\n")
	})
	mux.HandleFunc("/bare/", func(w http.ResponseWriter, r *http.Request) {
		assert.Empty(t, r.Header.Get("Authorization"))
		io.WriteString(w, "v1.0.0\n")
	})
	mux.Handle("/here/", http.RedirectHandler("/ok/", http.StatusFound))
	mux.Handle("/away/", http.RedirectHandler(other.URL, http.StatusFound))
	mux.Handle("/back/", http.RedirectHandler(other.URL+"/?back="+srv.URL+"/bare/", http.StatusFound))
	mux.Handle("/smuggle/", http.RedirectHandler(strings.Replace(other.URL, "://", "://x:y@", 1), http.StatusFound))
	for _, where := range []string{"/ok", "/here", "/away", "/back", "/smuggle"} {
		u := upstream(t, login+where, nil)
		_, err := u.Versions(t.Context(), "example.com/m")
		assert.NoError(t, err, where)
		location, err := u.Location(t.Context(), "example.com/m/@v/v1.0.0.zip")
		assert.NoError(t, err, where)
		assert.Empty(t, location, where)
		assert.Equal(t, srv.URL+where, u.String())
	}
}

func TestNetrc(t *testing.T) {
	var sent atomic.Pointer[string]
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		sent.Store(&auth)
		http.Error(w, "you are bot with s3cret", http.StatusNotFound)
	})
	safe := httptest.NewTLSServer(h)
	defer safe.Close()
	plain := serve(t, h)
	file := filepath.Join(t.TempDir(), "netrc")
	const basic = "Basic Ym90OnMzY3JldA==" // bot:s3cret
	for _, c := range []struct {
		base, netrc, text, want string
	}{
		{safe.URL, file, "machine 127.0.0.1 login bot password s3cret", basic},
		{safe.URL, "", "machine 127.0.0.1 login bot password s3cret", basic},
		{safe.URL, file, "machine a.test login x password y default login bot password s3cret", ""},
		{safe.URL, file, "", ""},
		{safe.URL, "none", "machine 127.0.0.1 login bot password s3cret", ""},
		{plain.URL, file, "machine 127.0.0.1 login bot password s3cret", ""},
		{strings.Replace(safe.URL, "://", "://bot:s3cret@", 1), file, "machine 127.0.0.1 login other password word", basic},
	} {
		require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
		t.Setenv("NETRC", file)
		u := upstream(t, c.base, &redirect.Options{Transport: safe.Client().Transport, Netrc: c.netrc})
		_, err := u.Versions(t.Context(), "example.com/m")
		assert.Equal(t, c.want, *sent.Load())
		location, locationErr := u.Location(t.Context(), "example.com/m/@v/list")
		assert.NoError(t, locationErr)
		assert.Equal(t, c.want == "", location != "")
		if c.want != "" {
			assert.NotContains(t, err.Error(), "s3cret")
		}
	}
	_, err := redirect.New("https://a.test", &redirect.Options{Netrc: t.TempDir()})
	assert.ErrorContains(t, err, "upstream: ")
	_, err = redirect.New("https://a.test", &redirect.Options{Netrc: file + "-not-there"})
	assert.NoError(t, err)
}

// A netrc file that only the environment names and that can't be read is worth a warning.
func TestNetrcThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, name := range []string{folder, filepath.Join(file, ".netrc")} {
		t.Setenv("NETRC", name)
		var said bytes.Buffer
		_, err := redirect.New("https://a.test", &redirect.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		require.NoError(t, err, name)
		assert.Equal(t, 1, strings.Count(said.String(), `level=WARN msg="no login from the netrc file" host=a.test`), said.String())
		assert.Contains(t, said.String(), name)
		_, err = redirect.New("https://a.test", nil)
		assert.NoError(t, err)
	}
}

// Whatever a server does with them, no error shows credentials.
func TestNoErrorShowsCredentials(t *testing.T) {
	const user, password = "deploy-bot", "p@ss/w0rd"
	var (
		status atomic.Int32
		errs   []string
	)
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+user+":"+password+"@[/")
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, "you sent %s as %s:%s to http://%s:p%%40ss%%2Fw0rd@%s", r.Header.Get("Authorization"), user, password, user, r.Host)
	}))
	login := strings.Replace(srv.URL, "://", "://"+user+":p%40ss%2Fw0rd@", 1)
	u := upstream(t, login, once())
	for code := range int32(400) {
		status.Store(200 + code)
		_, err := u.Versions(t.Context(), "example.com/m")
		if err != nil {
			errs = append(errs, err.Error())
		}
	}
	srv.Close()
	dead := upstream(t, login, once())
	_, err := dead.Versions(t.Context(), "example.com/m")
	errs = append(errs, err.Error(), dead.Healthy(t.Context()).Error(), fmt.Sprintf("%v %s", dead, dead))
	_, err = redirect.New(login+":port", nil)
	errs = append(errs, err.Error())
	for _, bad := range []string{"ftp" + strings.TrimPrefix(login, "http"), login + "/?q", login + "#f", "://" + user + "@"} {
		_, err = redirect.New(bad, nil)
		errs = append(errs, err.Error())
	}
	require.Greater(t, len(errs), 390)
	for _, text := range errs {
		for _, s := range []string{user, "p@ss", "w0rd", "p%40ss", "ZGVwbG95LWJvdDpwQHNzL3cwcmQ="} {
			assert.NotContains(t, text, s)
		}
	}
}

func TestLocation(t *testing.T) {
	srv := serve(t, http.NotFoundHandler())
	for _, c := range []struct{ base, path, want string }{
		{srv.URL, "example.com/!m/@v/v1.0.0.info", srv.URL + "/example.com/!m/@v/v1.0.0.info"},
		{srv.URL + "/go/", "example.com/m/@v/v3.0.0+incompatible.zip", srv.URL + "/go/example.com/m/@v/v3.0.0+incompatible.zip"},
		{srv.URL + "/a%2Fb", "example.com/m/@v/a?b#c%.info", srv.URL + "/a%2Fb/example.com/m/@v/a%3Fb%23c%25.info"},
	} {
		got, err := upstream(t, c.base, nil).Location(t.Context(), c.path)
		assert.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	got, err := upstream(t, srv.URL, &redirect.Options{NoRedirect: true}).Location(t.Context(), "example.com/m/@v/list")
	assert.NoError(t, err)
	assert.Empty(t, got)
}

// Nothing is asked of the upstream for a Location, not even by the check that
// it is there.
func TestDeadPortAndRecovery(t *testing.T) {
	src := &tree{}
	addr := modtest.FreeAddr(t)

	// A check that opens a connection after each nanosecond, and is down for
	// no longer, so that the test need not wait.
	u := upstream(t, "http://"+addr, &redirect.Options{DownTTL: 1, CheckAfter: 1, Tries: 1})
	_, err := u.Location(t.Context(), "example.com/m/@v/list")
	var down *athens.UnavailableError
	require.ErrorAs(t, err, &down)
	assert.Equal(t, "http://"+addr, down.Source)
	assert.Positive(t, down.RetryAfter)
	assert.Contains(t, down.Error(), "refused")

	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: src}}
	srv.Start()
	defer srv.Close()
	location, err := u.Location(t.Context(), "example.com/m/@v/list")
	assert.NoError(t, err)
	assert.Equal(t, "http://"+addr+"/example.com/m/@v/list", location)
	assert.NoError(t, u.Healthy(t.Context()))
	assert.Empty(t, src.requests())
}

// An HTTP proxy in between can be reached without the upstream: then only
// what happens to requests tells.
func TestNoCheckThroughProxy(t *testing.T) {
	dead := serve(t, http.NotFoundHandler())
	dead.Close()
	middle := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "v1.0.0\n") }))
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(middle.URL) }
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		assert.Equal(t, middle.Listener.Addr().String(), addr)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	u := upstream(t, dead.URL, &redirect.Options{Transport: transport})
	assert.NoError(t, u.Healthy(t.Context()))
	_, err := u.Versions(t.Context(), "example.com/m")
	assert.NoError(t, err)
	other := upstream(t, dead.URL, &redirect.Options{Transport: roundTrip(nil)})
	assert.NoError(t, other.Healthy(t.Context()))
}
