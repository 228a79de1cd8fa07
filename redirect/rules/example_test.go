package rules_test

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect/rules"
)

func ExampleParse() {
	r, err := rules.Parse("rules.txt", strings.NewReader(`
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
		route, err := r.Route(context.Background(), m)
		fmt.Printf("%s: %+v %v\n", m, route, err)
	}
	_, err = rules.Parse("rules.txt", strings.NewReader("block example.com/mod@v1.2.3"))
	fmt.Println(err)
	// Output:
	// github.com/corp/tool@v1.0.0: {Private:true Blocked:} <nil>
	// example.com/mod@v1.4.3-rc.1: {Private:false Blocked:CVE-2024-0001 (rules.txt:3)} <nil>
	// example.com/mod@v1.4.3: {Private:false Blocked:} <nil>
	// rules.txt:1:7: bad pattern "example.com/mod@v1.2.3": the version stands behind the pattern, as a constraint such as =1.2.3
}

// Rules decide for a handler where each module comes from.
func ExampleRules_Route() {
	r, err := rules.Parse("rules.txt", strings.NewReader("private corp.example.com\npublic corp.example.com/open"))
	if err != nil {
		panic(err)
	}
	opts := &athens.Options{Route: r.Route}
	for _, path := range []string{"corp.example.com/tool", "corp.example.com/open/tool"} {
		route, err := opts.Route(context.Background(), module.Version{Path: path})
		fmt.Println(route.Private, err)
	}
	// Output:
	// true <nil>
	// false <nil>
}
