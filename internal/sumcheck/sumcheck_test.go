package sumcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
)

// world is a real checksum database named sum.test, and a store.
type world struct {
	t        testing.TB
	records  *sumdb.TestServer
	server   http.Handler
	verifier note.Verifier // nil: the key is not known

	mu     sync.Mutex
	kept   map[string][]byte // the store
	asked  []string          // of the database
	down   bool
	broken bool                                     // the store can't be read
	full   bool                                     // the store takes no more
	change func(path string, body []byte) []byte    // of the database's answers; nil is "not found"
	notes  []error                                  // what was not kept
	other  func(path string) (body []byte, ok bool) // answers in the database's place
}

var errDown = errors.New("connection refused")

// The key that sum.test signs with: the same in each process of a fuzzing run.
const (
	testSigner   = "PRIVATE+KEY+sum.test+bf9436c7+AXZmvraIJqIeeV38F3IilQD+LRhOw1FNTMUNKIFuVF7s"
	testVerifier = "sum.test+bf9436c7+AZx4nHIoNxYyx/I3dB8pWMg0K8gW/kEaZ6iz+o3vsNC6"
)

// newWorld starts a database of n records.
func newWorld(t testing.TB, n int) *world {
	w := &world{t: t, kept: map[string][]byte{}}
	w.serve(n, "")
	return w
}

// serve puts a database of n records in the place of the one there was. Salt
// makes it another one.
func (w *world) serve(n int, salt string) {
	w.records = sumdb.NewTestServer(testSigner, func(path, version string) ([]byte, error) {
		if strings.HasPrefix(path, "none.test/") {
			return nil, fs.ErrNotExist
		}
		return fmt.Appendf(nil, "%s %s h1:%s=\n%s %s/go.mod h1:%s=\n", path, version, salt, path, version, salt), nil
	})
	w.server = sumdb.NewServer(w.records)
	w.grow(0, n)
}

// grow adds records until there are n: those of m0, m1, ….
func (w *world) grow(from, n int) {
	for i := from; i < n; i++ {
		_, err := w.records.Lookup(w.t.Context(), numbered(i))
		require.NoError(w.t, err)
	}
}

func numbered(i int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/m%d", i), Version: "v1.0.0"}
}

// Ask asks the database.
func (w *world) Ask(_ context.Context, path string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errDown
	}
	w.asked = append(w.asked, path)
	if w.other != nil {
		if body, ok := w.other(path); ok {
			return body, nil
		}
	}
	rec := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() != nil { // the test server has no such tile
				rec.Code = http.StatusNotFound
			}
		}()
		w.server.ServeHTTP(rec, httptest.NewRequest("GET", "/"+path, nil))
	}()
	body := rec.Body.Bytes()
	if w.change != nil {
		body = w.change(path, body)
	}
	if rec.Code != http.StatusOK || body == nil {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return body, nil
}

// calls returns what the database was asked since the last time.
func (w *world) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func (w *world) GetSumDB(_ context.Context, name string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil, errors.New("input/output error")
	}
	data, ok := w.kept[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(data), nil
}

func (w *world) PutSumDB(_ context.Context, name string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return errors.New("no space")
	}
	w.kept[name] = bytes.Clone(data)
	return nil
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.kept)) }

// memory is a Memory without bounds.
type memory map[string][]byte

func (m memory) Get(path string) []byte       { return m[path] }
func (m memory) Put(path string, data []byte) { m[path] = data }

// locked is one for several goroutines.
type locked struct {
	mu sync.Mutex
	m  memory
}

func (l *locked) Get(path string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m.Get(path)
}

func (l *locked) Put(path string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m.Put(path, data)
}

// open opens what is kept, as a new process would.
func (w *world) open() *Database {
	return New("sum.test", w.verifier, w, &locked{m: memory{}}, func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notes = append(w.notes, err)
	})
}

// withKey lets what is opened later know the key.
func (w *world) withKey() *world {
	var err error
	w.verifier, err = note.NewVerifier(testVerifier)
	require.NoError(w.t, err)
	return w
}

func (w *world) lookup(d *Database, m module.Version) (string, bool, error) {
	path := "lookup/" + escaped(w.t, m)
	body, held, err := d.Lookup(w.t.Context(), m, path, w.Ask)
	return string(body), held, err
}

func escaped(t testing.TB, m module.Version) string {
	p, err := module.EscapePath(m.Path)
	require.NoError(t, err)
	v, err := module.EscapeVersion(m.Version)
	require.NoError(t, err)
	return p + "@" + v
}

// client is a go command's view of the database, through d.
type client struct {
	w      *world
	d      *Database
	latest []byte
	asked  atomic.Int32 // lookups and tiles that were not held
	failed string
}

