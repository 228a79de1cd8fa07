package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/publish"
	"github.com/athens-go/athens/storage"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// registry takes uploads below git.test with the secret "s3cret". Before it answers, fault
// may answer in its place.
func registry(t *testing.T, fault func(w http.ResponseWriter, r *http.Request, n int64) bool) string {
	handler, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Private: "none", Published: "git.test"})
	require.NoError(t, err)
	api, err := publish.New(handler, &publish.Options{Publish: func(r *http.Request, _ string) (string, error) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			return "", &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "no such token"}
		}
		return "ci", nil
	}})
	require.NoError(t, err)
	root := api.Front(handler)
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault == nil || !fault(w, r, n.Add(1)) {
			root.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.Close()
		assert.NoError(t, handler.Shutdown(context.Background()))
	})
	return server.URL
}

// tool runs the command with the secret in the environment.
func tool(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Setenv(tokenVariable, "s3cret")
	var out, said strings.Builder
	err = run(t.Context(), args, &out, &said)
	return out.String(), said.String(), err
}

// git runs git in a folder.
func git(t *testing.T, dir string, args ...string) {
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@git.test", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@git.test")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// The zip of a commit has the hashes that the go command finds in the repository, whatever
// git attributes, links and modules in folders it has.
func TestSameAsTheGoCommand(t *testing.T) {
	repos := modtest.Ready(t, "attributes", "nested", "subdir", "major-folder", "modes")
	g := modtest.NewGo(t, modtest.NewInternet(t, repos...))
	url := registry(t, nil)
	for _, c := range []struct {
		repo             int
		tag, folder, ref string
	}{
		{0, "v1.0.0", ".", "git.test/attributes@v1.0.0"},
		{1, "v1.1.0", ".", "git.test/nested@v1.1.0"},
		{1, "inner/v0.1.0", "inner", "git.test/nested/inner@v0.1.0"},
		{2, "tools/v1.2.3", "tools", "git.test/mono/tools@v1.2.3"},
		{3, "v2.1.0", "v2", "git.test/majorfolder/v2@v2.1.0"},
		{4, "v1.0.0", ".", "git.test/modes@v1.0.0"},
	} {
		truth := g.MustDownload(c.ref)
		dir := t.TempDir()
		git(t, dir, "clone", "-q", "-c", "advice.detachedHead=false", "--branch", c.tag, repos[c.repo].Dir(), ".")
		for _, said := range []string{"201 Created: published", "200 OK: was published before"} {
			out, stderr, err := tool(t, "-registry", url, "-dir", filepath.Join(dir, c.folder), truth.Version)
			require.NoError(t, err, stderr)
			assert.Equal(t, fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", truth.Path, truth.Version, truth.Sum, truth.Path, truth.Version, truth.GoModSum), out, c.ref)
			assert.Contains(t, stderr, said)
			assert.Contains(t, stderr, "from commit ")
		}
	}
}

// newModule makes a folder with a module, not in a repository.
func newModule(t *testing.T, path string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+path+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.go"), []byte("package m\n"), 0o600))
	return dir
}

// Uncommitted changes are not published by mistake.
func TestDirty(t *testing.T) {
	url := registry(t, nil)
	dir := newModule(t, "git.test/m")
	git(t, dir, "init", "-q", ".")
	_, _, err := tool(t, "-registry", url, "-dir", dir, "v1.0.0")
	require.ErrorContains(t, err, "no commit yet")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "Begin")
	work := filepath.Join(t.TempDir(), "work") // another work tree of the repository
	git(t, dir, "worktree", "add", "-q", work)
	committed, _, err := tool(t, "-registry", url, "-dir", work, "v1.0.0")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "new.go"), []byte("package m\n"), 0o600))
	_, _, err = tool(t, "-registry", url, "-dir", dir, "v1.0.0")
	require.ErrorContains(t, err, `uncommitted changes, such as "?? new.go"`)
	_, _, err = tool(t, "-registry", url, "-dir", dir, "-allow-dirty", "v1.0.0")
	require.ErrorContains(t, err, "the registry answers 409 Conflict: git.test/m@v1.0.0 is there with other content")
	require.ErrorContains(t, err, strings.Fields(committed)[2])
	out, stderr, err := tool(t, "-registry", url, "-dir", dir, "-allow-dirty", "v1.1.0")
	require.NoError(t, err)
	assert.Contains(t, stderr, "from the files in "+dir)
	assert.Contains(t, out, "git.test/m v1.1.0 h1:")
}

