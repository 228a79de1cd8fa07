package blob_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
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
)

// writes are the requests that change something.
func writes(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost }

// completes is the request that makes an object of the parts of an upload.
func completes(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// Each request of a fill fails in both ways, once or for good: nothing happened,
// and it happened although it failed. The store may say that it failed, or find
// out; the next time all is well, and what is held is whole.
func TestWritesThatFail(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	broken := map[string]modtest.Fault{
		"cut":      modtest.Cut(),
		"500":      modtest.Status(500),
		"503":      modtest.Status(503),
		"404":      modtest.Status(404),
		"409":      modtest.Status(409),
		"cut late": modtest.After(modtest.Cut()),
		"500 late": modtest.After(modtest.Status(500)),
		"412 late": modtest.After(modtest.Status(412)),
	}
	n := 0
	for name, fault := range broken {
		for times, many := range map[string]int64{"once": 1, "always": 1 << 30} {
			for what, s := range map[string]storagetest.Sample{"put": sample("v1.0.0"), "commit": sample("v1.0.0"), "parts": large("v1.0.0")} {
				if what == "parts" && !strings.Contains(name, "late") {
					continue // a whole upload for each: the others are the same as with one request
				}
				n++
				s.Module.Path = "example.com/" + string(rune('a'+n/26)) + string(rune('a'+n%26))
				t.Run(name+" "+times+" "+what, func(t *testing.T) {
					t.Parallel()
					failFill(t, server, s, what, modtest.First(many, fault))
				})
			}
		}
	}
}

func failFill(t *testing.T, server *modtest.S3, s storagetest.Sample, what string, fault modtest.Fault) {
	where := "modules/zip/" + s.Module.Path
	if what == "put" {
		where = "modules/mod/" + s.Module.Path
	}
	which := writes
	if what == "parts" {
		which = completes
	}
	store := open(t, server, nil)
	mend := server.Break(where, modtest.Only(which, fault))
	err := s.Store(t.Context(), store)
	if err != nil {
		assert.NotErrorIs(t, err, fs.ErrNotExist)
		_, conflict := errors.AsType[*athens.ConflictError](err)
		assert.False(t, conflict, "%v", err)
		assert.False(t, athens.Final(err), "%v", err)
	}
	mend()
	require.NoError(t, s.Store(t.Context(), store), "after %v", err)
	other := open(t, server, nil)
	require.NoError(t, s.Whole(t.Context(), other))
	require.NoError(t, s.Store(t.Context(), other))
}

// A write that failed although it happened, and is repeated by the SDK, meets
// itself: that is success, and not a conflict.
func TestWriteMeetsItself(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	for _, s := range []storagetest.Sample{sample("v1.0.0"), large("v1.1.0")} {
		store := open(t, server, nil)
		mend := server.Break("modules", modtest.Only(func(r *http.Request) bool {
			return r.Method == http.MethodPut && !r.URL.Query().Has("uploadId") || completes(r)
		}, modtest.First(2, modtest.After(modtest.Status(500)))))
		require.NoError(t, s.Store(t.Context(), store))
		mend()
		require.NoError(t, s.Whole(t.Context(), open(t, server, nil)))
	}
}

// A writer that dies leaves a version absent, or held without its zip, which
// another one completes; what that one has otherwise is refused.
func TestWriterDies(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := large("v1.0.0")
	dying, cancel := context.WithCancel(t.Context())
	a := open(t, server, nil)
	require.NoError(t, s.Put(t.Context(), a))
	mend := server.Break("modules/zip", modtest.Only(completes, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			cancel() // all parts are there
			panic(http.ErrAbortHandler)
		})
	}))
	require.ErrorIs(t, s.Commit(dying, a), context.Canceled)
	mend()

	b := open(t, server, nil)
	_, err := b.Open(t.Context(), s.Module, athens.ZipFile)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, s.Held(t.Context(), b))
	moved := storagetest.NewSample(s.Module.Path, s.Module.Version, "moved")
	var conflict *athens.ConflictError
	require.ErrorAs(t, moved.Put(t.Context(), b), &conflict)
	require.NoError(t, s.Store(t.Context(), b))
	require.NoError(t, s.Whole(t.Context(), a))
}

