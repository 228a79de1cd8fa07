package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/bundle"
	"github.com/athens-go/athens/storage/storagetest"
)

// Each folder in testdata/written has what one version of Athens wrote: a store, the journal of a
// queue, a ledger with its key, and a bundle with its. They are kept for ever, and every later
// version reads them. Before the release of a version that writes something else, make its folder:
//
//	go test -run TestWritten -write v0.2.0 ./internal/e2e
var write = flag.String("write", "", "write testdata/written/`VERSION`")

// written is one folder, or a copy of it.
type written string

func (w written) path(name string) string { return filepath.Join(string(w), name) }

func (w written) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(w.path(name))
	require.NoError(t, err)
	return strings.TrimSpace(string(data))
}

// asked are the requests whose answers are kept in the file "answers".
var asked = []string{
	"example.com/!some/mod/@v/v1.0.0.info", "example.com/!some/mod/@v/v1.0.0.mod", "example.com/!some/mod/@v/v1.0.0.zip",
	"example.com/!some/mod/@v/v1.1.0.info", "example.com/!some/mod/@v/v1.1.0.mod", "example.com/!some/mod/@v/v1.1.0.zip",
	"example.com/!some/mod/@v/list", "example.com/!some/mod/@latest",
	"bad.test/m/@v/v1.0.0.info", "bad.test/m/@v/v1.0.0.mod", "bad.test/m/@v/v1.0.0.zip", "bad.test/m/@v/list",
	"hidden.test/m/@v/v1.0.0.zip", "hidden.test/m/@v/v1.1.0.zip", "hidden.test/m/@v/list", "hidden.test/m/@latest",
	"old.test/m/@v/v2.0.0+incompatible.zip", "old.test/m/@v/list",
}

// answers asks a server that has the store and nothing else.
func answers(t *testing.T, store athens.Storage) string {
	t.Helper()
	h, err := athens.NewHandler(store, &athens.Options{Offline: true, Private: "none"})
	require.NoError(t, err)
	defer func() { assert.NoError(t, h.Shutdown(context.WithoutCancel(t.Context()))) }()
	var b strings.Builder
	for _, path := range asked {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/"+path, nil))
		fmt.Fprintf(&b, "%d %x %s\n", w.Code, sha256.Sum256(w.Body.Bytes()), path)
	}
	return b.String()
}

// samples are the versions of the store; the last was removed.
func samples() []storagetest.Sample {
	return []storagetest.Sample{
		storagetest.NewSample("example.com/Some/mod", "v1.0.0", "a"), storagetest.NewSample("hidden.test/m", "v1.0.0", "b"),
		storagetest.NewSample("hidden.test/m", "v1.1.0", "c"), storagetest.NewSample("old.test/m", "v2.0.0+incompatible", "d"),
		storagetest.NewSample("bad.test/m", "v1.0.0", "e"),
	}
}

const (
	sumName = "sum.test/lookup/example.com/!some/mod@v1.0.0"
	sumData = "5\nexample.com/Some/mod v1.0.0 h1:x=\n\nnote\n"
)

// writeStore stores all that a store can hold.
func writeStore(t *testing.T, dir string) *storage.Store {
	t.Helper()
	store, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	for _, v := range samples() {
		require.NoError(t, v.Store(t.Context(), store))
	}
	require.NoError(t, storagetest.NewSample("example.com/Some/mod", "v1.1.0", "f").Put(t.Context(), store))
	require.NoError(t, store.Remove(t.Context(), module.Version{Path: "bad.test/m", Version: "v1.0.0"}, "leaks a key"))
	require.NoError(t, store.Hide(t.Context(), module.Version{Path: "hidden.test/m", Version: "v1.1.0"}, "does not build"))
	require.NoError(t, store.PutSumDB(t.Context(), sumName, []byte(sumData)))
	return store
}

