package captured_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens/internal/captured"
)

func ExampleServe() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "log in first", http.StatusUnauthorized)
	})
	a := captured.Serve(handler, httptest.NewRequest(http.MethodGet, "/", nil), 6)
	fmt.Println(a.Status, a.Header.Get("Content-Type"))
	fmt.Printf("%q %v\n", a.Body, a.Truncated)
	// Output:
	// 401 text/plain; charset=utf-8
	// "log in" true
}

// The first final status counts, as in net/http, and a long body fails no write.
func TestServe(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	assert.Equal(t, &captured.Answer{Status: 200, Header: http.Header{}}, captured.Serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), r, 1))
	a := captured.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
		for range 3 {
			n, err := w.Write([]byte("abc"))
			assert.Equal(t, 3, n)
			assert.NoError(t, err)
		}
	}), r, 7)
	assert.Equal(t, &captured.Answer{Status: http.StatusTeapot, Header: http.Header{}, Body: []byte("abcabca"), Truncated: true}, a)
	whole := captured.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("abc")) }), r, 3)
	assert.False(t, whole.Truncated)
}
