package rules_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

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
		fmt.Printf("%s: private %t, blocked %q %v\n", m, route.Private, route.Blocked, err)
	}
	_, err = rules.Parse("rules.txt", strings.NewReader("block example.com/mod@v1.2.3"))
	fmt.Println(err)
	// Output:
	// github.com/corp/tool@v1.0.0: private true, blocked "" <nil>
	// example.com/mod@v1.4.3-rc.1: private false, blocked "CVE-2024-0001 (rules.txt:3)" <nil>
	// example.com/mod@v1.4.3: private false, blocked "" <nil>
	// rules.txt:1:7: bad pattern "example.com/mod@v1.2.3": give the version after the pattern, as a constraint such as =1.2.3
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

// A private module path is matched in every spelling that leads to it.
func ExampleRules_WithPrivate() {
	var r *rules.Rules // none but these
	r, err := r.WithPrivate("corp.example,*.corp.example,github.com/our-team/*")
	if err != nil {
		panic(err)
	}
	for _, path := range []string{"git.corp.example/tool", "CORP.example/Tool.git", "github.com/our-team/app/v2", "github.com/others/app"} {
		route, err := r.Route(context.Background(), module.Version{Path: path})
		fmt.Println(path, route.Private, err)
	}
	// Output:
	// git.corp.example/tool true <nil>
	// CORP.example/Tool.git true <nil>
	// github.com/our-team/app/v2 true <nil>
	// github.com/others/app false <nil>
}

// A file in force is asked for each version, and told which versions sources name.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "rules-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "rules.txt")
	if err := os.WriteFile(file, []byte("cooldown 7d\ncooldown 0 corp.example.com\n"), 0o600); err != nil {
		panic(err)
	}
	r, err := rules.Open(file, &rules.Options{SeenDir: filepath.Join(dir, "seen")})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go r.Run(ctx) // reads the file again when it changes
	opts := &athens.Options{Route: r.Route, Named: r.Seen}
	for _, path := range []string{"example.com/mod", "corp.example.com/mod"} {
		route, err := opts.Route(ctx, module.Version{Path: path, Version: "v1.0.0"})
		fmt.Println(path, route.Blocked != "", time.Until(route.Until) > 6*24*time.Hour, err)
	}
	// Output:
	// example.com/mod true true <nil>
	// corp.example.com/mod false false <nil>
}
