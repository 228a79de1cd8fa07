package modtest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// awaitLimit bounds [Tap.Await]; it only shows when a test is broken.
const awaitLimit = 2 * time.Minute

// Tap wraps a handler: it records each request and injects faults.
// [Internet] and [GoProxy] are built on one; a test can put its own before the
// handler that it tests. All methods may be called at once.
//
// A request is named host/path, such as "git.test/simple/info/refs", and a pattern selects
// requests:
//
//   - "" is every request;
//   - "git.test/simple" is that path and all paths below it;
//   - "git.test/*.zip" is every name with that beginning and end; there is at most one
//     star, which also spans slashes.
type Tap struct {
	t    testing.TB
	next http.Handler
	// name splits what r asks for into host and path.
	name func(r *http.Request) (host, path string)

	mu       sync.Mutex
	requests []*Request
	faults   []*placed
	changed  chan struct{} // closed and replaced at each new request
}

// placed is a fault with the pattern that it applies to.
type placed struct {
	pattern string
	fault   Fault
}

// NewTap returns a Tap before next. Requests are named by their path alone,
// without the slash at its start, whatever host they name.
func NewTap(t testing.TB, next http.Handler) *Tap {
	return newTap(t, next, func(r *http.Request) (string, string) {
		return "", strings.TrimPrefix(r.URL.Path, "/")
	})
}

func newTap(t testing.TB, next http.Handler, name func(*http.Request) (string, string)) *Tap {
	return &Tap{t: t, next: next, name: name, changed: make(chan struct{})}
}

// Request is one request that arrived; its answer may not have ended yet.
type Request struct {
	Method  string      // GET, POST, …; CONNECT where a client wanted https
	Host    string      // host name, with the port unless it is the scheme's own
	Path    string      // path with its leading slash; empty for CONNECT
	Query   string      // raw query
	Header  http.Header // as received
	Proxied bool        // it came through the proxy protocol, not directly
	TLS     bool        // it came over https

	Status int   // answered status; 0 as long as there is none, or if the connection was cut
	Sent   int64 // bytes of the answer's body so far
	Pack   bool  // the answer held a git pack: commits and files were fetched
	Done   bool  // the answer has ended
}

// String returns one line such as "GET git.test/simple?go-get=1 200".
func (r Request) String() string {
	s := r.Method + " " + r.Host + r.Path
	if r.Query != "" {
		s += "?" + r.Query
	}
	if r.Status == 0 {
		return s + " -"
	}
	return fmt.Sprintf("%s %d", s, r.Status)
}

// Requests returns the requests so far that match pattern, in order of arrival.
func (p *Tap) Requests(pattern string) []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []Request
	for _, r := range p.requests {
		if match(pattern, r.Host+r.Path) {
			found = append(found, *r)
		}
	}
	return found
}

// Count returns the number of requests so far that match pattern. A refused
// CONNECT is one too, of the host with its port: Count("git.test*") counts it,
// Count("git.test") does not.
func (p *Tap) Count(pattern string) int { return len(p.Requests(pattern)) }

// Packs returns the number of answers so far that held a git pack. One fetch
// of a repository is several requests, but one pack.
func (p *Tap) Packs(pattern string) int {
	n := 0
	for _, r := range p.Requests(pattern) {
		if r.Pack {
			n++
		}
	}
	return n
}

// Reset forgets the requests so far. Faults stay.
func (p *Tap) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}

// Await waits until at least n requests that match pattern have arrived,
// answered or not. After 30 seconds it fails the test.
func (p *Tap) Await(pattern string, n int) {
	p.t.Helper()
	limit := time.NewTimer(awaitLimit)
	defer limit.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		got := p.Count(pattern)
		if got >= n {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			p.t.Fatalf("modtest: %d requests for %q within %v, want %d", got, pattern, awaitLimit, n)
		}
	}
}

// Break makes every later request that matches pattern meet the fault, until
// the returned function is called. Of several faults the oldest acts first.
func (p *Tap) Break(pattern string, f Fault) (mend func()) {
	mine := &placed{pattern, f}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, mine)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		// A new slice, because a request in flight may be reading the old one.
		var left []*placed
		for _, f := range p.faults {
			if f != mine {
				left = append(left, f)
			}
		}
		p.faults = left
	}
}

// ServeHTTP records the request and answers it with the handler behind, or
// with what a fault makes of that.
func (p *Tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, path := p.name(r)
	req := &Request{
		Method: r.Method, Host: host, Path: path, Query: r.URL.RawQuery, Header: r.Header.Clone(),
		Proxied: r.URL.Host != "" || r.Method == http.MethodConnect || r.TLS != nil, TLS: r.TLS != nil,
	}
	p.mu.Lock()
	p.requests = append(p.requests, req)
	faults := p.faults
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()

	handler := p.next
	for i := len(faults) - 1; i >= 0; i-- {
		if match(faults[i].pattern, host+path) {
			handler = faults[i].fault(handler)
		}
	}
	rec := &recorder{ResponseWriter: w, tap: p, req: req}
	defer rec.end()
	handler.ServeHTTP(rec, r)
}

// match reports whether a name matches pattern.
func match(pattern, name string) bool {
	if before, after, star := strings.Cut(pattern, "*"); star {
		return len(name) >= len(before)+len(after) &&
			strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
	}
	rest, ok := strings.CutPrefix(name, pattern)
	return ok && (pattern == "" || rest == "" || rest[0] == '/')
}

// packMagic is the beginning of a pack of version 2.
var packMagic = []byte("PACK\x00\x00\x00\x02")

// recorder notes the answer in the Request. It notes before it writes, so that
// a client which has seen the answer finds it noted.
type recorder struct {
	http.ResponseWriter
	tap  *Tap
	req  *Request
	tail []byte // the last bytes written, where a packMagic may have begun
}

func (w *recorder) WriteHeader(status int) {
	w.tap.mu.Lock()
	if w.req.Status == 0 && status >= 200 {
		w.req.Status = status
	}
	w.tap.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.tap.mu.Lock()
	if w.req.Status == 0 {
		w.req.Status = http.StatusOK
	}
	w.req.Sent += int64(len(b))
	if strings.HasSuffix(w.req.Path, "/git-upload-pack") && !w.req.Pack {
		seen := append(w.tail, b...)
		w.req.Pack = bytes.Contains(seen, packMagic)
		w.tail = bytes.Clone(seen[max(0, len(seen)-len(packMagic)+1):])
	}
	w.tap.mu.Unlock()
	return w.ResponseWriter.Write(b)
}

// Flush sends what is buffered; it also makes a copying handler flush.
func (w *recorder) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController reach deadlines and hijacking.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) end() {
	w.tap.mu.Lock()
	w.req.Done = true
	w.tap.mu.Unlock()
}

// wait returns after d, or when ctx is done.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
