package goimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/goimport"
	"github.com/athens-go/athens/storage"
)

// A server that answers for corp.example, and holds nothing yet.
func Example() {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Private: "none"})
	if err != nil {
		panic(err)
	}
	pages, err := goimport.New("corp.example", nil)
	if err != nil {
		panic(err)
	}
	root := pages.Front(handler)

	rec := httptest.NewRecorder()
	root.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "https://corp.example/x/pkg?go-get=1", http.NoBody))
	fmt.Print(rec.Code, " ", rec.Body)
	// Output: 404 no module here has the package corp.example/x/pkg
}
