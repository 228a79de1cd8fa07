package publish_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/publish"
	"github.com/athens-go/athens/storage"
)

const path = "/corp.example/x/@v/v1.0.0.zip"

// world is a server that takes uploads.
type world struct {
	store   *storage.Store
	root    http.Handler
	zip     *modtest.Version
	changes []string // that Changed was told of
}

func newWorld(t *testing.T, opts publish.Options) *world {
	w := &world{store: storage.NewMemory(), zip: version(t, "")}
	handler, err := athens.NewHandler(w.store, &athens.Options{Private: "none", Published: "corp.example", MaxZipBytes: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handler.Shutdown(context.Background())) })
	// A login is NAME:PATH.
	opts.Publish = func(r *http.Request, path string) (string, error) {
		user, may, given := r.BasicAuth()
		switch {
		case !given:
			return "", &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: `Basic realm="x"`}
		case may == "busy":
			return "", &athens.UnavailableError{Source: "the login", Err: errors.New("busy")}
		case may != path:
			return "", errors.New("no right to publish " + path)
		}
		return user, nil
	}
	opts.Changed = func(_ context.Context, kind string, m module.Version, reason string) {
		w.changes = append(w.changes, strings.TrimSpace(kind+" "+m.String()+" "+reason))
	}
	api, err := publish.New(handler, &opts)
	require.NoError(t, err)
	w.root = api.Front(handler)
	return w
}

// version is v1.0.0 of corp.example/x with a text in it.
func version(t *testing.T, text string) *modtest.Version {
	return modtest.NewVersion(t, "corp.example/x", "v1.0.0", map[string]string{"go.mod": "module corp.example/x\n", "x.go": "package x\n\n//" + text + "\n"})
}

// request is an upload with a login, which may be empty.
func request(path, login string, body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPut, path, body)
	if login != "" {
		r.SetBasicAuth("ci", login)
	}
	return r
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.root.ServeHTTP(rec, r)
	return rec
}

func (w *world) put(path, login string, body []byte) *httptest.ResponseRecorder {
	return w.do(request(path, login, bytes.NewReader(body)))
}

const login = "corp.example/x"

func TestPublish(t *testing.T) {
	w := newWorld(t, publish.Options{})
	sums := "corp.example/x v1.0.0 " + w.zip.Sum + "\ncorp.example/x v1.0.0/go.mod " + w.zip.GoModSum + "\n"
	for _, status := range []int{http.StatusCreated, http.StatusOK, http.StatusOK} {
		rec := w.put(path, login, w.zip.Zip)
		assert.Equal(t, status, rec.Code, rec.Body)
		assert.Equal(t, sums, rec.Body.String())
		assert.Equal(t, "text/plain; charset=utf-8", rec.Header().Get("Content-Type"))
	}
	assert.Equal(t, []string{"recorded corp.example/x@v1.0.0"}, w.changes)
	rec := w.do(httptest.NewRequest(http.MethodGet, path, http.NoBody))
	assert.Equal(t, w.zip.Zip, rec.Body.Bytes())

	other := version(t, "other")
	rec = w.put(path, login, other.Zip)
	assert.Equal(t, http.StatusConflict, rec.Code)
	assert.Contains(t, rec.Body.String(), w.zip.Sum)
	assert.Contains(t, rec.Body.String(), other.Sum)
	require.NoError(t, w.store.Remove(t.Context(), w.zip.Version, "leaks a key"))
	rec = w.put(path, login, w.zip.Zip)
	assert.Equal(t, http.StatusGone, rec.Code)
	assert.Contains(t, rec.Body.String(), "leaks a key")
	require.NoError(t, w.store.Restore(t.Context(), w.zip.Version))
	assert.Equal(t, http.StatusConflict, w.put(path, login, other.Zip).Code, "what was removed has the same content again, or none")
	assert.Equal(t, http.StatusCreated, w.put(path, login, w.zip.Zip).Code)
}

// An upload that declares more bytes than a zip may have is refused before it is sent.
func TestTooLargeIsNotRead(t *testing.T) {
	w := newWorld(t, publish.Options{})
	body := &countedReader{Reader: bytes.NewReader(w.zip.Zip)}
	r := request(path, login, body)
	r.ContentLength = 1<<20 + 1
	rec := w.do(r)
	assert.Equal(t, http.StatusRequestEntityTooLarge, rec.Code, rec.Body)
	assert.Zero(t, body.reads)
}

type countedReader struct {
	io.Reader
	reads int
}

