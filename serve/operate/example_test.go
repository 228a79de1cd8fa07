package operate_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/operate"
	"github.com/athens-go/athens/storage"
)

// An operator hides a version of a running server.
func Example() {
	store := storage.NewMemory()
	handler, err := athens.NewHandler(store, nil)
	if err != nil {
		panic(err)
	}
	api, err := operate.New(handler, store, &operate.Options{
		Authorize: func(r *http.Request, right, path string) (string, error) {
			if user, password, _ := r.BasicAuth(); user != "ann" || password != "s3cret" {
				return "", &athens.RefusedError{Status: http.StatusUnauthorized}
			}
			if right != operate.Admin {
				return "", errors.New("ann may not do that")
			}
			return "ann", nil
		},
	})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/hide", strings.NewReader(`{"module": "example.com/m", "version": "v1.0.0", "reason": "does not compile"}`))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("ann", "s3cret")
	w := httptest.NewRecorder()
	api.Front(handler).ServeHTTP(w, r)
	marks, err := store.Marks(r.Context(), "example.com/m")
	fmt.Println(w.Code, marks["v1.0.0"].Reason, err)
	// Output: 200 does not compile <nil>
}
