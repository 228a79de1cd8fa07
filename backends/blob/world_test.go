package blob_test

import (
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/require"
)

// A test may run this program again, as another process; see childTask.
func TestMain(m *testing.M) {
	if task := os.Getenv(childTask); task != "" {
		os.Exit(child(task))
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests wait for a service that fails
		panic(err)
	}
	os.Exit(modtest.Main(m, modtest.S3Env()...))
}

// newServer starts an S3 server with the bucket "modules".
func newServer(t *testing.T) *modtest.S3 { return modtest.NewS3(t, "modules") }

// open opens the bucket once more, as another process would.
func open(t *testing.T, server *modtest.S3, opts *blob.Options) *blob.Store {
	t.Helper()
	s, err := blob.OpenURL(t.Context(), server.URL("modules"), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// sample is a version of example.com/m.
func sample(version string) storagetest.Sample {
	return storagetest.NewSample("example.com/m", version, "")
}

// large is a version with a zip that is uploaded in parts, the same each time. No
// store looks into it.
func large(version string) storagetest.Sample {
	s := sample(version)
	seed := sha256.Sum256([]byte(version))
	s.Zip = make([]byte, 17<<20)
	_, _ = rand.NewChaCha8(seed).Read(s.Zip)
	s.H1 = "h1:" + base64.StdEncoding.EncodeToString(seed[:])
	return s
}

// read returns a file of a version.
func read(t *testing.T, s athens.Storage, of storagetest.Sample, f athens.File) ([]byte, error) {
	obj, err := s.Open(t.Context(), of.Module, f)
	require.NoError(t, err)
	defer obj.Body.Close()
	return io.ReadAll(obj.Body)
}

// quick gives up soon.
var quick = &blob.Options{Timeout: 700 * time.Millisecond, UploadTimeout: 700 * time.Millisecond, Unprobed: true}