// An upload that may succeed later is tried again, the rest is not.
func TestAttempts(t *testing.T) {
	dir := newModule(t, "git.test/m")
	var seen atomic.Int64
	url := registry(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		seen.Store(n)
		switch n {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			_, _ = io.Copy(io.Discard, r.Body)
			http.Error(w, "down\x1b[2J", http.StatusServiceUnavailable)
		}
		return n <= 2
	})
	up, m, err := prepare(url+"/", dir, []string{"v1.0.0"}, false)
	require.NoError(t, err)
	zip, err := pack(t.Context(), m, dir, false)
	require.NoError(t, err)
	defer zip.remove()
	var said strings.Builder
	up.secret, up.report, up.pause = "s3cret", newReport(&said), 1
	require.NoError(t, up.send(t.Context(), m, zip), said.String())
	assert.Equal(t, int64(3), seen.Load())
	assert.Contains(t, said.String(), `503 Service Unavailable: "down\x1b[2J"; attempt 3 of 5 in 2ns`)
	assert.NotContains(t, said.String(), "s3cret")

	for status, says := range map[int]string{403: "403 Forbidden: no ", 422: "422", 302: "302 Found", 200: "other hashes"} {
		url := registry(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
			seen.Store(n)
			assert.Equal(t, "Bearer s3cret", r.Header.Get("Authorization"))
			w.Header().Set("Location", "http://127.0.0.1:1/")
			http.Error(w, "no\x1b", status)
			return true
		})
		out, _, err := tool(t, "-registry", url, "-dir", dir, "v1.0.0")
		assert.ErrorContains(t, err, says)
		assert.Empty(t, out)
		assert.Equal(t, int64(1), seen.Load(), status)
	}
}

// What is wrong on the command line is said before anything is sent.
func TestUsage(t *testing.T) {
	dir := newModule(t, "git.test/m")
	secret := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(secret, []byte("other\n"), 0o600))
	const url = "https://127.0.0.1:1"
	for says, args := range map[string][]string{
		"-registry is missing":    {"v1.0.0"},
		"no URL":                  {"-registry", "127.0.0.1:3001", "v1.0.0"},
		"a login in it":           {"-registry", "https://ci:pw@127.0.0.1", "v1.0.0"},
		"plain http":              {"-registry", "http://registry.test", "v1.0.0"},
		"one VERSION":             {"-registry", url, "v1.0.0", "v1.1.0"},
		"no canonical version":    {"-registry", url, "v1"},
		"pseudo-version":          {"-registry", url, "v0.0.0-20200101000000-abcdefabcdef"},
		"should be v0 or v1":      {"-registry", url, "v2.0.0"},
		"not both":                {"-registry", url, "-token", "x", "-token-file", secret, "v1.0.0"},
		"no such file":            {"-registry", url, "-token-file", secret + "x", "v1.0.0"},
		"flag provided but not d": {"-nosuch"},
	} {
		_, stderr, err := tool(t, append([]string{"-dir", dir}, args...)...)
		assert.ErrorAs(t, err, new(*command.UsageError), says)
		assert.Contains(t, stderr, says)
		assert.NotContains(t, stderr, ":pw@")
	}
	_, _, err := tool(t, "-registry", registry(t, nil), "-dir", dir, "-token-file", secret, "v1.0.0")
	assert.ErrorContains(t, err, "401 Unauthorized: no such token")
	t.Setenv(tokenVariable, "")
	assert.ErrorAs(t, run(t.Context(), []string{"-registry", url, "-dir", dir, "v1.0.0"}, io.Discard, io.Discard), new(*command.UsageError))
}
