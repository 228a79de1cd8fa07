package modtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/athens-go/athens/internal/modtest"
)

// A server that is busy at the first request and works from then on. In a test
// the fault is placed by Tap.Break.
func ExampleFirst() {
	works := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	h := modtest.First(1, modtest.Status(http.StatusServiceUnavailable))(works)
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 503 fault: Service Unavailable
	//
	// 200 hello
}
