package bundle_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/bundle"
	"github.com/athens-go/athens/storage/storagetest"
)

// What one store holds is carried to another one, and then only what is new.
func Example() {
	ctx, here, there := context.Background(), storage.NewMemory(), storage.NewMemory()
	carry := func(since *bundle.Manifest) *bundle.Manifest {
		var file bytes.Buffer
		if _, err := bundle.Export(ctx, here, &file, &bundle.ExportOptions{Since: since}); err != nil {
			fmt.Println(err)
		}
		r, size := bytes.NewReader(file.Bytes()), int64(file.Len())
		sum, err := bundle.Import(ctx, there, r, size, nil)
		if err != nil {
			fmt.Println(err)
			return nil
		}
		fmt.Printf("%d carried, %d in earlier bundles, %d stored\n", sum.Versions, sum.Before, sum.Stored)
		m, err := bundle.ReadManifest(r, size, nil)
		if err != nil {
			fmt.Println(err)
		}
		return m
	}
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		if err := storagetest.NewSample("example.com/mod", v, "").Store(ctx, here); err != nil {
			fmt.Println(err)
		}
	}
	first := carry(nil)
	if err := storagetest.NewSample("example.com/mod", "v1.2.0", "").Store(ctx, here); err != nil {
		fmt.Println(err)
	}
	carry(first)
	versions, err := there.Versions(ctx, "example.com/mod")
	fmt.Println(versions, err)
	// Output:
	// 2 carried, 0 in earlier bundles, 2 stored
	// 1 carried, 2 in earlier bundles, 1 stored
	// [v1.0.0 v1.1.0 v1.2.0] <nil>
}
