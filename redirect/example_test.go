package redirect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"golang.org/x/mod/module"

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

func ExampleParseRules() {
	rules, err := redirect.ParseRules("rules.txt", strings.NewReader(`
		private corp.example.com,github.com/corp
		block   example.com/mod >=1.2.0 <1.4.3  # CVE-2024-0001
	`))
	if err != nil {
		panic(err)
	}
	for _, m := range []module.Version{
		{Path: "github.com/corp/tool", Version: "v1.0.0"},
		{Path: "example.com/mod", Version: "v1.4.3-rc.1"},
		{Path: "example.com/mod", Version: "v1.4.3"},
	} {
		fmt.Printf("%s: %+v\n", m, rules.Route(m))
	}
	_, err = redirect.ParseRules("rules.txt", strings.NewReader("block example.com/mod@v1.2.3"))
	fmt.Println(err)
	// Output:
	// github.com/corp/tool@v1.0.0: {Private:true Blocked:}
	// example.com/mod@v1.4.3-rc.1: {Private:false Blocked:CVE-2024-0001 (rules.txt:3)}
	// example.com/mod@v1.4.3: {Private:false Blocked:}
	// rules.txt:1:7: bad pattern "example.com/mod@v1.2.3": the version stands behind the pattern, as a constraint such as =1.2.3
}
