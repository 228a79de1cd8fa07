package blob_test

import (
	"context"
	"log"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
)

import _ "gocloud.dev/blob/s3blob" // gcsblob for gs://, azureblob for azblob://

// The code of the README. It is compiled and not run: it needs an account.
func Example_s3() {
	ctx := context.Background()
	store, err := blob.OpenURL(ctx, "s3://modules?region=eu-central-1", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := athens.NewHandler(store, nil); err != nil {
		log.Fatal(err)
	}
}
