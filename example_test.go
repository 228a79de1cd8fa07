package athens_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/storage"
)

// A program mounts a handler beside what it serves already. This one has a store and no
// source, so it serves only what the store holds.
func ExampleNewHandler() {
	store := storage.NewMemory()
	info := &athens.Info{Version: "v1.0.0", Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}
	m := module.Version{Path: "example.com/hello", Version: "v1.0.0"}
	if err := store.Put(context.Background(), m, info, []byte("module example.com/hello\n")); err != nil {
		fmt.Println(err)
		return
	}
	handler, err := athens.NewHandler(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer handler.Shutdown(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/go/", http.StripPrefix("/go", handler)) // GOPROXY=http://…/go
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, file := range []string{"list", "v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"} {
		resp, err := http.Get(server.URL + "/go/example.com/hello/@v/" + file)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, strings.TrimSpace(string(body)))
	}
	// Output:
	// 200 v1.0.0
	// 200 {"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}
	// 200 module example.com/hello
	// 404 example.com/hello@v1.0.0: .zip: not found: not in the store, and this server has no other source
}

// elsewhere is an Upstream that has one version, to which clients can be redirected.
type elsewhere struct{}

func (elsewhere) Versions(context.Context, string) ([]string, error) {
	return []string{"v1.0.0"}, nil
}

func (elsewhere) Resolve(_ context.Context, path, query string) (*athens.Info, error) {
	return nil, &athens.MissingError{Path: path, Query: query, Err: errors.New("no such branch")}
}

func (elsewhere) Fetch(_ context.Context, m module.Version) (athens.Content, error) {
	return content{m}, nil
}

func (elsewhere) Location(_ context.Context, protocolPath string) (string, error) {
	return "https://registry.example/" + protocolPath, nil
}

type content struct{ m module.Version }

func (c content) Info(context.Context) (*athens.Info, error) {
	return &athens.Info{Version: c.m.Version}, nil
}

func (c content) Mod(context.Context) ([]byte, error) {
	return []byte("module " + c.m.Path + "\n"), nil
}

func (c content) Zip(context.Context, io.Writer) error {
	return &athens.UnavailableError{Source: "registry.example", Err: errors.New("connection refused")}
}

// A proxy redirects clients for what it does not hold, and a fill fetches it later.
func ExampleHandler_Fill() {
	fills, err := fill.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Upstream: elsewhere{}, Fills: fills})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A server has: go fills.Run(ctx, handler.Fill)
	ask := func() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/example.com/hello/@v/v1.0.0.mod", nil))
		fmt.Println(w.Code, w.Header().Get("Location")+strings.TrimSpace(w.Body.String()))
	}
	ask()
	m := module.Version{Path: "example.com/hello", Version: "v1.0.0"}
	fmt.Println(handler.Fill(context.Background(), athens.Fill{Module: m}))
	ask()
	err = handler.Fill(context.Background(), athens.Fill{Module: m, Zip: true})
	fmt.Println(err, athens.Final(err))
	// Output:
	// 302 https://registry.example/example.com/hello/@v/v1.0.0.mod
	// <nil>
	// 200 module example.com/hello
	// registry.example is unavailable: connection refused false
}

// Route and Allow hold the policy: Route is about modules, Allow about requests.
func ExampleOptions() {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{
		Upstream: elsewhere{},
		Private:  "corp.example,*.corp.example", // without it, GOPRIVATE and GONOPROXY of the environment
		Route: func(_ context.Context, m module.Version) (athens.Route, error) {
			if m.Path == "example.com/bad" && m.Version == "v1.0.0" {
				return athens.Route{Blocked: "CVE-2026-1, use v1.0.1"}, nil
			}
			return athens.Route{}, nil
		},
		Allow: func(r *http.Request, m module.Version) error {
			if strings.HasPrefix(m.Path, "example.com/secret") && r.Header.Get("X-Team") != "red" {
				return errors.New("for team red only")
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/example.com/bad/@v/v1.0.0.zip", "/example.com/secret/@v/list", "/corp.example/m/@v/v1.0.0.mod"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// 403 example.com/bad@v1.0.0: .zip: blocked: CVE-2026-1, use v1.0.1
	// 403 example.com/secret: list: for team red only
	// 503 corp.example/m@v1.0.0: .mod: version control is unavailable: this server has no access to version control
}

// Only a definite answer of a source becomes a 404. The error of a missing file or socket
// looks alike, but is an outage.
func ExampleMissingError() {
	missing := &athens.MissingError{Path: "example.com/hello", Query: "v1.0.1", Err: errors.New("no such tag")}
	outage := &athens.UnavailableError{Source: "example.com", Err: &fs.PathError{Op: "dial", Path: "agent.sock", Err: fs.ErrNotExist}}
	for _, err := range []error{missing, outage} {
		fmt.Println(errors.Is(err, fs.ErrNotExist), athens.Final(err), err)
	}
	// Output:
	// true true example.com/hello@v1.0.1: not found: no such tag
	// true false example.com is unavailable: dial agent.sock: file does not exist
}
