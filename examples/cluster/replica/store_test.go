package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gocloud "gocloud.dev/blob"

	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m, modtest.S3Env()...)) }

// store runs the tool.
func store(t *testing.T, args ...string) (stdout string, err error) {
	var out strings.Builder
	err = run(t.Context(), append([]string{"store"}, args...), &out, io.Discard)
	return out.String(), err
}

// A bucket is filled, carried to another bucket, and what another proxy has in a bucket is moved in.
func TestMoveBuckets(t *testing.T) {
	server := modtest.NewS3(t, "modules")
	at := func(prefix string) string { return server.URL("modules") + "&prefix=" + prefix + "/" }
	a, b := at("a"), at("b")
	v := modtest.NewVersion(t, "example.com/Some/mod", "v1.0.0", map[string]string{"go.mod": "module example.com/Some/mod\n"})
	w := modtest.NewVersion(t, "example.com/large", "v1.0.0", map[string]string{"go.mod": "module example.com/large\n", "noise": noise(1 << 20)})
	up, list := modtest.NewGoProxy(t, v, w), filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte("example.com/Some/mod v1.0.0\nexample.com/large v1.0.0\n"), 0o600))
	for _, want := range []string{"0 were held before", "2 were held before"} {
		out, err := store(t, "fill", "-dir", a, "-upstream", up.URL, "-private", "", list)
		require.NoError(t, err)
		assert.Contains(t, out, "filled: 2 versions, 2 of them with the zip, "+want)
	}
	answers, err := blob.OpenURL(t.Context(), a, nil)
	require.NoError(t, err)
	require.NoError(t, answers.PutSumDB(t.Context(), "sum.test/lookup/a.test/m@v1.0.0", []byte("5\na.test/m v1.0.0 h1:x=\n\nnote\n")))
	require.NoError(t, answers.Close())
	file := filepath.Join(t.TempDir(), "bundle")
	out, err := store(t, "export", "-dir", a, file)
	require.NoError(t, err)
	assert.Contains(t, out, "exported: 2 versions, 2 of them with a zip, 1 answers of checksum databases, ")
	for _, want := range []string{"stored: 2 versions, 1 answers", "stored: 0 versions, 0 answers"} {
		out, err = store(t, "import", "-dir", b, file)
		require.NoError(t, err)
		assert.Contains(t, out, want)
	}
	assert.Equal(t, "2 versions, 0 damaged\n", must(t, "verify", "-dir", b))
	again := filepath.Join(t.TempDir(), "again")
	must(t, "export", "-dir", b, again)
	first, err := os.ReadFile(file)
	require.NoError(t, err)
	second, err := os.ReadFile(again)
	require.NoError(t, err)
	assert.Equal(t, first, second, "the same bytes, wherever the versions are")

	// As gomods/athens names objects: capitals are not escaped.
	bucket, err := gocloud.OpenBucket(t.Context(), at("old"))
	require.NoError(t, err)
	defer bucket.Close()
	for _, v := range []*modtest.Version{v, w} {
		for ext, data := range map[string][]byte{".info": v.Info, ".mod": v.Mod, ".zip": v.Zip} {
			require.NoError(t, bucket.WriteAll(t.Context(), v.Path+"/@v/"+v.Version.Version+ext, data, nil))
		}
	}
	for _, to := range []string{at("c"), filepath.Join(t.TempDir(), "folder")} {
		assert.Contains(t, must(t, "import", "-dir", to, at("old")), "in the folder: 2 good versions, 2 of them with a zip, ")
	}
	assert.Equal(t, "example.com/Some/mod@v1.0.0\nexample.com/large@v1.0.0\n", must(t, "ls", "-dir", at("c")))
	require.NoError(t, bucket.WriteAll(t.Context(), "example.com/large/@v/v1.0.0.zip", []byte("damaged"), nil))
	out, err = store(t, "import", "-dir", at("d"), at("old"))
	require.ErrorContains(t, err, "something is damaged")
	assert.Contains(t, out, "bad: example.com/large@v1.0.0: ")
	assert.Contains(t, out, "1 bad\nstored: 1 versions")
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := store(t, args...)
	require.NoError(t, err, out)
	return out
}

// noise does not compress.
func noise(n int) string {
	b, state := make([]byte, n), uint32(1)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return string(b)
}

func TestMoveUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"-dir is missing":       {"export", "x"},
		"is no bucket's URL":    {"export", "-dir", "folder", "x"},
		"want either -dir":      {"fill", "x"},
		"has no signature":      {"import", "-dir", "x", "-key", "y", "mem://"},
		"unknown command \"x\"": {"x"},
		"no driver":             {"import", "-dir", "nothing://x", os.DevNull},
	} {
		_, err := store(t, args...)
		assert.ErrorContains(t, err, want)
	}
}
