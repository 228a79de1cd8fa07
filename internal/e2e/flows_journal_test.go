package e2e_test

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/athens-go/athens/internal/modtest"
)

// call is one request of a flow: who asked whom for what.
type call struct {
	From, To string
	Path     string // without its leading slash; of a VCS, the repository
	Status   string // "200", "302", …
	told     bool   // it is in the transcript
}

// journal records the calls of all parts in the order in which they began.
type journal struct {
	mu    sync.Mutex
	calls []*call
}

// watch is a fault that breaks nothing: it notes each request that meets it.
func (j *journal) watch(to string, from func(*http.Request) string) modtest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := j.add(call{From: from(r), To: to, Path: callPath(r), Status: "cut"})
			next.ServeHTTP(&notedWriter{ResponseWriter: w, journal: j, call: c}, r)
		})
	}
}

// callPath returns what is asked for; of a repository of the internet, with its host
// and without the parts of git's protocol.
func callPath(r *http.Request) string {
	path := r.URL.Path
	if !r.URL.IsAbs() && r.URL.RawQuery == "go-get=1" {
		return r.Host + path + "?go-get=1"
	}
	if r.URL.IsAbs() {
		path = r.Host + path
		path, _, _ = strings.Cut(path, "/info/refs")
		path = strings.TrimSuffix(path, "/git-upload-pack")
	}
	return strings.Trim(path, "/")
}

func (j *journal) add(c call) *call {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, &c)
	return &c
}

// untold returns the calls that were not in the transcript yet, and notes that
// they are now. Those that wait is true of stay for a later step.
func (j *journal) untold(wait func(call) bool) []call {
	j.mu.Lock()
	defer j.mu.Unlock()
	var calls []call
	for _, c := range j.calls {
		if !c.told && !wait(*c) {
			calls = append(calls, *c)
			c.told = true
		}
	}
	return calls
}

// count returns how many calls match.
func (j *journal) count(match func(call) bool) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, c := range j.calls {
		if match(*c) {
			n++
		}
	}
	return n
}

// notedWriter notes the status of an answer.
type notedWriter struct {
	http.ResponseWriter
	journal *journal
	call    *call
}

// Unwrap is for http.ResponseController.
func (w *notedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush makes a copying handler flush.
func (w *notedWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *notedWriter) WriteHeader(status int) {
	w.journal.mu.Lock()
	if status >= 200 {
		w.call.Status = strconv.Itoa(status)
	}
	w.journal.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *notedWriter) Write(b []byte) (int, error) {
	w.journal.mu.Lock()
	if w.call.Status == "cut" {
		w.call.Status = "200"
	}
	w.journal.mu.Unlock()
	return w.ResponseWriter.Write(b)
}

// version returns the module version that a path of the protocol is about, or
// the module alone.
func (c call) version() string {
	module, file, ok := strings.Cut(c.Path, "/@v/")
	if !ok || file == "list" {
		return strings.TrimSuffix(module, "/@latest")
	}
	return module + "@" + file[:strings.LastIndex(file, ".")]
}

// fileOrder is in which order the files of a version are told of. Go commands and
// servers ask for several at once, in no order.
var fileOrder = []string{"list", "@latest", ".info", ".mod", ".zip"}

// ordered sorts calls by what they are about. Those about the same file stay in
// the order in which they happened, but what a follower asks for comes behind what it was
// asked for: its fill may be faster than the client.
func ordered(calls []call) []call {
	follower := func(c call) int {
		if c.From == "follower" {
			return 1
		}
		return 0
	}
	file := func(c call) int {
		return slices.IndexFunc(fileOrder, func(end string) bool { return strings.HasSuffix(c.Path, end) })
	}
	calls = slices.Clone(calls)
	slices.SortStableFunc(calls, func(a, b call) int {
		return cmp.Or(strings.Compare(a.version(), b.version()), file(a)-file(b), follower(a)-follower(b))
	})
	return calls
}
