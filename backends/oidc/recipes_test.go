package oidc_test

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/storage"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// recipes returns the shell commands of docs/access.md by the words in bold before them.
func recipes(t *testing.T) map[string]string {
	page, err := os.ReadFile(filepath.Join(modtest.RootDir(t), "docs", "access.md"))
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(page), "\n### Recipes\n")
	text, _, _ = strings.Cut(text, "\n## ")
	all := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)\\*\\*([^*]+)\\*\\*[^`]*(?:`[^`\n]+`[^`]*)*\n```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all[m[1]] = m[2]
	}
	require.Len(t, all, strings.Count(text, "```sh"), "each has a name")
	return all
}

// TestRecipes runs what docs/access.md tells clients to do, with the real go command and another
// host: with the token of a CI job, and with one of a file.
func TestRecipes(t *testing.T) {
	v := modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"go.mod": "module up.test/m\n"})
	up, err := redirect.New(modtest.NewGoProxy(t, v).URL, nil)
	require.NoError(t, err)
	var mu sync.Mutex
	users := map[string]bool{}
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Upstream: up, MissFetch: true, Private: "none", Observe: func(e athens.Event) {
		if e.Op == athens.OpRequest {
			mu.Lock()
			defer mu.Unlock()
			users[e.User] = true
		}
	}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handler.Shutdown(context.WithoutCancel(t.Context()))) })
	key := newPair(t, "1")
	i := newIssuer(t, key)
	jobs, _, _ := open(t, i.config("allow up.test read project_path=team/**\n"), nil)
	secret, line, err := auth.NewToken("ci", "up.test", auth.Read)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte(line+"\n"), 0o600))
	tokens, err := auth.Open(file, &auth.Options{Verify: jobs.Verify})
	require.NoError(t, err)
	server := httptest.NewTLSServer(tokens.Require(handler))
	t.Cleanup(server.Close)
	cert := filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	host := strings.TrimPrefix(server.URL, "https://")

	// run runs a recipe and then a download in a home of its own.
	run := func(t *testing.T, recipe, token string) string {
		g := modtest.NewGo(t, nil)
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", strings.ReplaceAll(recipe, "go.corp.example", host)+"\ngo mod download -json up.test/m@v1.0.0")
		// Without a file of its own, "git config --global" would replace the device that g names.
		g.Set("GIT_CONFIG_GLOBAL="+filepath.Join(g.Home, ".gitconfig"), "PROXY_TOKEN="+token, "SSL_CERT_FILE="+cert, "GOPROXY="+server.URL, "GONOSUMDB=*", "GONOPROXY=none")
		cmd.Dir, cmd.Env = g.Dir, g.Env()
		out, _ := cmd.CombinedOutput() // it says what is wrong
		return string(out)
	}
	assert.Contains(t, run(t, "", ""), "log in: the go command takes the login from a netrc file or from GOAUTH")
	for name, recipe := range recipes(t) {
		t.Run(name, func(t *testing.T) {
			for _, token := range []string{secret, i.token(key, nil)} {
				assert.Contains(t, run(t, recipe, token), v.Sum)
			}
			assert.Contains(t, run(t, recipe, i.token(key, map[string]any{"project_path": "mallory/app"})), "the token gitlab:mallory/app has no right to read up.test/m")
		})
	}
	mu.Lock()
	defer mu.Unlock()
	assert.Subset(t, users, map[string]bool{"ci": true, "gitlab:team/app": true})
	assert.NotContains(t, users, secret)
}
