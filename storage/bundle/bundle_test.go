package bundle

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
)

// What a store holds arrives, and a second time nothing changes. The same content makes the
// same bytes, wherever it is.
func TestThereAndBack(t *testing.T) {
	from, to := filled(t), storage.NewMemory()
	b := export(t, from, nil)
	assert.Equal(t, b, export(t, from, nil))
	sum, err := importInto(t, to, b, nil)
	require.NoError(t, err)
	assert.Equal(t, &Summary{Versions: 7, Zips: 6, SumDB: 2, Removed: 1, Hidden: 1, Bytes: sum.Bytes, Stored: 7, StoredSumDB: 2, Marked: 2}, sum)
	assert.Equal(t, tree(t, from), tree(t, to))
	assert.Equal(t, b, export(t, to, nil))
	sum, err = importInto(t, to, b, nil)
	require.NoError(t, err)
	assert.Zero(t, sum.Stored+sum.StoredSumDB+sum.Marked)
	assert.Equal(t, tree(t, from), tree(t, to))

	empty := storage.NewMemory()
	_, err = importInto(t, to, export(t, empty, nil), nil)
	require.NoError(t, err)
	sum, err = importInto(t, empty, b, &ImportOptions{VerifyOnly: true, Workers: 1})
	require.NoError(t, err)
	assert.Zero(t, sum.Stored)
	assert.Empty(t, tree(t, empty))
}

// A store without the optional abilities takes what it can, and says what it can't.
func TestPlainStorage(t *testing.T) {
	plain := struct{ athens.Storage }{storage.NewMemory()}
	_, err := Export(t.Context(), plain, &bytes.Buffer{}, nil)
	assert.ErrorContains(t, err, "can't list")
	_, err = importInto(t, plain, export(t, filled(t), nil), nil)
	assert.ErrorContains(t, err, "does not keep")
	from := storage.NewMemory()
	v := sample("a.test/m", "v1.0.0", "a")
	require.NoError(t, v.Store(t.Context(), from))
	for range 2 {
		_, err = importInto(t, plain, export(t, from, nil), nil)
		require.NoError(t, err)
	}
	require.NoError(t, v.Whole(t.Context(), plain))
	require.NoError(t, from.Hide(t.Context(), v.Module, "x"))
	_, err = importInto(t, plain, export(t, from, nil), nil)
	assert.ErrorContains(t, err, "which this store can't")
}

func TestSince(t *testing.T) {
	ctx, from, to := t.Context(), filled(t), storage.NewMemory()
	first := export(t, from, nil)
	former, err := ReadManifest(bytes.NewReader(first), int64(len(first)), nil)
	require.NoError(t, err)

	added := sample("example.com/Some/mod", "v1.11.0", "n")
	require.NoError(t, added.Store(ctx, from))
	require.NoError(t, sample("a.test/nozip", "v1.0.0", "f").Commit(ctx, from))
	require.NoError(t, from.Restore(ctx, sample("a.test/m/v2", "v2.0.0", "d").Module))
	require.NoError(t, from.Restore(ctx, sample("bad.test/m", "v1.0.0", "g").Module))
	require.NoError(t, sample("bad.test/m", "v1.0.0", "g").Store(ctx, from))
	require.NoError(t, from.PutSumDB(ctx, "sum.test/tile/8/0/001", bytes.Repeat([]byte("y"), 8192)))
	second := export(t, from, &ExportOptions{Since: former})
	latter, err := ReadManifest(bytes.NewReader(second), int64(len(second)), nil)
	require.NoError(t, err)
	again, err := ParseManifest(latter.Text())
	require.NoError(t, err)
	third := export(t, from, &ExportOptions{Since: again})

	sum, err := importInto(t, to, second, nil)
	require.NoError(t, err)
	assert.Equal(t, 6, sum.Lacking, "the first bundle was left out")
	assert.Equal(t, 3, sum.Versions)
	assert.Equal(t, 8, sum.Before)
	to = storage.NewMemory()
	for _, b := range [][]byte{first, second, third} {
		sum, err = importInto(t, to, b, nil)
		require.NoError(t, err)
		assert.Zero(t, sum.Lacking)
	}
	assert.Zero(t, sum.Versions, "the third has nothing new")
	assert.Equal(t, tree(t, from), tree(t, to))
	assert.Less(t, len(third), len(first))
}

func TestSinceTime(t *testing.T) {
	from := filled(t)
	b := export(t, from, &ExportOptions{SinceTime: time.Now().Add(-time.Hour)})
	sum, err := importInto(t, storage.NewMemory(), b, nil)
	require.NoError(t, err)
	assert.Equal(t, 7, sum.Versions)
	b = export(t, from, &ExportOptions{SinceTime: time.Now().Add(time.Hour)})
	sum, err = importInto(t, storage.NewMemory(), b, nil)
	require.NoError(t, err)
	assert.Zero(t, sum.Versions)
	assert.Equal(t, 7, sum.Lacking)
	_, err = Export(t.Context(), from, &bytes.Buffer{}, &ExportOptions{SinceTime: time.Now(), Since: &Manifest{}})
	assert.ErrorContains(t, err, "either")
}

