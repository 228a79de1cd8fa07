package publish_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/publish"
	"github.com/athens-go/athens/storage"
)

// A registry where modules below corp.example are published.
func Example() {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Private: "none", Published: "corp.example"})
	if err != nil {
		panic(err)
	}
	defer handler.Shutdown(context.Background())
	uploads, err := publish.New(handler, &publish.Options{
		Publish: func(r *http.Request, _ string) (string, error) {
			if r.Header.Get("Authorization") != "Bearer secret" {
				return "", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: "Bearer"}
			}
			return "ci", nil
		},
	})
	if err != nil {
		panic(err)
	}
	root := uploads.Front(handler)

	upload := httptest.NewRequest(http.MethodPut, "/corp.example/x/@v/v1.0.0.zip", strings.NewReader("no zip"))
	for _, secret := range []string{"", "Bearer secret"} {
		upload.Header.Set("Authorization", secret)
		rec := httptest.NewRecorder()
		root.ServeHTTP(rec, upload)
		fmt.Print(rec.Code, " ", rec.Body)
	}
	// Output:
	// 401 log in to use this server
	// 422 corp.example/x@v1.0.0: invalid: not a zip: zip: not a valid zip file
}
