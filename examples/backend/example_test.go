package backend_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/backend"
)

func Example() {
	ctx := context.Background()
	store := backend.New(new(bucket)) // a service, in earnest
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	info := &athens.Info{Version: m.Version, Time: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err := store.Put(ctx, m, info, []byte("module example.com/mod\n")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Versions(ctx, m.Path))
	fmt.Println(store.Put(ctx, m, info, []byte("module example.com/other\n")))
	// Output:
	// [v1.0.0] <nil>
	// example.com/mod@v1.0.0: conflict: the .mod held is "module example.com/mod\n", the source now has "module example.com/other\n"
}