func TestSigned(t *testing.T) {
	keys := make([]note.Signer, 2)
	known := make([]note.Verifier, 2)
	for i, name := range []string{"corp.test", "other.test"} {
		private, public, err := note.GenerateKey(rand.Reader, name)
		require.NoError(t, err)
		keys[i], err = note.NewSigner(private)
		require.NoError(t, err)
		known[i], err = note.NewVerifier(public)
		require.NoError(t, err)
	}
	from := filled(t)
	signed, plain := export(t, from, &ExportOptions{Signers: keys[:1]}), export(t, from, nil)
	for name, c := range map[string]struct {
		bundle []byte
		key    note.Verifiers
		want   string
	}{
		"right":        {signed, note.VerifierList(known[0]), ""},
		"one of two":   {signed, note.VerifierList(known...), ""},
		"nobody looks": {signed, nil, ""},
		"unknown key":  {signed, note.VerifierList(known[1]), "signed by corp.test+"},
		"not signed":   {plain, note.VerifierList(known[0]), "not signed"},
	} {
		t.Run(name, func(t *testing.T) {
			to := storage.NewMemory()
			sum, err := importInto(t, to, c.bundle, &ImportOptions{Verifiers: c.key})
			if c.want == "" {
				require.NoError(t, err)
				assert.Equal(t, tree(t, from), tree(t, to))
			} else {
				assert.ErrorContains(t, err, c.want)
				assert.Nil(t, sum)
				assert.Empty(t, tree(t, to))
			}
		})
	}
}

// A bundle that contradicts what is held is refused as a whole, and both hashes are named.
func TestContradiction(t *testing.T) {
	ctx, b := t.Context(), export(t, filled(t), nil)
	other := sample("example.com/Some/mod", "v1.10.0", "other")
	for name, c := range map[string]struct {
		prepare func(s *storage.Store) error
		want    []string
	}{
		"mod": {func(s *storage.Store) error { return other.Put(ctx, s) }, []string{"h1:", "differs"}},
		"zip": {func(s *storage.Store) error {
			same := sample("example.com/Some/mod", "v1.10.0", "b")
			same.Zip, same.H1 = other.Zip, other.H1
			return same.Store(ctx, s)
		}, []string{other.H1, sample("example.com/Some/mod", "v1.10.0", "b").H1}},
		"tile": {func(s *storage.Store) error {
			return s.PutSumDB(ctx, "sum.test/tile/8/0/000", []byte("z"))
		}, []string{"tile/8/0/000 contradicts"}},
		"lookup": {func(s *storage.Store) error {
			return s.PutSumDB(ctx, "sum.test/lookup/a.test/m/v2@v2.0.0", []byte("5\na.test/m/v2 v2.0.0 h1:y=\n\nnote\n"))
		}, []string{"h1:x=", "h1:y="}},
	} {
		t.Run(name, func(t *testing.T) {
			to := storage.NewMemory()
			require.NoError(t, c.prepare(to))
			was := tree(t, to)
			sum, err := importInto(t, to, b, nil)
			require.Error(t, err)
			for _, want := range c.want {
				if want != "differs" {
					assert.ErrorContains(t, err, want)
				}
			}
			assert.Nil(t, sum)
			assert.Equal(t, was, tree(t, to))
		})
	}
}

// What this store has removed stays removed, and its own marks are its own.
func TestMarksHere(t *testing.T) {
	ctx, from, to := t.Context(), filled(t), storage.NewMemory()
	v := sample("example.com/Some/mod", "v1.10.0", "b")
	require.NoError(t, to.Remove(ctx, v.Module, "not here"))
	bad := sample("bad.test/m", "v1.0.0", "g")
	require.NoError(t, bad.Store(ctx, to))
	sum, err := importInto(t, to, export(t, from, nil), nil)
	require.NoError(t, err)
	assert.Equal(t, 1, sum.RemovedHere)
	_, ok := contentOf(ctx, t, to, v.Module.Path, v.Module.Version, athens.ModFile)
	assert.False(t, ok)
	_, ok = contentOf(ctx, t, to, bad.Module.Path, bad.Module.Version, athens.ModFile)
	assert.False(t, ok, "the bundle says that it was removed")

	b := export(t, from, nil)
	former, err := ReadManifest(bytes.NewReader(b), int64(len(b)), nil)
	require.NoError(t, err)
	require.NoError(t, from.Restore(ctx, bad.Module))
	require.NoError(t, to.Remove(ctx, bad.Module, "our own reason"))
	_, err = importInto(t, to, export(t, from, &ExportOptions{Since: former}), nil)
	require.NoError(t, err)
	marks, err := to.Marks(ctx, bad.Module.Path)
	require.NoError(t, err)
	assert.Equal(t, "our own reason", marks["v1.0.0"].Reason)
}

func TestManifestText(t *testing.T) {
	b := export(t, filled(t), nil)
	m, err := ReadManifest(bytes.NewReader(b), int64(len(b)), nil)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(m.Text()), "athens bundle 1\nsumdb sum.test/lookup/"))
}
