package serve_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/storage"
)

// A whole service: it serves, works off its fills, answers probes, and drains when its
// context is done. A real one takes the context from [serve.NotifyContext].
func ExampleRun() {
	store := storage.NewMemory()
	fills, err := fill.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := athens.NewHandler(store, &athens.Options{Fills: fills})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	err = serve.Run(ctx, handler, &serve.Options{
		Fills: fills,
		Ready: store.Writable,
		Listening: func(addr net.Addr) {
			go func() {
				defer stop()
				resp, err := http.Get("http://" + addr.String() + "/readyz")
				if err != nil {
					fmt.Println(err)
					return
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				fmt.Print(resp.Status, ": ", string(body))
			}()
		},
	})
	fmt.Println(err)
	// Output:
	// 200 OK: ok
	// <nil>
}

// A service with a mux and a server of its own takes the parts that it needs.
func ExampleFront() {
	store := storage.NewMemory()
	handler, err := athens.NewHandler(store, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	page := serve.NewPage(nil)
	mux := http.NewServeMux()
	mux.Handle("/go/", http.StripPrefix("/go", serve.Front(handler, nil, page)))
	mux.Handle("/readyz", serve.NewHealth(&serve.HealthOptions{Ready: store.Writable}))

	for _, path := range []string{"/go/", "/readyz"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(path, w.Code)
	}
	fmt.Println(serve.PasteLine("https://example.com/go", "*.corp.example.com"))
	// Output:
	// /go/ 200
	// /readyz 200
	// export GOPROXY=https://example.com/go GONOPROXY=none GONOSUMDB='*.corp.example.com'
}