// Only what is definitely not held is fs.ErrNotExist.
func TestOutagesAreNotMissing(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := sample("v1.0.0")
	require.NoError(t, s.Store(t.Context(), open(t, server, nil)))
	none, err := blob.OpenURL(t.Context(), server.URL("no-such-bucket"), quick)
	require.NoError(t, err)
	_, err = blob.OpenURL(t.Context(), server.URL("no-such-bucket"), nil)
	require.ErrorContains(t, err, "NoSuchBucket")
	for name, c := range map[string]struct {
		store *blob.Store
		fault modtest.Fault
	}{
		"no bucket": {none, nil},
		"301":       {open(t, server, quick), modtest.Status(301)},
		"401":       {open(t, server, quick), modtest.Status(401)},
		"403":       {open(t, server, quick), modtest.Status(403)},
		"404":       {open(t, server, quick), modtest.Status(404)},
		"500":       {open(t, server, quick), modtest.Status(500)},
		"cut":       {open(t, server, quick), modtest.Cut()},
		"hangs":     {open(t, server, quick), modtest.Hang(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			if c.fault != nil {
				defer server.Break("modules", c.fault)()
			}
			for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
				_, err := c.store.Open(t.Context(), s.Module, f)
				assert.Error(t, err)
				assert.NotErrorIs(t, err, fs.ErrNotExist)
			}
			_, err := c.store.Versions(t.Context(), s.Module.Path)
			assert.Error(t, err)
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			err = s.Store(t.Context(), c.store)
			assert.Error(t, err)
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			var last error
			for _, err := range c.store.All(t.Context()) {
				last = err
			}
			assert.Error(t, last)
		})
	}
}

// A zip that stops in the middle is given up, and one that is cut off fails; the
// next reader has all of it.
func TestReadsThatFail(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	reads := func(r *http.Request) bool { return r.Method == http.MethodGet }
	for name, c := range map[string]struct {
		version string
		fault   modtest.Fault
	}{
		"cut":   {"v1.0.0", modtest.Truncate(1 << 20)},
		"stall": {"v1.1.0", stall(1 << 20)},
		"hang":  {"v1.2.0", modtest.Hang(nil)},
		"500":   {"v1.3.0", modtest.Status(500)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := large(c.version)
			require.NoError(t, s.Store(t.Context(), open(t, server, nil)))
			store := open(t, server, &blob.Options{Timeout: 5 * time.Second})
			mend := server.Break("modules/zip/example.com/m/@v/"+c.version+".zip", modtest.Only(reads, c.fault))
			got, err := read(t, store, s, athens.ZipFile)
			assert.Error(t, err)
			assert.NotErrorIs(t, err, fs.ErrNotExist)
			assert.Less(t, len(got), len(s.Zip))
			mend()
			require.NoError(t, s.Whole(t.Context(), store))
		})
	}
}

// stall lets n bytes pass, and then nothing until the client has had enough.
func stall(n int64) modtest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&stalling{w, r, n}, r)
		})
	}
}

type stalling struct {
	http.ResponseWriter
	r    *http.Request
	left int64
}

func (w *stalling) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		<-w.r.Context().Done()
		return 0, io.ErrClosedPipe
	}
	return w.ResponseWriter.Write(p)
}

func (w *stalling) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// What somebody takes out of the bucket is believed to be there for a while, or until
// it is read.
func TestTakenAway(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := sample("v1.0.0")
	store := open(t, server, nil)
	require.NoError(t, s.Store(t.Context(), store))
	require.NoError(t, s.Whole(t.Context(), store))
	remove(t, server, "zip/example.com/m/@v/v1.0.0.zip")
	_, err := read(t, store, s, athens.ZipFile)
	require.Error(t, err)
	_, err = store.Open(t.Context(), s.Module, athens.ZipFile)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, s.Store(t.Context(), store))
	require.NoError(t, s.Whole(t.Context(), store))
}
