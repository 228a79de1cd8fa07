package athens_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestReadmeCode compares the README's code with readme_test.go, where it is compiled.
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

// The README's code is a service: it redirects to the upstream, answers probes, and ends
// with its context.
func TestReadmeService(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n"})
	up := modtest.NewGoProxy(t, v)
	url, stop := startReadme(t, up.URL)
	resp, err := http.Get(url + "/example.com/m/@v/v1.0.0.mod")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusOK, resp.StatusCode, "redirected to the upstream")
	assert.Equal(t, up.URL+"/example.com/m/@v/v1.0.0.mod", resp.Request.URL.String())
	require.NoError(t, stop())
}

// No request about a private module, in any spelling, makes the README's code tell the
// upstream of it or redirect the client there.
func TestReadmeHidesPrivateModules(t *testing.T) {
	t.Setenv("GOPRIVATE", "*.corp.test,corp.test")
	t.Setenv("GONOPROXY", "none")
	up := modtest.NewGoProxy(t, modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n"}))
	url, stop := startReadme(t, up.URL)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, path := range []string{"corp.test/secret", "a.corp.test/secret", "!corp.test/secret", "corp.test/secret.git", "corp.test/secret/v2"} {
		for _, file := range []string{"@v/list", "@latest", "@v/main.info", "@v/v1.0.0.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip"} {
			resp, err := client.Get(url + "/" + path + "/" + file)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.GreaterOrEqual(t, resp.StatusCode, 400, "%s/%s", path, file)
		}
	}
	resp, err := client.Get(url + "/sumdb/sum.test/lookup/corp.test/secret@v1.0.0")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.NoError(t, stop())
	for _, r := range up.Requests("") {
		assert.NotContains(t, r.Path, "corp.test")
	}
}

// startReadme runs the README's code, and returns its URL and a function that ends it.
func startReadme(t *testing.T, upstream string) (url string, stop func() error) {
	t.Helper()
	addr := modtest.FreeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveModules(ctx, addr, t.TempDir(), upstream) }()
	url = "http://" + addr
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		if resp, err := http.Get(url + "/readyz"); err == nil {
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, http.StatusOK, resp.StatusCode)
			return url, func() error { cancel(); return <-ended }
		}
	}
}
