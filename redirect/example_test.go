package redirect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
)

func ExampleNew() {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/example.com/m/@v/list":
			fmt.Fprintln(w, "v1.1.0\nv1.0.0")
		default:
			http.Error(w, "not found: no such module", http.StatusNotFound)
		}
	}))
	defer registry.Close()

	upstream, err := redirect.New(registry.URL, nil)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	fmt.Println(upstream.Versions(ctx, "example.com/m"))

	_, err = upstream.Versions(ctx, "example.com/typo")
	var missing *athens.MissingError
	fmt.Println(errors.As(err, &missing), err)

	location, err := upstream.Location(ctx, "example.com/m/@v/v1.1.0.zip")
	fmt.Println(strings.TrimPrefix(location, registry.URL), err)
	// Output:
	// [v1.0.0 v1.1.0] <nil>
	// true example.com/typo: not found: no such module
	// /example.com/m/@v/v1.1.0.zip <nil>
}
