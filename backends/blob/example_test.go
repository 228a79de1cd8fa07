package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"golang.org/x/mod/module"

	_ "gocloud.dev/blob/memblob" // s3blob, gcsblob or azureblob for a service
)

// A bucket is opened by its URL: "s3://modules?region=eu-central-1", "gs://modules",
// "azblob://modules". This one is in memory.
func ExampleOpenURL() {
	ctx := context.Background()
	store, err := blob.OpenURL(ctx, "mem://", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	m := module.Version{Path: "example.com/Hello", Version: "v1.0.0"}
	info := &athens.Info{Version: m.Version, Time: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
	if err := store.Put(ctx, m, info, []byte("module example.com/Hello\n")); err != nil {
		log.Fatal(err)
	}
	versions, err := store.Versions(ctx, m.Path)
	fmt.Println(versions, err)

	obj, err := store.Open(ctx, m, athens.ModFile)
	if err != nil {
		log.Fatal(err)
	}
	defer obj.Body.Close()
	text, err := io.ReadAll(obj.Body)
	fmt.Printf("%q %v %s\n", text, err, obj.ETag)

	_, err = store.Open(ctx, m, athens.ZipFile)
	fmt.Println("the zip is not held:", errors.Is(err, fs.ErrNotExist))

	err = store.Put(ctx, m, info, []byte("module example.com/Hello\n\ngo 1.26\n"))
	var conflict *athens.ConflictError
	fmt.Println("what is held stays:", errors.As(err, &conflict))
	// Output:
	// [v1.0.0] <nil>
	// "module example.com/Hello\n" <nil> "SXEt1GwuR7WTVJMFqkqaXhil"
	// the zip is not held: true
	// what is held stays: true
}
