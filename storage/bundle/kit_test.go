package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"maps"
	mrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// sample is a version of a path; the salt makes it another one.
func sample(path, version, salt string) storagetest.Sample {
	return storagetest.NewSample(path, version, salt)
}

// large is a version whose zip does not fit into memory at once.
func large(t testing.TB) storagetest.Sample {
	v := sample("large.test/m", "v1.0.0", "l")
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	noise := make([]byte, 2*small)
	_, _ = mrand.NewChaCha8([32]byte{}).Read(noise)
	for i, data := range [][]byte{v.Mod, noise} {
		f, err := w.Create(v.Module.String() + "/" + []string{"go.mod", "noise"}[i])
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	var err error
	v.Zip = b.Bytes()
	v.H1, err = modcheck.ZipAlone(bytes.NewReader(v.Zip), int64(len(v.Zip)), v.Module, maxZip)
	require.NoError(t, err)
	return v
}

// filled returns a store like that of few, with a large zip.
func filled(t testing.TB) *storage.Store {
	t.Helper()
	s := few(t)
	require.NoError(t, large(t).Store(t.Context(), s))
	return s
}

// few returns a store with versions of several modules, with marks and with an answer of a
// checksum database.
func few(t testing.TB) *storage.Store {
	t.Helper()
	s := storage.NewMemory()
	ctx := t.Context()
	for _, v := range []storagetest.Sample{
		sample("example.com/Some/mod", "v1.2.3", "a"), sample("example.com/Some/mod", "v1.10.0", "b"), sample("example.com/Some/mod", "v1.2.3-RC.1", "c"),
		sample("a.test/m/v2", "v2.0.0", "d"), sample("gopkg.test/x.v1", "v1.0.0", "e"),
	} {
		require.NoError(t, v.Store(ctx, s))
	}
	require.NoError(t, sample("a.test/nozip", "v1.0.0", "f").Put(ctx, s))
	require.NoError(t, sample("bad.test/m", "v1.0.0", "g").Store(ctx, s))
	require.NoError(t, s.Remove(ctx, sample("bad.test/m", "v1.0.0", "g").Module, "malware \"x\"\nand more"))
	require.NoError(t, s.Hide(ctx, sample("a.test/m/v2", "v2.0.0", "d").Module, "does not build"))
	require.NoError(t, s.PutSumDB(ctx, "sum.test/tile/8/0/000", bytes.Repeat([]byte("x"), 8192)))
	require.NoError(t, s.PutSumDB(ctx, "sum.test/lookup/a.test/m/v2@v2.0.0", []byte("5\na.test/m/v2 v2.0.0 h1:x=\n\nnote\n")))
	return s
}

// export returns a bundle.
func export(t testing.TB, s athens.Storage, opts *ExportOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	sum, err := Export(t.Context(), s, &b, opts)
	require.NoError(t, err)
	require.Empty(t, sum.LeftOut)
	return b.Bytes()
}

// importInto imports a bundle.
func importInto(t testing.TB, s athens.Storage, b []byte, opts *ImportOptions) (*Summary, error) {
	return Import(t.Context(), s, bytes.NewReader(b), int64(len(b)), opts)
}

// tree returns everything that is visible in a store: files, lists, marks, answers.
func tree(t testing.TB, s *storage.Store) map[string]string {
	t.Helper()
	ctx, all := t.Context(), map[string]string{}
	paths := map[string]bool{}
	for m, err := range s.All(ctx) {
		require.NoError(t, err)
		paths[m.Path] = true
		for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
			if data, ok := contentOf(ctx, t, s, m.Path, m.Version, f); ok {
				all[m.String()+" "+f.String()] = data
			}
		}
	}
	for mark, err := range s.AllMarks(ctx) {
		require.NoError(t, err)
		paths[mark.Path] = true
	}
	for path := range paths {
		marks, err := s.Marks(ctx, path)
		require.NoError(t, err)
		for v, mark := range marks {
			all[path+"@"+v+" mark"] = mark.Error()
		}
	}
	for name, err := range s.AllSumDB(ctx) {
		require.NoError(t, err)
		data, err := s.GetSumDB(ctx, name)
		require.NoError(t, err)
		all["sumdb/"+name] = string(data)
	}
	return all
}

func contentOf(ctx context.Context, t testing.TB, s athens.Storage, path, version string, f athens.File) (string, bool) {
	o, err := s.Open(ctx, sample(path, version, "").Module, f)
	if err != nil {
		return "", false
	}
	defer o.Body.Close()
	data, err := io.ReadAll(o.Body)
	require.NoError(t, err)
	return string(data), true
}

// names are the keys of a map in order.
func names(all map[string]string) []string { return slices.Sorted(maps.Keys(all)) }