func (c *client) ReadRemote(path string) ([]byte, error) {
	path = strings.TrimPrefix(path, "/")
	var body []byte
	var held bool
	var err error
	if m, ok := strings.CutPrefix(path, "lookup/"); ok {
		at := strings.LastIndexByte(m, '@')
		body, held, err = c.d.Lookup(c.w.t.Context(), module.Version{Path: m[:at], Version: m[at+1:]}, path, c.w.Ask)
	} else {
		body, held, err = c.d.Tile(c.w.t.Context(), parseTile(c.w.t, path), c.w.Ask)
	}
	if !held {
		c.asked.Add(1)
	}
	return body, err
}

func (c *client) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(testVerifier), nil
	}
	return c.latest, nil
}

func (c *client) WriteConfig(_ string, _, latest []byte) error { c.latest = latest; return nil }
func (c *client) ReadCache(string) ([]byte, error)             { return nil, fs.ErrNotExist }
func (c *client) WriteCache(string, []byte)                    {}
func (c *client) Log(string)                                   {}
func (c *client) SecurityError(msg string)                     { c.failed = msg }

// verify looks up versions as a go command with an empty cache does.
func (c *client) verify(versions ...int) error {
	db := sumdb.NewClient(c)
	for _, i := range versions {
		lines, err := db.Lookup(numbered(i).Path, "v1.0.0")
		if err != nil {
			return err
		}
		if len(lines) != 1 || c.failed != "" {
			return fmt.Errorf("%v %s", lines, c.failed)
		}
	}
	return nil
}

// What one client has verified, others verify in any order while the database
// is down, each with an empty cache or with an old one.
func TestWarmStoreNeedsNoDatabase(t *testing.T) {
	for _, keyed := range []bool{false, true} {
		t.Run(fmt.Sprint("key ", keyed), func(t *testing.T) {
			w := newWorld(t, 3)
			if keyed {
				w.withKey()
			}
			random := mrand.New(mrand.NewPCG(1, 2))
			var versions []int
			var clients []*client
			d := w.open()
			for size := 3; size < 1400; size += 1 + random.IntN(70) {
				w.grow(0, size) // what others had looked up
				v := size - 1
				if random.IntN(3) == 0 {
					v = random.IntN(size)
				}
				c := &client{w: w, d: d}
				require.NoError(t, c.verify(v))
				versions, clients = append(versions, v), append(clients, c)
				if random.IntN(4) == 0 {
					d = w.open()
				}
			}
			w.grow(0, 1500)
			w.calls()
			w.down = true
			for range 12 {
				random.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
				c := &client{w: w, d: w.open()}
				require.NoError(t, c.verify(versions...))
				assert.Zero(t, c.asked.Load())
				old := clients[random.IntN(len(clients))]
				c = &client{w: w, d: d, latest: old.latest}
				require.NoError(t, c.verify(versions...), "a client that has seen an earlier tree")
				assert.Zero(t, c.asked.Load())
			}
			assert.Empty(t, w.calls())
			assert.Empty(t, w.notes)
			for _, name := range w.names() {
				assert.NotContains(t, name, ".p/")
			}
		})
	}
}

// Records that are in the kept tree are proved in it, whatever tree they come
// with: no more tiles are asked for than their own.
func TestTreeMovesOnlyIfItMust(t *testing.T) {
	w := newWorld(t, 1000)
	d := w.open()
	first, held, err := w.lookup(d, numbered(999))
	require.NoError(t, err)
	assert.False(t, held)
	w.grow(0, 1300)
	w.calls()
	second, held, err := w.lookup(d, numbered(5))
	require.NoError(t, err)
	assert.False(t, held)
	assert.Equal(t, after(first), after(second), "the same tree")
	assert.Equal(t, []string{"lookup/example.com/m5@v1.0.0", "tile/8/0/000"}, w.calls())
	third, held, err := w.lookup(d, numbered(5))
	require.NoError(t, err)
	assert.True(t, held)
	assert.Equal(t, second, third)
	fourth, _, err := w.lookup(d, numbered(1200))
	require.NoError(t, err)
	assert.NotEqual(t, after(first), after(fourth))
	again, held, err := w.lookup(d, numbered(5))
	require.NoError(t, err)
	assert.True(t, held)
	assert.Equal(t, after(fourth), after(again), "all answers have the one tree")
}

// after returns what stands behind the record: the signed tree.
func after(answer string) string {
	_, signed, _ := strings.Cut(answer, "\n\n")
	return signed
}

func TestLookupsAtOnce(t *testing.T) {
	w := newWorld(t, 1).withKey()
	databases := []*Database{w.open(), w.open()} // two processes on one store
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 40 {
				_, _, err := w.lookup(databases[g%2], numbered((g*i)%300))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Empty(t, w.notes)
	w.down = true
	d := databases[0]
	if other := databases[1]; other.Head(t.Context()).Tree.N > d.Head(t.Context()).Tree.N {
		d = other
	}
	c := &client{w: w, d: d}
	assert.NoError(t, c.verify(0, 1, 2, 4, 280, 7, 39))
}
