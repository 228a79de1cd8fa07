package blob_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asked is the requests that the service got meanwhile.
func asked(server *modtest.S3, do func()) []string {
	server.Reset()
	do()
	var all []string
	for _, r := range server.Requests("") {
		what := r.Method
		switch {
		case r.Method == http.MethodGet && strings.Contains(r.Query, "list-type"):
			what = "LIST"
		case r.Header.Get("Range") != "":
			what += " " + r.Header.Get("Range")
		}
		all = append(all, what)
	}
	return all
}

// What each thing costs, as README.md says.
func TestRequests(t *testing.T) {
	server := newServer(t)
	a, b := open(t, server, nil), open(t, server, nil)
	s, small := large("v1.0.0"), sample("v1.1.0")
	check := func(what string, want []string, do func()) {
		t.Helper()
		assert.Equal(t, want, asked(server, do), what)
	}
	ok := func(err error) { t.Helper(); require.NoError(t, err) }
	opened := func(st athens.Storage, f athens.File) {
		t.Helper()
		obj, err := st.Open(t.Context(), s.Module, f)
		ok(err)
		ok(obj.Body.Close())
	}

	check("New of a known bucket", []string{"PUT"}, func() { open(t, server, nil) })
	check("a miss", []string{"GET"}, func() {
		_, err := a.Open(t.Context(), small.Module, athens.ModFile)
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	// Each write is repeated, and refused; first it is asked what there is.
	check("a fill", []string{"GET", "PUT", "PUT", "HEAD", "PUT", "PUT"}, func() { ok(small.Store(t.Context(), a)) })
	check("the same fill again", []string{"HEAD"}, func() { ok(small.Store(t.Context(), a)) })
	check("the same fill elsewhere", []string{"GET", "HEAD"}, func() { ok(small.Store(t.Context(), b)) })
	check(".info and .mod, filled here", nil, func() {
		ok(s.Put(t.Context(), a))
		server.Reset()
		opened(a, athens.InfoFile)
		opened(a, athens.ModFile)
	})
	check(".info and .mod, cold", []string{"GET"}, func() { opened(b, athens.InfoFile); opened(b, athens.ModFile) })
	check(".info and .mod, warm", nil, func() { opened(b, athens.InfoFile); opened(b, athens.ModFile) })
	check("a zip that is not held", []string{"HEAD", "GET bytes=0-0"}, func() {
		_, err := b.Open(t.Context(), s.Module, athens.ZipFile)
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	// The parts, two of 8 MiB and one of 1; the .info and .mod, refused; the first time
	// in an hour an upload in parts, refused.
	parts := []string{"POST", "PUT", "PUT", "PUT", "POST"}
	check("a large zip", slices.Concat([]string{"HEAD"}, parts, []string{"PUT"}, parts, []string{"DELETE", "HEAD"}), func() { ok(s.Commit(t.Context(), a)) })
	next := large("v1.2.0")
	ok(next.Put(t.Context(), a))
	check("another", slices.Concat([]string{"HEAD"}, parts, []string{"PUT", "HEAD"}), func() { ok(next.Commit(t.Context(), a)) })
	check("a zip, cold", []string{"HEAD", "GET"}, func() { _, err := read(t, b, s, athens.ZipFile); ok(err) })
	check("a zip, warm", []string{"GET"}, func() { _, err := read(t, b, s, athens.ZipFile); ok(err) })
	for name, c := range map[string]struct {
		method, ranges string
		status         int
		want           []string
	}{
		"HEAD, warm":        {http.MethodHead, "", 200, nil},
		"a range, warm":     {http.MethodGet, "bytes=1000-1999", 206, []string{"GET bytes=1000-"}},
		"two ranges, warm":  {http.MethodGet, "bytes=10-19,1000-1999", 206, []string{"GET bytes=10-", "GET bytes=1000-"}},
		"an end, warm":      {http.MethodGet, "bytes=-100", 206, []string{fmt.Sprintf("GET bytes=%d-", len(s.Zip)-100)}},
		"beyond, warm":      {http.MethodGet, "bytes=99999999-", 416, nil},
		"the whole, of one": {http.MethodGet, "bytes=0-", 206, []string{"GET"}},
	} {
		check(name, c.want, func() {
			h, err := athens.NewHandler(b, nil)
			ok(err)
			r := httptest.NewRequestWithContext(t.Context(), c.method, "/example.com/m/@v/v1.0.0.zip", nil)
			if c.ranges != "" {
				r.Header.Set("Range", c.ranges)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, c.status, w.Code)
		})
	}
}

// What it costs to take versions back, and what that costs others: nothing for what is held.
func TestRequestsOfRemovals(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	a, b := open(t, server, nil), open(t, server, nil)
	s := sample("v1.0.0")
	require.NoError(t, s.Store(t.Context(), a))
	check := func(what string, want []string, do func() error) {
		t.Helper()
		assert.Equal(t, want, asked(server, func() { require.NoError(t, do()) }), what)
	}
	marks := func(st *blob.Store, want int) func() error {
		return func() error {
			all, err := st.Marks(t.Context(), s.Module.Path)
			require.Len(t, all, want)
			return err
		}
	}
	gone := func(st *blob.Store, f athens.File) func() error {
		return func() error {
			_, err := st.Open(t.Context(), s.Module, f)
			require.True(t, removed(err), "%v", err)
			return nil
		}
	}
	check("marks, none", []string{"LIST"}, marks(b, 0))
	check("marks, again", nil, marks(b, 0))
	check("hide", []string{"LIST", "PUT", "PUT"}, func() error { return a.Hide(t.Context(), s.Module, mistake) })
	// The marks, the hashes of what is held, the new mark, and for each object whether it is
	// there, its end (the driver looks again first), and what is empty in its place; last
	// the note that it is done.
	check("remove", []string{"LIST", "GET", "GET", "HEAD", "PUT", "PUT", "HEAD", "HEAD", "DELETE", "PUT", "HEAD", "HEAD", "DELETE", "PUT", "PUT"},
		func() error { return a.Remove(t.Context(), s.Module, mistake) })
	check("remove again", []string{"LIST", "GET"}, func() error { return a.Remove(t.Context(), s.Module, mistake) })
	c := open(t, server, nil)
	check("a removed .mod", []string{"GET", "LIST", "GET"}, gone(c, athens.ModFile))
	check("a removed .mod, again", []string{"GET"}, gone(c, athens.ModFile))
	check("a removed .zip, again", []string{"HEAD"}, gone(c, athens.ZipFile))
	check("marks, after that", nil, marks(c, 1))
	check("marks, elsewhere", []string{"LIST", "GET"}, marks(open(t, server, nil), 1))
	check("restore", []string{"LIST", "GET", "PUT", "PUT"}, func() error { return a.Restore(t.Context(), s.Module) })
	// Put and Commit look at the mark, delete what is empty, and look at the mark again.
	check("fill after that", []string{
		"GET", "LIST", "GET", "LIST", "GET", "LIST", "GET", "HEAD", "DELETE", "PUT", "PUT", "LIST", "GET",
		"HEAD", "LIST", "GET", "HEAD", "DELETE", "PUT", "PUT", "LIST", "GET",
	}, func() error { return s.Store(t.Context(), open(t, server, &blob.Options{Unprobed: true})) })
}

// A list is a request for each thousand versions, whatever else is held, and whether
// or not they have zips.
func TestRequestsOfLists(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	store := open(t, server, nil)
	const n, atOnce = 1001, 8
	made := asked(server, func() {
		var wg sync.WaitGroup
		for part := range atOnce {
			wg.Go(func() {
				for i := part; i < n; i += atOnce {
					assert.NoError(t, sample(fmt.Sprintf("v1.%d.0", i)).Put(t.Context(), store))
				}
			})
		}
		wg.Wait()
	})
	slices.Sort(made)
	puts := len(made) - slices.Index(made, "PUT")
	t.Logf("%d Puts, %d at once: %d PUT", n, atOnce, puts)
	assert.Less(t, puts, 2*n, "writes that end together share the one that must be refused")
	below := sample("v1.0.0")
	below.Module.Path += "/below"
	require.NoError(t, below.Store(t.Context(), store))
	require.NoError(t, sample("v1.0.0").Store(t.Context(), store))
	assert.Equal(t, []string{"LIST", "LIST"}, asked(server, func() {
		list, err := store.Versions(t.Context(), "example.com/m")
		require.NoError(t, err)
		require.Len(t, list, n)
		require.Equal(t, "v1.1000.0", list[n-1])
	}))
	assert.Equal(t, []string{"LIST"}, asked(server, func() {
		list, err := store.Versions(t.Context(), "example.com/m/below")
		require.NoError(t, err)
		require.Equal(t, []string{"v1.0.0"}, list)
	}))
	assert.Equal(t, []string{"LIST", "LIST"}, asked(server, func() {
		all := 0
		for _, err := range store.All(t.Context()) {
			require.NoError(t, err)
			all++
		}
		require.Equal(t, n+1, all)
	}))
}

// Answers of checksum databases: one request each, and a listing before the first write.
func TestRequestsOfAnswers(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	store := open(t, server, nil)
	const name = "sum.test/head"
	put := func() { require.NoError(t, store.PutSumDB(t.Context(), name, []byte("x"))) }
	assert.Equal(t, []string{"LIST", "PUT"}, asked(server, put))
	assert.Equal(t, []string{"PUT"}, asked(server, put))
	assert.Equal(t, []string{"GET"}, asked(server, func() {
		_, err := store.GetSumDB(t.Context(), name)
		require.NoError(t, err)
	}))
	assert.Equal(t, []string{"LIST"}, asked(server, func() {
		for got, err := range store.AllSumDB(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, name, got)
		}
	}))
}

// A client that is sent to the service gets the zip there without credentials.
func TestZipURL(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := sample("v1.0.0")
	plain := open(t, server, nil)
	require.NoError(t, s.Store(t.Context(), plain))
	url, err := plain.ZipURL(t.Context(), s.Module)
	require.NoError(t, err)
	require.Empty(t, url)

	signing := open(t, server, &blob.Options{ZipURLTTL: 1e9 * 60})
	h, err := athens.NewHandler(signing, nil)
	require.NoError(t, err)
	front := httptest.NewServer(h)
	defer front.Close()
	client := front.Client()
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r, err := http.NewRequestWithContext(t.Context(), method, front.URL+"/example.com/m/@v/v1.0.0.zip", nil)
		require.NoError(t, err)
		response, err := client.Do(r)
		require.NoError(t, err)
		got, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, string(got))
		if method == http.MethodGet {
			require.Equal(t, s.Zip, got)
			require.NotEqual(t, front.Listener.Addr().String(), response.Request.URL.Host)
		} else {
			require.Equal(t, front.Listener.Addr().String(), response.Request.URL.Host)
		}
		methods = append(methods, response.Request.Method)
	}
	require.True(t, slices.Equal(methods, []string{http.MethodGet, http.MethodHead}))
	client.CloseIdleConnections()
}
