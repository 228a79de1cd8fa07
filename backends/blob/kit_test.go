package blob_test

import (
	"strconv"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage/storagetest"
	_ "gocloud.dev/blob/s3blob"
)

func TestKitS3(t *testing.T) {
	server := modtest.NewS3(t, "modules")
	server.Setenv(t)
	n := 0
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		n++
		url := server.URL("modules") + "&prefix=" + strconv.Itoa(n) + "/"
		return func() (athens.Storage, error) { return blob.OpenURL(t.Context(), url, nil) }
	})
}