// writeFills schedules a fill of each sample.
func writeFills(t *testing.T, dir string) {
	t.Helper()
	fills, err := fill.Open(dir, nil)
	require.NoError(t, err)
	for i, v := range samples() {
		require.NoError(t, fills.Schedule(t.Context(), athens.Fill{Module: v.Module, Zip: i%2 == 0}, time.Hour))
	}
	require.NoError(t, fills.Close())
}

func writeAll(t *testing.T, w written) {
	store := writeStore(t, w.path("store"))
	require.NoError(t, os.WriteFile(w.path("answers"), []byte(answers(t, store)), 0o600))
	private, public, err := note.GenerateKey(rand.Reader, "bundles.test")
	require.NoError(t, err)
	signer, err := note.NewSigner(private)
	require.NoError(t, err)
	var b bytes.Buffer
	_, err = bundle.Export(t.Context(), store, &b, &bundle.ExportOptions{Signers: []note.Signer{signer}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.path("bundle"), b.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(w.path("bundle.key"), []byte(public+"\n"), 0o600))

	writeFills(t, w.path("fills"))

	key, err := ledger.NewKey("sum.test")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(w.path("ledger.key"), []byte(key+"\n"), 0o600))
	l, err := ledger.New(w.path("ledger"), key, nil)
	require.NoError(t, err)
	for _, v := range samples() {
		_, err := l.Add(t.Context(), v.Module, v.H1, modHash(t, v))
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
}

func modHash(t *testing.T, v storagetest.Sample) string {
	t.Helper()
	hash, err := modcheck.ModHash(v.Mod)
	require.NoError(t, err)
	return hash
}

// copyOf returns a copy of a folder, to which a server may write.
func copyOf(t *testing.T, dir string) written {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return written(to)
}

// TestWritten reads what each version has written.
func TestWritten(t *testing.T) {
	if *write != "" {
		w := written(filepath.Join("testdata", "written", *write))
		require.NoError(t, os.RemoveAll(string(w)))
		require.NoError(t, os.MkdirAll(string(w), 0o755))
		writeAll(t, w)
	}
	dirs, err := filepath.Glob("testdata/written/v*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			w := copyOf(t, dir)
			t.Run("store", w.store)
			t.Run("bundle", w.bundle)
			t.Run("fills", w.fills)
			t.Run("ledger", w.ledger)
		})
	}
}

// store is served, verified, and goes on.
func (w written) store(t *testing.T) {
	store, err := storage.NewDisk(w.path("store"), nil)
	require.NoError(t, err)
	assert.Equal(t, w.read(t, "answers"), strings.TrimSpace(answers(t, store)))
	n := 0
	for c, err := range store.Verify(t.Context(), nil) {
		require.NoError(t, err)
		assert.Empty(t, c.Problems, c.Module)
		n++
	}
	assert.GreaterOrEqual(t, n, 5)
	data, err := store.GetSumDB(t.Context(), sumName)
	require.NoError(t, err)
	assert.Equal(t, sumData, string(data))
	old := module.Version{Path: "old.test/m", Version: "v2.0.0+incompatible"}
	other := storagetest.NewSample(old.Path, old.Version, "another")
	var conflict *athens.ConflictError
	require.ErrorAs(t, other.Store(t.Context(), store), &conflict)
	bad := module.Version{Path: "bad.test/m", Version: "v1.0.0"}
	require.NoError(t, store.Restore(t.Context(), bad))
	require.ErrorAs(t, storagetest.NewSample(bad.Path, bad.Version, "another").Store(t.Context(), store), &conflict, "what was removed has its record still")
	fresh := storagetest.NewSample("example.com/Some/mod", "v1.2.0", "new")
	require.NoError(t, fresh.Store(t.Context(), store))
	versions, err := store.Versions(t.Context(), fresh.Module.Path)
	require.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0", "v1.1.0", "v1.2.0"}, versions)
}

