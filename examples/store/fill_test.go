package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"net/http/httptest"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/storetool"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// A folder, or a server that runs, is filled with what a go.mod needs; what fails is named.
func TestFill(t *testing.T) {
	v := modtest.NewVersion(t, "a.test/m", "v1.0.0", map[string]string{"go.mod": "module a.test/m\n"})
	up := modtest.NewGoProxy(t, v, modtest.NewVersion(t, "b.test/m", "v1.0.0", nil), modtest.NewVersion(t, "b.test/m", "v1.1.0", nil))
	project, dir := t.TempDir(), filepath.Join(t.TempDir(), "new")
	main, list := filepath.Join(project, "go.mod"), filepath.Join(project, "list")
	require.NoError(t, os.WriteFile(main, []byte("module p.test\n\ngo 1.20\n\nrequire a.test/m v1.0.0\n"), 0o600))
	require.NoError(t, os.WriteFile(list, []byte("a.test/m v1.0.0\nnone.test/m v1.0.0\n"), 0o600))
	fill := []string{"fill", "-dir", dir, "-upstream", up.URL, "-private", "", "-all-versions", "b.test/m"}
	for _, want := range []string{"3 of them with the zip, 0 were held before, ", "3 of them with the zip, 3 were held before, 0 B"} {
		out, err := tool(t, append(fill, project)...)
		require.NoError(t, err)
		assert.Contains(t, out, "filled: 3 versions, "+want)
	}
	out, err := tool(t, append(fill, main, list)...)
	require.ErrorIs(t, err, storetool.ErrDamaged)
	assert.Regexp(t, `(?s)^failed: none\.test/m@v1\.0\.0: zip: .*not found.*\nfilled: 3 versions, .*, 1 failed`, out)

	source, err := redirect.New(up.URL, nil)
	require.NoError(t, err)
	s := storage.NewMemory()
	h, err := athens.NewHandler(s, &athens.Options{Upstream: source, MissFetch: true})
	require.NoError(t, err)
	front := httptest.NewServer(h)
	t.Cleanup(func() {
		front.Close()
		assert.NoError(t, h.Shutdown(context.WithoutCancel(t.Context())))
	})
	out, err = tool(t, "fill", "-server", front.URL, main)
	require.NoError(t, err)
	assert.Contains(t, out, "filled: 1 versions, 1 of them with the zip")
	versions, err := s.Versions(t.Context(), "a.test/m")
	require.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0"}, versions)
}

func TestFillUsage(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"want go.sum":             {"fill", "-dir", dir},
		"want either -dir":        {"fill", dir},
		"must be positive":        {"fill", "-dir", dir, "-parallel", "0", dir},
		"neither a go.mod":        {"fill", "-dir", dir, dir},
		"no such file":            {"fill", "-dir", dir, dir + "x"},
		"-all-versions":           {"fill", "-dir", dir, "-all-versions", "../x"},
		"not the URL":             {"fill", "-server", "corp", "-all-versions", "a.test/x"},
		"-upstream is empty":      {"fill", "-dir", dir, "-upstream", "", "-private", "", "-all-versions", "a.test/x"},
		"checksum database: want": {"fill", "-dir", dir, "-upstream", "off", "-private", "", "-sumdb", "a b c", "-all-versions", "a.test/x"},
	} {
		_, err := tool(t, args...)
		assert.ErrorContains(t, err, want)
	}
}
