package evict_test

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/evict"
)

// A store with room for ten versions keeps what is private and what was used lately.
func ExampleNew() {
	ctx := context.Background()
	store, err := evict.New(storage.NewMemory(), 120<<10, &evict.Options{
		Keep: func(_ context.Context, m module.Version) bool { return strings.HasPrefix(m.Path, "corp.test/") },
	})
	if err != nil {
		panic(err)
	}
	private := module.Version{Path: "corp.test/m", Version: "v1.0.0"}
	if err := put(ctx, store, private, 100); err != nil {
		panic(err)
	}
	for n := range 100 {
		if err := put(ctx, store, version(n), 100); err != nil {
			panic(err)
		}
	}
	for _, m := range []module.Version{private, version(0), version(99)} {
		_, err := store.Open(ctx, m, athens.ModFile)
		fmt.Println(m, err == nil)
	}
	fmt.Println(store.Stats().Bytes <= 120<<10)
	// Output:
	// corp.test/m@v1.0.0 true
	// example.com/m0@v1.0.0 false
	// example.com/m99@v1.0.0 true
	// true
}
