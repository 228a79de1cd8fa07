package e2e_test

import (
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/auth"
)

// TestDirectLogin has go commands that use no proxy get a private module over TLS: the host in
// its path asks for a login, which they have in a netrc file. The page names the registry by
// https. Without the login, or with one for other modules, they get nothing.
func TestDirectLogin(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	net.Secure("gen.test")
	secrets, lines := map[string]string{}, ""
	for name, grant := range map[string]struct {
		paths  string
		rights auth.Rights
	}{
		"ci":    {"gen.test/m", auth.Read | auth.Publish},
		"alice": {"gen.test/m", auth.Read},
		"bob":   {"gen.test/other", auth.Read},
	} {
		secret, line, err := auth.NewToken(name, grant.paths, grant.rights)
		require.NoError(t, err)
		secrets[name], lines = secret, lines+line+"\n"
	}
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(lines), 0o600))
	registry := startServer(t, net, "registry", "registry", "-publish", "gen.test", "-serve", "gen.test", "-private", "gen.test", "-tokens", tokens, "-trusted-proxy", "127.0.0.0/8")
	to, err := url.Parse(registry.URL)
	require.NoError(t, err)
	var logins, plain atomic.Int64
	net.Handle("gen.test", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { // it ends TLS
		if r.In.Header.Get("Authorization") != "" {
			logins.Add(1)
			if r.In.TLS == nil {
				plain.Add(1)
			}
		}
		r.SetURL(to)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}})

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module gen.test/m\n\ngo 1.21\n"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "text"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text", "text.go"), []byte("package text\n\nconst Of = \"secret\"\n"), 0o600))
	publish := exec.CommandContext(t.Context(), modtest.Build(t, "./examples/publish"), "-registry", registry.URL, "-dir", dir, "v1.0.0")
	publish.Env = append(os.Environ(), "ATHENS_TOKEN="+secrets["ci"])
	out, err := publish.CombinedOutput()
	require.NoError(t, err, "%s", out)

	get := func(name string) (stderr string, err error) {
		t.Helper()
		g := modtest.NewGo(t, net)
		g.Set("GOPROXY=direct", "GOPRIVATE=gen.test")
		if name != "" {
			g.Netrc("gen.test", name, secrets[name])
		}
		g.Write("go.mod", "module program\n\ngo 1.21\n")
		g.Write("main.go", "package main\n\nimport \"gen.test/m/text\"\n\nfunc main() { println(text.Of) }\n")
		if _, stderr, err = g.Run("get", "gen.test/m/text"); err != nil {
			return stderr, err
		}
		_, stderr, err = g.Run("run", ".")
		return stderr, err
	}
	stderr, err := get("alice")
	require.NoError(t, err, stderr)
	assert.Equal(t, "secret\n", stderr)
	assert.NotZero(t, logins.Load())
	assert.Zero(t, plain.Load(), "the page names the registry by https")
	for _, name := range []string{"", "bob"} {
		stderr, err := get(name)
		require.Error(t, err, name)
		assert.NotContains(t, stderr, secrets["bob"])
		assert.Regexp(t, `401 Unauthorized|403 Forbidden|unrecognized import path`, stderr)
	}
}
