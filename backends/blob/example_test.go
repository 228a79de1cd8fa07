package blob_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"strings"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

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

// Two processes add to one ledger. What the one has recorded binds the other.
func ExampleNewLedger() {
	ctx := context.Background()
	store, err := blob.OpenURL(ctx, "mem://", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	key, _, err := note.GenerateKey(rand.Reader, "sum.corp.example") // kept as a secret
	if err != nil {
		log.Fatal(err)
	}
	m := module.Version{Path: "corp.example/m", Version: "v1.0.0"}
	for _, zip := range []string{"A", "A", "C"} {
		l, err := blob.NewLedger(ctx, store, key, nil)
		if err != nil {
			log.Fatal(err)
		}
		id, err := l.Add(ctx, m, "h1:"+strings.Repeat(zip, 43)+"=", "h1:"+strings.Repeat("B", 43)+"=")
		fmt.Println(id, err)
		if err := l.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 0 <nil>
	// 0 <nil>
	// 0 corp.example/m@v1.0.0: conflict: the .zip held is h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, the source now has h1:CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC=
}
