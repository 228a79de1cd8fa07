package athens_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect/rules"
	"github.com/athens-go/athens/storage"
)

// ask sends a request to a handler as a client does, and prints the answer.
func ask(handler http.Handler, path string) {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
}

// countingStore is a Storage that counts opened files. It embeds the one that it wraps,
// so it keeps the methods that it does not replace; optional abilities, such as
// athens.Lister, are lost unless it declares them.
type countingStore struct {
	athens.Storage
	mu     sync.Mutex
	opened map[string]int
}

func (s *countingStore) Open(ctx context.Context, m module.Version, f athens.File) (*athens.Object, error) {
	s.mu.Lock()
	s.opened[m.String()+"."+f.String()]++
	s.mu.Unlock()
	return s.Storage.Open(ctx, m, f)
}

// A Storage can wrap another one, to count, to cache or to restrict.
func ExampleStorage() {
	store := &countingStore{Storage: storage.NewMemory(), opened: make(map[string]int)}
	m := module.Version{Path: "example.com/hello", Version: "v1.0.0"}
	if err := store.Put(context.Background(), m, &athens.Info{Version: "v1.0.0"}, []byte("module example.com/hello\n")); err != nil {
		fmt.Println(err)
		return
	}
	handler, err := athens.NewHandler(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(handler, "/example.com/hello/@v/v1.0.0.mod")
	ask(handler, "/example.com/hello/@v/v1.0.0.mod")
	fmt.Println(store.opened)
	// Output:
	// 200 module example.com/hello
	// 200 module example.com/hello
	// map[example.com/hello@v1.0.0.mod:2]
}

// Trace starts a span around each operation on a source or the store.
func ExampleOptions_trace() {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{
		Upstream:  elsewhere{},
		MissFetch: true,
		Trace: func(ctx context.Context, op string, m module.Version) (context.Context, func(error)) {
			// A tracing library returns a context with a span in it here.
			return ctx, func(err error) { fmt.Println("span:", op, m, err) }
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(handler, "/example.com/hello/@latest")
	// Output:
	// span: latest example.com/hello@latest example.com/hello@latest: not found: no such branch
	// 404 example.com/hello@latest: not held, asked upstream: not found: no such branch
}

// Observe serves to count metrics: requests by outcome, and how long a source takes.
func ExampleOptions_observe() {
	var (
		mu       sync.Mutex
		requests = make(map[string]int)
		slowest  time.Duration
	)
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{
		Upstream:  elsewhere{},
		MissFetch: true,
		Observe: func(e athens.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e.Op {
			case athens.OpRequest:
				requests[e.File+" "+e.Outcome]++
			case athens.OpInfo, athens.OpMod, athens.OpZip, athens.OpList:
				slowest = max(slowest, e.Duration)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(handler, "/example.com/hello/@v/list")
	ask(handler, "/example.com/hello/@v/list")
	mu.Lock()
	defer mu.Unlock()
	fmt.Println(requests, slowest < time.Minute)
	// Output:
	// 200 v1.0.0
	// 200 v1.0.0
	// map[list fetch:1 list remembered:1] true
}

// The rules of a file are a policy: their Route decides for each version.
func ExampleRoute() {
	policy, err := rules.Parse("rules.txt", strings.NewReader("block example.com/bad =1.0.0 # CVE-2026-1, use v1.0.1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Upstream: elsewhere{}, Route: policy.Route})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(handler, "/example.com/bad/@v/v1.0.0.zip")
	// Output: 403 example.com/bad@v1.0.0: .zip: blocked: CVE-2026-1, use v1.0.1 (rules.txt:1)
}

// A client that has to log in gets a 401, and its go command looks for a login in
// the netrc file.
func ExampleRefusedError() {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{
		Allow: func(r *http.Request, _ module.Version) error {
			if _, token, _ := r.BasicAuth(); token != "s3cret" {
				return &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: `Basic realm="modules"`, Reason: "log in with your token"}
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/example.com/hello/@v/list", nil))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	fmt.Print(w.Body)
	// Output:
	// 401 Basic realm="modules"
	// example.com/hello: list: log in with your token
}
