package blob_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
)

// A service that creates what exists is refused by New; one that does so with what is
// uploaded in parts, by Check.
func TestUnconditionalServiceIsRefused(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
		{CacheTTL: -1}, {MaxModBytes: -1}, {MaxModBytes: 2 << 30}, {Timeout: -1}, {UploadTimeout: -1}, {ZipURLTTL: -1}, {ZipURLTTL: 8 * 24 * 3600e9},
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

// A service that stops to honor conditions, on any key but the one that New tries, is
// found by the next write, and what is held stays what it is: of two servers that store
// different content none is told that all went well unless the other is told that it did
// not.
func TestConditionsThatStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		of    storagetest.Sample
		which func(*http.Request) bool
	}{
		"a small zip": {sample("v1.0.0"), puts},
		"a large one": {large("v1.1.0"), completes},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			a, b := open(t, server, nil), open(t, server, nil)
			held := c.of
			require.NoError(t, held.Store(t.Context(), a))

			mend := server.Break("modules", modtest.Only(c.which, unconditional(t, server)))
			moved := storagetest.NewSample(held.Module.Path, held.Module.Version, "moved")
			var conflict *athens.ConflictError
			require.ErrorAs(t, moved.Put(t.Context(), b), &conflict)
			require.ErrorAs(t, moved.Commit(t.Context(), b), &conflict)
			next := held
			next.Module.Version = "v1.9.0"
			info := *held.Info
			info.Version, next.Info = "v1.9.0", &info
			err := next.Store(t.Context(), b)
			require.ErrorContains(t, err, "If-None-Match")
			require.False(t, athens.Final(err))
			mend()
			require.NoError(t, held.Whole(t.Context(), open(t, server, nil)))
			require.NoError(t, next.Store(t.Context(), b), "what is there is what was stored")
			require.NoError(t, next.Whole(t.Context(), open(t, server, nil)))
		})
	}
}

// unconditional makes a write replace what exists, whatever it says: the object is deleted
// right before.
func unconditional(t *testing.T, server *modtest.S3) modtest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			bucket, err := gocloud.OpenBucket(t.Context(), server.URL("modules"))
			if assert.NoError(t, err) {
				_ = bucket.Delete(t.Context(), strings.TrimPrefix(r.URL.Path, "/modules/")) // if there is one
				assert.NoError(t, bucket.Close())
			}
			next.ServeHTTP(w, r)
		})
	}
}

func puts(r *http.Request) bool { return r.Method == http.MethodPut }

// Two servers that store two contents at the same time, in a bucket that lost its
// conditions after both had opened it, are not both told that it went well.
func TestRaceWithoutConditions(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	a, b := open(t, server, nil), open(t, server, nil)
	defer server.Break("modules/mod", modtest.Only(puts, unconditional(t, server)))()
	for i := range 10 {
		version := fmt.Sprintf("v1.%d.0", i)
		one, two := storagetest.NewSample("example.com/m", version, "one"), storagetest.NewSample("example.com/m", version, "two")
		told := make(chan error)
		go func() { told <- one.Put(t.Context(), a) }()
		second := two.Put(t.Context(), b)
		require.Error(t, errors.Join(<-told, second))
	}
}

// A listing that lacks a date, lists more than was asked for, or never ends is an error.
func TestOddListings(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	store := open(t, server, &blob.Options{Timeout: 5 * time.Minute}) // not what is tried here
	require.NoError(t, sample("v1.0.0").Put(t.Context(), store))
	entry := func(i int, date string) string {
		return fmt.Sprintf("<Contents><Key>mod/example.com/m/@v/v1.%d.0</Key><Size>1</Size>%s</Contents>", i, date)
	}
	const date = "<LastModified>2026-01-02T03:04:05Z</LastModified>"
	var full strings.Builder // what a page may have: from a service that sends less, a page is several requests
	for i := range 1000 {
		full.WriteString(entry(i, date))
	}
	page := func(rest string) string {
		return "<ListBucketResult><Name>modules</Name>" + rest + "</ListBucketResult>"
	}
	more := func(token string) string {
		return "<IsTruncated>true</IsTruncated><NextContinuationToken>" + token + "</NextContinuationToken>"
	}
	for says, body := range map[string]string{
		"panicked":     page(entry(0, "")),
		"1001 objects": page(full.String() + entry(1000, date)),
		"65537 bytes":  page(full.String() + more(strings.Repeat("x", 64<<10+1))),
		"not advance":  page(full.String() + more("same")),
	} {
		t.Run(says, func(t *testing.T) {
			defer server.Break("modules", modtest.Only(func(r *http.Request) bool { return r.URL.Query().Has("list-type") }, modtest.Body(body)))()
			_, err := store.Versions(t.Context(), "example.com/m")
			require.ErrorContains(t, err, says)
			var last error
			for _, err := range store.All(t.Context()) {
				last = err
			}
			require.ErrorContains(t, last, says)
		})
	}
}
