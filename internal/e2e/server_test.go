package e2e_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
)

// server is a server of a test: a real binary in a folder of its own, and the way
// that calls take to it.
type server struct {
	*modtest.Process
	t    testing.TB
	kind string // proxy or registry
	dir  string
	args []string
	env  []string
	ops  string // URL of its operators' address
	log  int    // how much of its log earlier steps have seen
}

// startServer starts ./examples/kind in a fresh folder. Whatever it asks of
// version control names it: the internet is reached by a proxy with a login.
func startServer(t testing.TB, internet *modtest.Internet, kind, name string, args ...string) *server {
	t.Helper()
	n := newServer(t, internet, kind, name, args...)
	n.start("127.0.0.1:0")
	return n
}

// newServer is startServer for a server that is not to start yet.
func newServer(t testing.TB, internet *modtest.Internet, kind, name string, args ...string) *server {
	t.Helper()
	home := modtest.NewGo(t, internet)
	login := strings.Replace(internet.ProxyURL().String(), "http://", "http://"+name+":x@", 1)
	home.Set("HTTP_PROXY="+login, "http_proxy="+login, "HTTPS_PROXY="+login, "https_proxy="+login)
	return &server{t: t, kind: kind, dir: t.TempDir(), args: args, env: home.Env()}
}

// start starts the server, perhaps again, on the folder that it has.
func (n *server) start(addr string) {
	n.t.Helper()
	args := append([]string{"-addr", addr, "-ops", "127.0.0.1:0", "-dir", n.dir}, n.args...)
	n.Process = modtest.Start(n.t, modtest.Build(n.t, "./examples/"+n.kind), args, n.env)
	n.AwaitLog("msg=operators addr=")
	n.ops = "http://" + regexp.MustCompile(`msg=operators addr=(\S+)`).FindStringSubmatch(n.Log())[1]
	n.log = 0
}

// restart starts a server that was killed or stopped at the same address.
func (n *server) restart() {
	n.t.Helper()
	u, err := url.Parse(n.URL)
	if err != nil {
		n.t.Fatal(err)
	}
	n.start(u.Host)
}

// fills asks /fills.
func (n *server) fills() fill.Status {
	n.t.Helper()
	var status fill.Status
	code, body := modtest.Get(n.t, n.ops+"/fills")
	if err := json.Unmarshal([]byte(body), &status); err != nil || code != http.StatusOK {
		n.t.Fatalf("/fills: %d %q: %v", code, body, err)
	}
	return status
}

// settle waits until nothing is pending or running at /fills.
func (n *server) settle() fill.Status {
	n.t.Helper()
	var status fill.Status
	modtest.Eventually(n.t, "fills are done", func() bool {
		status = n.fills()
		return status.Counts.Pending+status.Counts.Running == 0
	})
	return status
}

// recordingProxy is a way to a server on which calls are counted, and may fail. It keeps
// every byte that came in.
type recordingProxy struct {
	*modtest.Tap
	URL string

	mu       sync.Mutex
	received bytes.Buffer
}

// newRecordingProxy starts a recording proxy before the server at target.
func newRecordingProxy(t testing.TB, target string) *recordingProxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	d := &recordingProxy{}
	d.Tap = modtest.NewTap(t, &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	s := httptest.NewUnstartedServer(d.Tap)
	s.Listener = &recordingListener{s.Listener, d}
	s.Start()
	t.Cleanup(s.Close)
	d.URL = s.URL
	return d
}

// heard reports whether any of what came in contains text, in any case.
func (d *recordingProxy) heard(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Contains(bytes.ToLower(d.received.Bytes()), []byte(strings.ToLower(text)))
}

// recordingListener is a listener that keeps what its connections read.
type recordingListener struct {
	net.Listener
	proxy *recordingProxy
}

// Accept returns a connection that keeps what it reads.
func (l *recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &recordedConn{c, l.proxy}, err
}

type recordedConn struct {
	net.Conn
	proxy *recordingProxy
}

// Read keeps what it reads.
func (c *recordedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.proxy.mu.Lock()
	c.proxy.received.Write(b[:n])
	c.proxy.mu.Unlock()
	return n, err
}
