package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// newHandler returns a handler over an empty store in memory.
func newHandler(t *testing.T, opts *athens.Options) *athens.Handler {
	t.Helper()
	h, err := athens.NewHandler(storage.NewMemory(), opts)
	require.NoError(t, err)
	return h
}

// running is a service in the background.
type running struct {
	url  string
	stop context.CancelFunc
	end  chan error
}

// runService starts a service on a free port.
func runService(t *testing.T, h *athens.Handler, o Options) *running {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	r := &running{stop: func() { stop(errors.New("told to")) }, end: make(chan error, 1)}
	addr := make(chan string, 1)
	o.Listening = func(a net.Addr) { addr <- a.String() }
	go func() { r.end <- Run(ctx, h, &o) }()
	select {
	case a := <-addr:
		r.url = "http://" + a
	case err := <-r.end:
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(nil) })
	return r
}

func ask(t *testing.T, method, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return resp.StatusCode, string(b)
}

// What every service answers beside the protocol, and none of it is in the log.
func TestProbesAndPage(t *testing.T) {
	var said modtest.Log
	log, flush := NewLogger(&said, nil)
	r := runService(t, newHandler(t, &athens.Options{Logger: log}), Options{Logger: log})
	for _, path := range []string{"/healthz", "/readyz"} {
		status, body := ask(t, "GET", r.url+path)
		assert.Equal(t, http.StatusOK, status, path)
		assert.Equal(t, "ok\n", body)
		status, body = ask(t, "HEAD", r.url+path)
		assert.Equal(t, http.StatusOK, status, path)
		assert.Empty(t, body)
	}
	status, body := ask(t, "GET", r.url+"/")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "\n    export GOPROXY="+r.url+" GONOPROXY=none GONOSUMDB=\n")
	flush()
	assert.NotContains(t, said.String(), "msg=request")
	for path, want := range map[string]int{"/healthz/": 404, "/fills": 404, "/readyz/@v/list": 400, "/favicon.ico": 404} {
		status, _ := ask(t, "GET", r.url+path)
		assert.Equal(t, want, status, path)
	}
	status, _ = ask(t, "POST", r.url+"/healthz")
	assert.Equal(t, http.StatusMethodNotAllowed, status)
	r.stop()
	require.NoError(t, <-r.end)
	flush()
	assert.Contains(t, said.String(), `msg=stopping reason="told to"`)
	assert.Contains(t, said.String(), "msg=stopped")
}

// A path that a probe or the page has can't be that of a module.
func TestProbesAreNoModules(t *testing.T) {
	for _, path := range []string{"healthz", "readyz"} {
		assert.Error(t, module.CheckPath(path))
	}
}

// The reason is for operators and the log; clients learn that there is one.
func TestReasonIsForOperators(t *testing.T) {
	var said modtest.Log
	log, flush := NewLogger(&said, nil)
	broken := errors.New("open /srv/modules: no space left on device")
	health := NewHealth(&HealthOptions{Ready: func(context.Context) error { return broken }, Logger: log})
	for range 3 {
		w := httptest.NewRecorder()
		health.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.NotContains(t, w.Body.String(), "/srv")
	}
	flush()
	assert.Equal(t, 1, strings.Count(said.String(), "no space left"), "said once")
	ops := NewOps(newHandler(t, nil), &OpsOptions{Health: health})
	w := httptest.NewRecorder()
	ops.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Contains(t, w.Body.String(), broken.Error())
	broken = nil
	w = httptest.NewRecorder()
	ops.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	assert.Equal(t, http.StatusOK, w.Code, "an operator's question is checked anew")
	flush()
	assert.Contains(t, said.String(), "ready again")
	health.Stop()
	for _, h := range []http.Handler{ops, health} {
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, "stopping\n", w.Body.String())
	}
}

// Clients can't make the store write as often as they like.
func TestReadyIsCheckedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		health := NewHealth(&HealthOptions{Ready: func(context.Context) error { checks++; return nil }})
		for range 100 {
			require.NoError(t, health.Ready(t.Context()))
		}
		assert.Equal(t, 1, checks)
		time.Sleep(readyInterval)
		require.NoError(t, health.Ready(t.Context()))
		assert.Equal(t, 2, checks)
	})
}

// A check that hangs costs those who wait for it their own time only.
func TestCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth(&HealthOptions{Ready: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		first := make(chan error)
		go func() { first <- health.Ready(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, health.Ready(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, <-first, context.DeadlineExceeded)
		assert.Equal(t, readyTimeout, time.Since(began))
	})
}

// order notes what happens when.
type order struct {
	mu     sync.Mutex
	events []string
}

func (o *order) add(event string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, event)
}

// slowFills is a scheduler whose Run ends with its context, later.
type slowFills struct {
	order *order
	err   error // Run's, at once
}

func (f *slowFills) Schedule(context.Context, athens.Fill, time.Duration) error { return nil }

func (f *slowFills) Run(ctx context.Context, _ func(context.Context, athens.Fill) error) error {
	if f.err != nil {
		return f.err
	}
	<-ctx.Done()
	f.order.add("fills")
	return nil
}

