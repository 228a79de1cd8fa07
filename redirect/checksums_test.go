package redirect_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
)

// database is a real checksum database that counts what it is asked, and whose
// answers a test may change.
type database struct {
	http.Handler
	key    string
	change func(next http.Handler, w http.ResponseWriter, r *http.Request)
	asked  atomic.Int32
	tiles  atomic.Int32
}

func (d *database) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.asked.Add(1)
	if strings.HasPrefix(r.URL.Path, "/tile/") {
		d.tiles.Add(1)
	}
	if d.change != nil {
		d.change(d.Handler, w, r)
		return
	}
	d.Handler.ServeHTTP(w, r)
}

// gosum makes up the go.sum lines of a version.
func gosum(path, version string) ([]byte, error) {
	if strings.HasPrefix(path, "none.test/") {
		return nil, fs.ErrNotExist
	}
	if strings.HasPrefix(path, "other.test/") {
		path = "another.test/m"
	}
	return fmt.Appendf(nil, "%s %s h1:%s=\n%s %s/go.mod h1:%s=\n", path, version, strings.Repeat("A", 43), path, version, strings.Repeat("B", 43)), nil
}

// startDatabase starts a database named sum.test, signed with the key if there
// is one.
func startDatabase(t *testing.T, signer string) (*database, string) {
	var verifier string
	if signer == "" {
		var err error
		signer, verifier, err = note.GenerateKey(rand.Reader, "sum.test")
		require.NoError(t, err)
	}
	server := sumdb.NewServer(sumdb.NewTestServer(signer, gosum))
	return &database{key: verifier, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The test server panics for a tile that it does not have.
		defer func() {
			if recover() != nil {
				http.NotFound(w, r)
			}
		}()
		server.ServeHTTP(w, r)
	})}, signer
}

func checksums(t *testing.T, d *database, o *redirect.Options) *redirect.Checksums {
	c, err := redirect.NewChecksums(d.key+" "+serve(t, d).URL, o)
	require.NoError(t, err)
	return c
}

func TestLookup(t *testing.T) {
	d, _ := startDatabase(t, "")
	c := checksums(t, d, nil)
	assert.Equal(t, "sum.test", c.Name())
	for range 3 {
		lines, err := c.Lookup("example.com/M", "v1.0.0-RC")
		require.NoError(t, err)
		assert.Equal(t, []string{"example.com/M v1.0.0-RC h1:" + strings.Repeat("A", 43) + "="}, lines)
		lines, err = c.Lookup("example.com/M", "v1.0.0-RC/go.mod")
		require.NoError(t, err)
		assert.Equal(t, []string{"example.com/M v1.0.0-RC/go.mod h1:" + strings.Repeat("B", 43) + "="}, lines)
	}
	assert.EqualValues(t, 1, d.asked.Load()-d.tiles.Load(), "the record is asked for once")

	_, err := c.Lookup("none.test/m", "v1.0.0")
	var missing *athens.MissingError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, "none.test/m@v1.0.0", missing.Path+"@"+missing.Query)

	var invalid *athens.InvalidError
	_, err = c.Lookup("other.test/m", "v1.0.0")
	assert.ErrorAs(t, err, &invalid)
	assert.EqualError(t, err, "other.test/m@v1.0.0: invalid: the record of sum.test has no line for it")
	_, err = c.Lookup("bad path", "v1.0.0")
	assert.ErrorAs(t, err, &invalid)
}

func TestLookupsAtOnce(t *testing.T) {
	d, _ := startDatabase(t, "")
	c := checksums(t, d, &redirect.Options{CacheBytes: 20_000})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for j := range 8 {
				path := fmt.Sprintf("example.com/m%d", (i*j)%300)
				lines, err := c.Lookup(path, "v1.0.0")
				assert.NoError(t, err)
				assert.Len(t, lines, 1)
			}
		})
	}
	wg.Wait()
}

// What failed is asked again: no outage is remembered whose end nobody has named.
func TestLookupAfterOutage(t *testing.T) {
	d, _ := startDatabase(t, "")
	var broken atomic.Pointer[string]
	d.change = func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if b := broken.Load(); b != nil && strings.Contains(r.URL.Path, *b) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	}
	c := checksums(t, d, nil)
	for _, what := range []string{"/lookup/", "/tile/", "/"} {
		broken.Store(&what)
		path := "example.com/m" + strings.Trim(what, "/")
		_, err := c.Lookup(path, "v1.0.0")
		var down *athens.UnavailableError
		require.ErrorAs(t, err, &down, what)
		broken.Store(nil)
		_, err = c.Lookup(path, "v1.0.0")
		assert.NoError(t, err)
	}
	srv := httptest.NewServer(d)
	c, err := redirect.NewChecksums(d.key+" "+srv.URL, once())
	require.NoError(t, err)
	srv.Close()
	_, err = c.Lookup("example.com/m", "v1.0.0")
	var down *athens.UnavailableError
	assert.ErrorAs(t, err, &down)
}

