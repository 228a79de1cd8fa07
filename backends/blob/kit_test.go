package blob_test

import (
	"strconv"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"
	_ "gocloud.dev/blob/s3blob"
)

func TestKitS3(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	n := 0
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		n++
		url := server.URL("modules") + "&prefix=" + strconv.Itoa(n) + "/"
		// The kit's second store must see marks of the first at once.
		return func() (athens.Storage, error) {
			return blob.OpenURL(t.Context(), url, &blob.Options{MarksTTL: -1})
		}
	})
}

// What is asked of the service again each time must not say anything else.
func TestKitKeepNothing(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Open {
		bucket := memblob.OpenBucket(nil)
		t.Cleanup(func() { require.NoError(t, bucket.Close()) })
		return func() (athens.Storage, error) {
			return blob.New(t.Context(), bucket, &blob.Options{CacheBytes: -1, MarksTTL: -1})
		}
	})
}
