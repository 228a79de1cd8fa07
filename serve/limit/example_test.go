package limit_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/athens-go/athens/serve/limit"
)

func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func Example() {
	limiter, err := limit.New(&limit.Options{RequestsPerSecond: 1})
	if err != nil {
		panic(err)
	}
	// Also: athens.Options{AllowFetch: limiter.AllowFetch}
	root := limiter.Requests(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "served")
	}))
	for range 2 {
		w := httptest.NewRecorder()
		root.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/example.com/m/@v/list", nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 served
	// 429 this server allows each client 1 requests a second (limit-requests); try again later
}
