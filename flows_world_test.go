package athens_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
)

// node is a server of a test: a real binary in a folder of its own, and the way
// that calls take to it.
type node struct {
	*modtest.Process
	t    testing.TB
	kind string // proxy or registry
	dir  string
	args []string
	env  []string
	ops  string // URL of its operators' address
	log  int    // how much of its log earlier steps have seen
}

// startNode starts ./examples/kind in a fresh folder. Whatever it asks of
// version control names it: the internet is reached by a proxy with a login.
func startNode(t testing.TB, internet *modtest.Internet, kind, name string, args ...string) *node {
	t.Helper()
	n := newNode(t, internet, kind, name, args...)
	n.start("127.0.0.1:0")
	return n
}

// newNode is startNode for a server that is not to start yet.
func newNode(t testing.TB, internet *modtest.Internet, kind, name string, args ...string) *node {
	t.Helper()
	home := modtest.NewGo(t, internet)
	login := strings.Replace(internet.ProxyURL().String(), "http://", "http://"+name+":x@", 1)
	home.Set("HTTP_PROXY="+login, "http_proxy="+login, "HTTPS_PROXY="+login, "https_proxy="+login)
	return &node{t: t, kind: kind, dir: t.TempDir(), args: args, env: home.Env()}
}

// start starts the server, perhaps again, on the folder that it has.
func (n *node) start(addr string) {
	n.t.Helper()
	args := append([]string{"-addr", addr, "-ops", "127.0.0.1:0", "-dir", n.dir}, n.args...)
	n.Process = modtest.Start(n.t, modtest.Build(n.t, "./examples/"+n.kind), args, n.env)
	n.AwaitLog("msg=operators addr=")
	n.ops = "http://" + regexp.MustCompile(`msg=operators addr=(\S+)`).FindStringSubmatch(n.Log())[1]
	n.log = 0
}

// restart starts a server that was killed or stopped at the same address.
func (n *node) restart() {
	n.t.Helper()
	u, err := url.Parse(n.URL)
	if err != nil {
		n.t.Fatal(err)
	}
	n.start(u.Host)
}

// fills asks /fills.
func (n *node) fills() fill.Status {
	n.t.Helper()
	var status fill.Status
	code, body := get(n.t, n.ops+"/fills")
	if err := json.Unmarshal([]byte(body), &status); err != nil || code != http.StatusOK {
		n.t.Fatalf("/fills: %d %q: %v", code, body, err)
	}
	return status
}

// settle waits until nothing is pending or running at /fills.
func (n *node) settle() fill.Status {
	n.t.Helper()
	var status fill.Status
	eventually(n.t, "fills are done", func() bool {
		status = n.fills()
		return status.Counts.Pending+status.Counts.Running == 0
	})
	return status
}

// eventually waits for what no event tells of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(2 * time.Minute); !ok(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("waited 2 minutes until %s", what)
		}
	}
}

// get asks a URL on loopback and follows no redirect.
func get(t testing.TB, target string) (status int, body string) {
	t.Helper()
	resp := getWhole(t, target)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return resp.StatusCode, string(b)
}

func getWhole(t testing.TB, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// door is a way to a server on which calls are counted, and may fail. It keeps
// every byte that came in.
type door struct {
	*modtest.Tap
	URL string

	mu       sync.Mutex
	received bytes.Buffer
}

// newDoor opens a door to the server at target.
func newDoor(t testing.TB, target string) *door {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	d.Tap = modtest.NewTap(t, &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	s := httptest.NewUnstartedServer(d.Tap)
	s.Listener = &recording{s.Listener, d}
	s.Start()
	t.Cleanup(s.Close)
	d.URL = s.URL
	return d
}

// heard reports whether any of what came in contains text, in any case.
func (d *door) heard(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Contains(bytes.ToLower(d.received.Bytes()), []byte(strings.ToLower(text)))
}

// recording is a listener that keeps what its connections read.
type recording struct {
	net.Listener
	door *door
}

// Accept returns a connection that keeps what it reads.
func (l *recording) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &recorded{c, l.door}, err
}

type recorded struct {
	net.Conn
	door *door
}

// Read keeps what it reads.
func (c *recorded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.door.mu.Lock()
	c.door.received.Write(b[:n])
	c.door.mu.Unlock()
	return n, err
}