func (c *countedReader) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// What has no credential, not the right one, or is no version stores nothing.
func TestRefused(t *testing.T) {
	w := newWorld(t, publish.Options{})
	zip := w.zip.Zip
	for _, c := range []struct {
		path, login string
		body        []byte
		status      int
	}{
		{path, "", zip, 401},
		{"/corp.example/x/@v/v1.zip", "", zip, 401},
		{path, "corp.example/y", zip, 403},
		{path, "busy", zip, 503},
		{"/other.example/x/@v/v1.0.0.zip", "other.example/x", zip, 403},
		{"/corp.example/x/@v/v1.zip", login, zip, 400},
		{"/corp.example/x/@v/latest.zip", login, zip, 400},
		{"/corp.example/x/@v/v2.0.0.zip", login, zip, 400},
		{"/corp.example/x/@v/v2.0.0+incompatible.zip", login, zip, 400},
		{"/corp.example/x/@v/v0.0.0-20200101000000-abcdefabcdef.zip", login, zip, 400},
		{"/corp.example/x/@v/v1.0.1.zip", login, zip, 422},
		{path, login, nil, 422},
		{path, login, zip[:len(zip)/2], 422},
		{path, login, make([]byte, 1<<20+1), 413},
		{"/corp.example/x/@v/v1.0.0.mod", login, zip, 405},
		{"/corp.example/x/@v/list", login, zip, 405},
		{"/corp.example/x%2f@v/v1.0.0.zip", login, zip, 405},
		{"/../x/@v/v1.0.0.zip", login, zip, 405},
		{"/", login, zip, 405},
	} {
		rec := w.put(c.path, c.login, c.body)
		assert.Equal(t, c.status, rec.Code, "%s: %s", c.path, rec.Body)
		switch c.status {
		case http.StatusMethodNotAllowed:
			assert.Equal(t, "GET, HEAD", rec.Header().Get("Allow"))
		case http.StatusUnauthorized:
			assert.Equal(t, `Basic realm="x"`, rec.Header().Get("WWW-Authenticate"))
		}
	}
	r := request(path, login, bytes.NewReader(zip))
	r.Header.Set("Content-Encoding", "gzip")
	assert.Equal(t, http.StatusUnsupportedMediaType, w.do(r).Code)
	r = request(path, login, io.MultiReader(bytes.NewReader(zip[:9]), broken{}))
	rec := w.do(r)
	assert.Equal(t, http.StatusBadRequest, rec.Code)
	assert.Contains(t, rec.Body.String(), "broke off after 9 bytes")
	assert.Empty(t, athenstest.Held(t, w.store, w.zip.Version))
	assert.Empty(t, w.changes)
}

// A body that ends early is no body that ends.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// The store's faults are not told to callers.
func TestStoreFails(t *testing.T) {
	store := athenstest.NewStore(t)
	handler, err := athens.NewHandler(store, &athens.Options{Private: "none", Published: "corp.example"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handler.Shutdown(context.Background())) })
	api, err := publish.New(handler, &publish.Options{Publish: func(*http.Request, string) (string, error) { return "ci", nil }})
	require.NoError(t, err)
	w := &world{root: api.Front(handler), zip: version(t, "")}
	for how, status := range map[string]int{"failed": 503, "full": 507} {
		store.Fail("write", how)
		rec := w.put(path, "", w.zip.Zip)
		assert.Equal(t, status, rec.Code)
		assert.Equal(t, "the upload failed; the server's log has the reason\n", rec.Body.String())
		assert.NotEmpty(t, rec.Header().Get("Retry-After"))
	}
	store.Fail("write", "")
	assert.Equal(t, http.StatusCreated, w.put(path, "", w.zip.Zip).Code)
}

// Without Options.Publish nobody may; New refuses what makes no sense.
func TestNew(t *testing.T) {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Private: "none", Published: "corp.example"})
	require.NoError(t, err)
	api, err := publish.New(handler, nil)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	api.Front(handler).ServeHTTP(rec, request(path, login, http.NoBody))
	assert.Equal(t, http.StatusUnauthorized, rec.Code)
	for _, opts := range []*publish.Options{{MaxUploads: -1}, {MaxUploadsEach: -1}} {
		_, err := publish.New(handler, opts)
		assert.ErrorContains(t, err, "negative")
	}
	_, err = publish.New(nil, nil)
	assert.ErrorContains(t, err, "needs a handler")
	require.NoError(t, handler.Shutdown(t.Context()))
}

// One caller whose uploads don't end leaves places for others, and those of no credential
// take none.
func TestSlowCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, publish.Options{MaxUploads: 3, MaxUploadsEach: 2})
		sent, unsent := io.Pipe()
		for range 5 { // of which two get a place, and three wait in vain
			go w.do(request(path, login, sent))
			go w.do(request(path, "", sent))
		}
		synctest.Wait()
		time.Sleep(6 * time.Second)
		rec := w.put(path, login, w.zip.Zip)
		assert.Equal(t, http.StatusTooManyRequests, rec.Code, rec.Body)
		assert.Equal(t, "5", rec.Header().Get("Retry-After"))
		r := request(path, "", bytes.NewReader(w.zip.Zip))
		r.SetBasicAuth("other", login)
		assert.Equal(t, http.StatusCreated, w.do(r).Code)
		require.NoError(t, unsent.Close())
		synctest.Wait()
		assert.Equal(t, http.StatusOK, w.put(path, login, w.zip.Zip).Code, "there is a place again")
	})
}

// The deadline of an upload moves with what has arrived, up to a limit.
func TestUploadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, publish.Options{})
		start := time.Now()
		c := &connection{ResponseRecorder: httptest.NewRecorder(), left: 3 * 64 << 10}
		w.root.ServeHTTP(c, request(path, login, c))
		assert.Equal(t, http.StatusRequestTimeout, c.Code, c.Body)
		assert.Equal(t, 33*time.Second, time.Since(start))
		assert.Contains(t, c.Body.String(), "196608 bytes arrived in 33s")
		assert.Equal(t, time.Now().Add(time.Minute), c.write, "to answer")
		assert.Equal(t, time.Now().Add(10*time.Second), c.read, "for what comes")
	})
}

// connection is a response and the body of its request, of which a part never arrives.
type connection struct {
	*httptest.ResponseRecorder
	left        int
	read, write time.Time
}

func (c *connection) SetReadDeadline(at time.Time) error {
	c.read = at
	return nil
}

func (c *connection) SetWriteDeadline(at time.Time) error {
	c.write = at
	return nil
}

func (c *connection) Read(p []byte) (int, error) {
	if n := min(len(p), c.left); n > 0 {
		c.left -= n
		return n, nil
	}
	time.Sleep(time.Until(c.read))
	return 0, os.ErrDeadlineExceeded
}