// A database that tells one client one thing and another thing later.
func TestLyingDatabase(t *testing.T) {
	first, signer := startDatabase(t, "")
	second, _ := startDatabase(t, signer)
	fill := func(d *database, from int) {
		for i := range 5 {
			d.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", fmt.Sprintf("/lookup/example.com/m%d@v1.0.0", from+i), nil))
		}
	}
	fill(first, 0)
	fill(second, 10)
	var alarm atomic.Pointer[string]
	c := checksums(t, first, &redirect.Options{Alarm: func(proof string) { alarm.Store(&proof) }})
	_, err := c.Lookup("example.com/m1", "v1.0.0")
	require.NoError(t, err)

	var lie atomic.Bool
	lie.Store(true)
	first.change = func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if lie.Load() {
			next = second.Handler
		}
		next.ServeHTTP(w, r)
	}
	for range 2 {
		_, err = c.Lookup("example.com/m99", "v1.0.0")
		assert.EqualError(t, err, "example.com/m99@v1.0.0: invalid: sum.test has signed two trees that contradict each other")
		var invalid *athens.InvalidError
		assert.ErrorAs(t, err, &invalid)
		require.NotNil(t, alarm.Load())
		assert.Contains(t, *alarm.Load(), "proof of misbehavior")
	}
	// The process goes on, and so do truthful answers.
	lie.Store(false)
	_, err = c.Lookup("example.com/m2", "v1.0.0")
	assert.NoError(t, err)
}

func TestBrokenDatabase(t *testing.T) {
	// rewrite changes the bodies of paths that begin so.
	rewrite := func(prefix string, change func([]byte) []byte) func(http.Handler, http.ResponseWriter, *http.Request) {
		return func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, prefix) {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			w.WriteHeader(rec.Code)
			w.Write(change(rec.Body.Bytes()))
		}
	}
	status := func(prefix string, code int) func(http.Handler, http.ResponseWriter, *http.Request) {
		return func(next http.Handler, w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, prefix) {
				w.WriteHeader(code)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	other, _ := startDatabase(t, "")
	for _, c := range []struct {
		name   string
		change func(http.Handler, http.ResponseWriter, *http.Request)
		want   string
		kind   error
	}{
		{"forged record", rewrite("/lookup/", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("AAAA"), []byte("CCCC")) }), "cannot authenticate record data", new(athens.InvalidError)},
		{"forged tree", rewrite("/lookup/", func(b []byte) []byte { return append(bytes.TrimSuffix(b, []byte("\n")), "AAAA\n"...) }), "reading tree note", new(athens.InvalidError)},
		{"another database", func(_ http.Handler, w http.ResponseWriter, r *http.Request) { other.ServeHTTP(w, r) }, "reading tree note", new(athens.InvalidError)},
		{"a page", rewrite("/lookup/", func([]byte) []byte { return []byte("<html>login\n\n") }), "an HTML page", new(athens.UnavailableError)},
		{"no record", rewrite("/lookup/", func([]byte) []byte { return []byte("login\n\n") }), "malformed record data", new(athens.InvalidError)},
		{"forged tile", rewrite("/tile/", func(b []byte) []byte { return bytes.Repeat([]byte{1}, len(b)) }), "inconsistent", new(athens.InvalidError)},
		{"short tile", rewrite("/tile/", func(b []byte) []byte { return b[:len(b)/2] }), "sum.test", new(athens.InvalidError)},
		{"empty tile", rewrite("/tile/", func([]byte) []byte { return nil }), "sum.test", new(athens.InvalidError)},
		{"large record", rewrite("/lookup/", func([]byte) []byte { return make([]byte, 20_000) }), "the answer has more than 10000 bytes", new(athens.InvalidError)},
		{"large tile", rewrite("/tile/", func([]byte) []byte { return make([]byte, 20_000) }), "the answer has more than 10000 bytes", new(athens.InvalidError)},
		{"no tiles", status("/tile/", 404), "it has no tile/8/0/", new(athens.UnavailableError)},
		{"forbidden tiles", status("/tile/", 403), "blocked", new(athens.InvalidError)},
		{"gone", status("/lookup/", 410), "not found", new(athens.MissingError)},
		{"forbidden", status("/lookup/", 403), "blocked", new(athens.BlockedError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := startDatabase(t, "")
			for i := range 3 {
				d.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", fmt.Sprintf("/lookup/example.com/m%d@v1.0.0", i), nil))
			}
			d.change = c.change
			db := checksums(t, d, &redirect.Options{MaxSumDBAnswerBytes: 10_000, Tries: 1})
			_, err := db.Lookup("example.com/m", "v1.0.0")
			require.Error(t, err)
			assert.IsType(t, c.kind, err)
			assert.Contains(t, err.Error(), c.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestNewChecksumsRefuses(t *testing.T) {
	_, key, err := note.GenerateKey(rand.Reader, "sum.test")
	require.NoError(t, err)
	_, odd, err := note.GenerateKey(rand.Reader, "u:s3cret@sum.test?x")
	require.NoError(t, err)
	for spec, want := range map[string]string{
		"":                            "want NAME+HASH+KEY [URL]",
		key + " http://a.test x":      "want NAME+HASH+KEY [URL]",
		"sum.test":                    "the key is not NAME+HASH+KEY",
		odd:                           "is not host[/path]",
		key + " ftp://a.test":         "checksum database: URL \"ftp://a.test\": the scheme",
		key + " http://u:s3cret@/a?b": "checksum database: the URL is not one of",
	} {
		_, err := redirect.NewChecksums(spec, nil)
		assert.ErrorContains(t, err, want, spec)
	}
	for _, spec := range []string{key, key + " https://a.test/sumdb/sum.test/", "  " + key + "  http://127.0.0.1:1 "} {
		c, err := redirect.NewChecksums(spec, nil)
		assert.NoError(t, err)
		assert.Equal(t, "sum.test", c.Name())
	}
}
