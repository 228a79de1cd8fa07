package athens_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// README: begin
func modules(ctx context.Context, dir, registry string) (http.Handler, error) {
	store, err1 := storage.NewDisk(dir, nil)
	git, err2 := fetcher.New(filepath.Join(dir, ".git-cache"), nil)
	upstream, err3 := redirect.New(registry, nil)
	fills, err4 := fill.Open(filepath.Join(dir, ".fills"), nil)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	handler, err := athens.NewHandler(store, &athens.Options{Fetcher: git, Upstream: upstream, Fills: fills})
	if err != nil {
		return nil, err
	}
	go func() { _ = errors.Join(fills.Run(ctx, handler.Fill), fills.Close()) }()
	return http.StripPrefix("/go", handler), nil
}

// README: end

// TestReadmeCode holds the README's code against this file, where it is compiled
// and tried.
func TestReadmeCode(t *testing.T) {
	self, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	_, code, _ := strings.Cut(string(self), "// README: begin\n")
	code, _, _ = strings.Cut(code, "\n// README: end")
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.Contains(t, string(readme), "```go\n"+code+"```", "README.md has other code than readme_test.go")
	ci, err := os.ReadFile(".ci/run")
	require.NoError(t, err)
	assert.Contains(t, string(readme), "\ngo test work\n")
	assert.Contains(t, string(ci), "go test work", "CI runs the README's test command")
}

func TestReadmeHandler(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n"})
	up := modtest.NewGoProxy(t, v)
	h, err := modules(t.Context(), t.TempDir(), up.URL)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.Get(server.URL + "/go/example.com/m/@v/v1.0.0.mod")
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode, "redirected to the upstream")
	assert.Equal(t, up.URL+"/example.com/m/@v/v1.0.0.mod", resp.Request.URL.String())
}