// bundle is imported, with its signature.
func (w written) bundle(t *testing.T) {
	verifier, err := note.NewVerifier(w.read(t, "bundle.key"))
	require.NoError(t, err)
	data, err := os.ReadFile(w.path("bundle"))
	require.NoError(t, err)
	to := storage.NewMemory()
	_, err = bundle.Import(t.Context(), to, bytes.NewReader(data), int64(len(data)), &bundle.ImportOptions{Verifiers: note.VerifierList(verifier)})
	require.NoError(t, err)
	assert.Equal(t, w.read(t, "answers"), strings.TrimSpace(answers(t, to)))
}

// fills are pending still, each with what it is to fill.
func (w written) fills(t *testing.T) {
	q, err := fill.Open(w.path("fills"), nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, q.Close()) }()
	want, got := map[module.Version]bool{}, map[module.Version]bool{}
	for i, v := range samples() {
		want[v.Module] = i%2 == 0
	}
	for _, p := range q.Status().Pending {
		got[module.Version{Path: p.Path, Version: p.Version}] = p.Zip
	}
	assert.Equal(t, want, got)
}

// ledger has its records, and goes on.
func (w written) ledger(t *testing.T) {
	l, err := ledger.New(w.path("ledger"), w.read(t, "ledger.key"), nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()
	require.NoError(t, l.Check(t.Context()))
	verifier, err := note.NewVerifier(l.VerifierKey())
	require.NoError(t, err)
	signed, err := l.Signed(t.Context())
	require.NoError(t, err)
	_, err = note.Open(signed, note.VerifierList(verifier))
	require.NoError(t, err)
	for i, v := range samples() {
		id, err := l.Lookup(t.Context(), v.Module)
		require.NoError(t, err)
		assert.EqualValues(t, i, id)
		again, err := l.Add(t.Context(), v.Module, v.H1, modHash(t, v))
		require.NoError(t, err)
		assert.Equal(t, id, again)
	}
	fresh := storagetest.NewSample("example.com/Some/mod", "v1.2.0", "new")
	id, err := l.Add(t.Context(), fresh.Module, fresh.H1, modHash(t, fresh))
	require.NoError(t, err)
	assert.EqualValues(t, len(samples()), id)
}

// TestWrittenAlike compares what this version writes with what the last release wrote: if it is the
// same, that release can read it, so a server can be set back. If this fails because a format has
// changed, say in docs/operations.md from which version on a downgrade works, and write a folder
// for the version.
func TestWrittenAlike(t *testing.T) {
	dirs, err := filepath.Glob("testdata/written/v*")
	require.NoError(t, err)
	last := written(slices.MaxFunc(dirs, func(a, b string) int { return semver.Compare(filepath.Base(a), filepath.Base(b)) }))
	now := written(t.TempDir())
	writeStore(t, now.path("store"))
	writeFills(t, now.path("fills"))
	for _, part := range []string{"store", "fills"} {
		want, got := formOf(t, last.path(part)), formOf(t, now.path(part))
		assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
		for name, text := range want {
			assert.Equal(t, text, got[name], name)
		}
	}
}

// varying is what differs from run to run, or with the Go release that packs a zip: times, sizes of
// zips, and checksums of lines that have those.
var varying = regexp.MustCompile(`"20[0-9-]+T[0-9:.]+Z"|(?m:^athens 1 \S+$)|(?m: \d+ [0-9a-f]{8}$)|(?m:^[0-9a-f]{8} )`)

// formOf returns the content of the files in a folder, without what varies.
func formOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case path.Ext(name) == ".zip":
			data = nil
		case strings.HasPrefix(name, "fills-"):
			name = "fills-" // and random characters
		case strings.HasPrefix(name, ".athens/lock/"):
			return err // any of a number of files
		}
		all[name] = varying.ReplaceAllString(string(data), "~")
		return err
	})
	require.NoError(t, err)
	return all
}
