package blob_test

import (
	"net/http"
	"testing"

	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"
)

// A service that creates what exists is refused by New; one that does so with what is
// uploaded in parts, by Check.
func TestUnconditionalServiceIsRefused(t *testing.T) {
	server := newServer(t)
	ignores := server.Break("modules/.athens/probe", modtest.Body(""))
	_, err := blob.OpenURL(t.Context(), server.URL("modules"), nil)
	require.ErrorContains(t, err, "If-None-Match")
	ignores()

	store := open(t, server, nil)
	require.NoError(t, store.Check(t.Context()))
	ignores = server.Break("modules/.athens/probe", modtest.Only(completes, modtest.Body(
		`<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>`)))
	require.ErrorContains(t, store.Check(t.Context()), "uploaded in parts")
	ignores()
	require.Zero(t, server.Count("modules/mod"))

	// Of two that begin at the same time none is refused.
	require.NoError(t, store.Check(t.Context()))
	remove(t, server, ".athens/probe")
	began := make(chan error, 4)
	for range cap(began) {
		go func() {
			s, err := blob.OpenURL(t.Context(), server.URL("modules"), nil)
			if err == nil {
				err = s.Close()
			}
			began <- err
		}()
	}
	for range cap(began) {
		require.NoError(t, <-began)
	}
}

// A server that may not write does not try to.
func TestUnprobed(t *testing.T) {
	server := newServer(t)
	s := sample("v1.0.0")
	require.NoError(t, s.Store(t.Context(), open(t, server, nil)))
	defer server.Break("modules", modtest.Only(writes, modtest.Status(http.StatusForbidden)))()
	_, err := blob.OpenURL(t.Context(), server.URL("modules"), nil)
	require.ErrorContains(t, err, "probe")
	require.NoError(t, s.Whole(t.Context(), open(t, server, &blob.Options{Unprobed: true})))
}

func TestOptions(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	for _, o := range []blob.Options{
		{KeepFor: -1}, {MaxModBytes: -1}, {MaxModBytes: 2 << 30}, {Timeout: -1}, {UploadTimeout: -1}, {ZipURLs: -1}, {ZipURLs: 8 * 24 * 3600e9},
	} {
		_, err := blob.New(t.Context(), bucket, &o)
		require.Error(t, err, "%+v", o)
	}
	_, err := blob.New(t.Context(), nil, nil)
	require.Error(t, err)
	_, err = blob.OpenURL(t.Context(), "nothing://here", nil)
	require.Error(t, err)

	s, err := blob.New(t.Context(), bucket, &blob.Options{MaxModBytes: 10})
	require.NoError(t, err)
	require.ErrorContains(t, sample("v1.0.0").Put(t.Context(), s), "more than 10")
	_, err = blob.New(t.Context(), bucket, &blob.Options{TempDir: "/no/such/folder"})
	require.Error(t, err)
}