// Requests end first, while fills still run.
func TestDrainOrder(t *testing.T) {
	o := &order{}
	h := newHandler(t, nil)
	health := NewHealth(nil)
	inside, release := make(chan bool), make(chan bool)
	root := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside <- true
		<-release
		o.add("request")
		_, _ = io.WriteString(w, "whole")
	})
	r := runService(t, h, Options{Root: root, Health: health, Fills: &slowFills{order: o}})
	answered := make(chan string, 1)
	go func() {
		_, body := ask(t, "GET", r.url+"/x")
		answered <- body
	}()
	<-inside
	r.stop()
	for health.Ready(t.Context()) == nil { // until the drain has begun
		<-time.After(time.Millisecond)
	}
	close(release)
	assert.Equal(t, "whole", <-answered)
	require.NoError(t, <-r.end)
	assert.Equal(t, []string{"request", "fills"}, o.events)
}

// A service whose fills have ended by themselves does not go on as if they ran.
func TestFillsThatEnd(t *testing.T) {
	broken := errors.New("the queue is broken")
	err := Run(t.Context(), newHandler(t, nil), &Options{Fills: &slowFills{err: broken}})
	assert.ErrorIs(t, err, broken)
	assert.ErrorContains(t, err, "Fills.Run returned before the server stopped")
}

func TestRunRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	h := newHandler(t, nil)
	for want, o := range map[string]Options{
		"both CertFile and KeyFile": {CertFile: "cert.pem"},
		"DrainTimeout is negative":  {DrainTimeout: -1},
		"address already in use":    {Addr: busy.Addr().String()},
		"missing port":              {OpsAddr: "127.0.0.1"},
		"no such file":              {CertFile: "nosuch.pem", KeyFile: "nosuch.pem"},
	} {
		assert.ErrorContains(t, Run(t.Context(), h, &o), want)
	}
	assert.ErrorContains(t, Run(t.Context(), nil, nil), "needs a Handler")
}

// /fills has the status of a queue, whether its Status takes a context or not.
func TestFillsPage(t *testing.T) {
	queue, err := fill.New(nil)
	require.NoError(t, err)
	h := newHandler(t, nil)
	for name, fills := range map[string]athens.FillScheduler{"here": queue, "elsewhere": remoteFills{queue, nil}} {
		w := httptest.NewRecorder()
		NewOps(h, &OpsOptions{Fills: fills}).ServeHTTP(w, httptest.NewRequest("GET", "/fills", nil))
		assert.Equal(t, http.StatusOK, w.Code, name)
		assert.Contains(t, w.Body.String(), `"pending":[]`, name)
		assert.Contains(t, w.Body.String(), `"conflicts":0`, name)
	}
	w := httptest.NewRecorder()
	NewOps(h, &OpsOptions{Fills: remoteFills{queue, errors.New("away")}}).ServeHTTP(w, httptest.NewRequest("GET", "/fills", nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	for _, none := range []athens.FillScheduler{nil, &slowFills{}} {
		w = httptest.NewRecorder()
		NewOps(h, &OpsOptions{Fills: none}).ServeHTTP(w, httptest.NewRequest("GET", "/fills", nil))
		assert.Equal(t, `{"conflicts":0,"dropped_fills":0,"damaged":0}`, strings.TrimSpace(w.Body.String()))
	}
}

// remoteFills has its status on a server elsewhere.
type remoteFills struct {
	*fill.Queue
	err error
}

func (f remoteFills) Status(context.Context) (fill.Status, error) { return f.Queue.Status(), f.err }

// The page names the address that the client has used.
func TestPageAddress(t *testing.T) {
	mounted := http.StripPrefix("/go", Front(newHandler(t, nil), nil, NewPage(&PageOptions{Private: "corp.test"})))
	for _, c := range []struct{ target, proto, want string }{
		{"http://mods.test/go/", "", "http://mods.test/go"},
		{"http://mods.test:8080/go", "", "http://mods.test:8080/go"},
		{"http://mods.test/go/?x=y", "https", "https://mods.test/go"},
		{"https://mods.test/go/", "", "https://mods.test/go"},
		{"http://$(rm)/go/", "", "'http://$(rm)/go'"},
	} {
		r := httptest.NewRequest("GET", c.target, nil)
		r.Header.Set("X-Forwarded-Proto", c.proto)
		w := httptest.NewRecorder()
		mounted.ServeHTTP(w, r)
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Body.String(), " GOPROXY="+c.want+" GONOPROXY=none GONOSUMDB=corp.test\n", c.target)
		assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
		assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	}
}

// What stands before the handler leaves it net/http's own ResponseWriter.
func TestFrontKeepsTheWriter(t *testing.T) {
	w := httptest.NewRecorder()
	var got http.ResponseWriter
	front := Front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got = w }), NewHealth(nil), NewPage(nil))
	front.ServeHTTP(w, httptest.NewRequest("GET", "/example.com/m/@v/list", nil))
	assert.Same(t, w, got)
}
