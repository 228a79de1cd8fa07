package blob_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"

	"github.com/athens-go/athens/backends/blob"
)

// The answers of checksum databases are bounded. What others store counts after an hour.
func TestSumDBBound(t *testing.T) {
	for most, holds := range map[int64]int{3 * 4096: 3, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			bucket := memblob.OpenBucket(nil)
			defer bucket.Close()
			a, err := blob.New(t.Context(), bucket, &blob.Options{MaxSumDBBytes: most})
			require.NoError(t, err)
			b, err := blob.New(t.Context(), bucket, &blob.Options{MaxSumDBBytes: most})
			require.NoError(t, err)
			put := func(s *blob.Store, name string, size int) error {
				return s.PutSumDB(t.Context(), "sum.test/"+name, []byte(strings.Repeat("x", size)))
			}
			for i := range holds {
				require.NoError(t, put(a, "tile/"+string(rune('a'+i)), 10))
			}
			require.ErrorContains(t, put(a, "tile/z", 1), "MaxSumDBBytes")
			require.ErrorContains(t, put(b, "tile/z", 1), "MaxSumDBBytes", "it counts what is there")
			if holds == 0 {
				return
			}
			require.NoError(t, put(a, "head", 10), "a head replaces another one")
			require.NoError(t, bucket.Delete(t.Context(), "sums/sum.test/tile/a"))
			require.NoError(t, bucket.Delete(t.Context(), "sums/sum.test/head"))
			require.ErrorContains(t, put(b, "tile/z", 1), "MaxSumDBBytes")
			time.Sleep(2 * time.Hour)
			require.NoError(t, put(b, "tile/z", 1))
		})
	}
}

// A service that fails is not one that has nothing, and a failed write counts for nothing.
func TestSumDBFaults(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	s, err := blob.New(t.Context(), bucket, &blob.Options{MaxSumDBBytes: 4096})
	require.NoError(t, err)
	_, err = s.GetSumDB(t.Context(), "sum.test/head")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, bucket.WriteAll(t.Context(), "sums/sum.test//x", []byte("x"), nil)) // of somebody else
	require.NoError(t, bucket.Close())
	_, err = s.GetSumDB(t.Context(), "sum.test/head")
	require.ErrorContains(t, err, `read the answer "sum.test/head" of a checksum database`)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, s.PutSumDB(t.Context(), "sum.test/head", []byte("x")))
	var last error
	for name, err := range s.AllSumDB(t.Context()) {
		assert.Empty(t, name)
		last = err
	}
	require.ErrorContains(t, last, "list the answer")
	_, err = s.ZipHash(t.Context(), sample("v1.0.0").Module)
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	_, err = s.ZipHash(ctx, sample("v1.0.0").Module)
	require.ErrorIs(t, err, context.Canceled)
}
