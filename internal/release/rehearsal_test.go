package release_test

import (
	"context"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

const self = "github.com/athens-go/athens"

// TestRehearsal releases a version in a clone and is then its first user: git serves the
// clone on loopback, examples/registry fetches the modules from there, and a module
// outside of the tree gets all of them from that registry, without a workspace and
// without a replace directive, and runs.
//
// What the modules require of others comes from this machine's module cache, or from the
// GOPROXY of the environment where the cache lacks it.
func TestRehearsal(t *testing.T) {
	if os.Getenv("ATHENS_REHEARSAL") == "" {
		t.Skip("builds every dependency of the backends: .ci/run release sets ATHENS_REHEARSAL")
	}
	c, version := released(t)
	registry := serveRegistry(t, serveGit(t, c.dir))
	g := consumer(t, registry)

	begin := time.Now()
	step := func(what string) {
		t.Logf("%s: %v", what, time.Since(begin).Round(time.Millisecond))
		begin = time.Now()
	}
	modules := []string{self + "@" + version}
	for _, dir := range nested {
		modules = append(modules, self+"/"+dir+"@"+version)
	}
	mustRun(t, g, append([]string{"get"}, modules...)...)
	step("go get")
	mustRun(t, g, "mod", "tidy")
	step("go mod tidy")
	mod, err := os.ReadFile(filepath.Join(g.Dir, "go.mod"))
	require.NoError(t, err)
	assert.NotContains(t, string(mod), "replace")
	for _, m := range modules {
		assert.Contains(t, string(mod), strings.Replace(m, "@", " ", 1)+"\n")
	}
	build(t, g)
	step("go build")

	run := exec.CommandContext(t.Context(), filepath.Join(g.Dir, "consumer"))
	out, err := run.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, `/example.com/held/@v/v1.0.0.mod 200 
/example.com/missing/@v/v1.0.0.mod 302 registry/example.com/missing/@v/v1.0.0.mod
fill example.com/missing@v1.0.0
`, string(out))
	step("run")
}

// serveGit serves the repository in dir and returns its URL.
func serveGit(t *testing.T, dir string) string {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	require.NoError(t, err)
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull},
	})
	t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(dir) + "/.git"
}

// serveRegistry starts examples/registry, which finds this project's repository at
// remote, and returns the GOPROXY of a server that has this project's modules and no
// others.
func serveRegistry(t *testing.T, remote string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "gitconfig")
	require.NoError(t, os.WriteFile(config, []byte("[url \""+remote+"\"]\n\tinsteadOf = https://"+self+"\n"), 0o600))
	env := modtest.NewGo(t, nil)
	env.Set("GIT_CONFIG_GLOBAL="+config, "GOINSECURE="+self)
	p := modtest.Start(t, modtest.Build(t, "./examples/registry"),
		[]string{"-addr", "127.0.0.1:0", "-dir", filepath.Join(dir, "store"), "-private", self}, env.Env())
	target, err := url.Parse(p.URL)
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/"+self+"/") {
			http.NotFound(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// consumer returns a go command in a module with a program that imports the release.
func consumer(t *testing.T, registry string) *modtest.Go {
	t.Helper()
	g := modtest.NewGo(t, nil)
	settings, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	require.NoError(t, err)
	cache, others, _ := strings.Cut(strings.TrimSpace(string(settings)), "\n")
	proxy := registry + ",file://" + filepath.ToSlash(filepath.Join(cache, "cache", "download"))
	if others != "" {
		proxy += "," + others
	}
	g.Set("GOPROXY=" + proxy)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		g.Set(name + "=" + os.Getenv(name))
	}
	program, err := os.ReadFile(filepath.Join("testdata", "consumer.go.txt"))
	require.NoError(t, err)
	g.Write("main.go", string(program))
	g.Write("go.mod", "module consumer.test/app\n\ngo 1.26.0\n")
	return g
}

// build builds the consumer. The first time that takes minutes, since it compiles all
// that the backends depend on; -trimpath lets the build cache have it the next time,
// although each module cache is in another folder.
func build(t *testing.T, g *modtest.Go) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", "consumer", ".")
	cmd.Dir, cmd.Env = g.Dir, g.Env()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func mustRun(t *testing.T, g *modtest.Go, args ...string) {
	t.Helper()
	stdout, stderr, err := g.Run(args...)
	require.NoError(t, err, "go %v\n%s%s", args, stdout, stderr)
}
