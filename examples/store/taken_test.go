package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/serve/operate"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// held makes a store with two versions of one module, and one of another.
func held(t *testing.T) (dir string, s *storage.Store) {
	dir = t.TempDir()
	s, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		require.NoError(t, storagetest.NewSample("example.com/Mod", v, "").Store(t.Context(), s))
	}
	require.NoError(t, storagetest.NewSample("example.com/other", "v0.1.0", "").Store(t.Context(), s))
	return dir, s
}

// The tool changes a store in its folder beside a server that has it open.
func TestTakeBackInFolder(t *testing.T) {
	dir, s := held(t)
	out, err := tool(t, "rm", "-dir", dir, "-reason", "leaks a key", "example.com/Mod@v1.1.0")
	require.NoError(t, err)
	assert.Equal(t, "removed: example.com/Mod@v1.1.0\n", out)
	out, err = tool(t, "hide", "-dir", dir, "-reason", "slow", "example.com/Mod@v1.0.0", "example.com/other@v9.0.0+incompatible")
	require.NoError(t, err)
	assert.Equal(t, "hidden: example.com/Mod@v1.0.0\nhidden: example.com/other@v9.0.0+incompatible\n", out)
	out, err = tool(t, "ls", "-dir", dir)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		"example.com/Mod@v1.0.0  hidden: slow", "example.com/Mod@v1.1.0  removed: leaks a key",
		"example.com/other@v0.1.0", "example.com/other@v9.0.0+incompatible  hidden: slow",
	}, lines(out))
	_, err = tool(t, "rm", "-dir", dir, "-reason", "x", "example.com/other@v0.1.0")
	require.NoError(t, err)
	out, err = tool(t, "ls", "-dir", dir)
	require.NoError(t, err)
	assert.Contains(t, out, "example.com/other@v0.1.0  removed: x\n", "nothing is held of that module")
	out, err = tool(t, "ls", "-dir", dir, "example.com/Mod")
	require.NoError(t, err)
	assert.Len(t, lines(out), 2)
	marks, err := s.Marks(t.Context(), "example.com/Mod")
	require.NoError(t, err)
	assert.True(t, marks["v1.1.0"].Removed)
	out, err = tool(t, "restore", "-dir", dir, "example.com/Mod@v1.0.0", "example.com/Mod@v1.1.0")
	require.NoError(t, err)
	assert.Equal(t, "restored: example.com/Mod@v1.0.0\nrestored: example.com/Mod@v1.1.0\n", out)
	marks, err = s.Marks(t.Context(), "example.com/Mod")
	require.NoError(t, err)
	assert.Empty(t, marks)
}

func TestDiskUsage(t *testing.T) {
	dir, _ := held(t)
	out, err := tool(t, "du", "-dir", dir)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^ +\d{3,}  example.com/Mod$`, out)
	assert.Regexp(t, `(?m)^ +\d{3,}  total$`, out)
}

// The tool has a server change its store, with a token that has the right for it.
func TestTakeBackAtServer(t *testing.T) {
	_, s := held(t)
	handler, err := athens.NewHandler(s, nil)
	require.NoError(t, err)
	tokens := filepath.Join(t.TempDir(), "tokens")
	secret, err := tool(t, "token", "-file", tokens, "-name", "ann", "-paths", "example.com", "-rights", "admin")
	require.NoError(t, err)
	reader, err := tool(t, "token", "-file", tokens, "-name", "bob", "-rights", "read")
	require.NoError(t, err)
	file, err := auth.Open(tokens, nil)
	require.NoError(t, err)
	api, err := operate.New(handler, s, &operate.Options{Authorize: func(r *http.Request, right, path string) (string, error) {
		rights, err := auth.ParseRights(right)
		if err != nil {
			return "", err
		}
		return file.Authorize(r, rights, path)
	}})
	require.NoError(t, err)
	server := httptest.NewServer(api.Front(file.Require(handler)))
	t.Cleanup(server.Close)
	order := []string{"rm", "-server", server.URL, "-reason", "leaks a key", "example.com/Mod@v1.1.0"}
	for token, want := range map[string]string{"": "there is no token", "ann.wrong": "401 Unauthorized", reader: "403 Forbidden"} {
		t.Setenv("ATHENS_TOKEN", token)
		_, err := tool(t, order...)
		assert.ErrorContains(t, err, want)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(tokenFile, []byte(secret), 0o600))
	_, err = tool(t, "hide", "-server", server.URL, "-token-file", tokenFile, "-reason", "x", "corp.test/m@v1.0.0")
	assert.ErrorContains(t, err, "403 Forbidden", "the token is for other modules")
	marks, err := s.Marks(t.Context(), "example.com/Mod")
	require.NoError(t, err)
	require.Empty(t, marks)
	t.Setenv("ATHENS_TOKEN", secret)
	out, err := tool(t, order...)
	require.NoError(t, err)
	assert.Equal(t, "removed: example.com/Mod@v1.1.0\n", out)
	marks, err = s.Marks(t.Context(), "example.com/Mod")
	require.NoError(t, err)
	assert.Equal(t, "leaks a key", marks["v1.1.0"].Reason)
	_, err = tool(t, "restore", "-server", server.URL, "-token-file", tokenFile, "example.com/Mod@v1.1.0")
	require.NoError(t, err)
}

func TestTakeBackUsage(t *testing.T) {
	dir, _ := held(t)
	for want, args := range map[string][]string{
		"want MODULE@VERSION":        {"rm", "-dir", dir, "-reason", "x"},
		"with a canonical version":   {"rm", "-dir", dir, "-reason", "x", "example.com/Mod"},
		`"example.com/Mod@v1" is no`: {"restore", "-dir", dir, "example.com/Mod@v1"},
		"either -dir or -server":     {"rm", "-reason", "x", "example.com/Mod@v1.0.0"},
		"want either -dir":           {"restore", "-dir", dir, "-server", "http://127.0.0.1:1", "example.com/Mod@v1.0.0"},
		"give a reason":              {"hide", "-dir", dir, "example.com/Mod@v1.0.0"},
		"flag provided but not":      {"restore", "-dir", dir, "-reason", "x", "example.com/Mod@v1.0.0"},
		"no such file":               {"rm", "-dir", dir + "x", "-reason", "x", "example.com/Mod@v1.0.0"},
		"not a URL":                  {"rm", "-server", "corp", "-reason", "x", "example.com/Mod@v1.0.0"},
		"-dir is missing":            {"ls"},
		"is no flag":                 {"du", "-dir", dir, "x"},
	} {
		_, err := tool(t, args...)
		assert.ErrorContains(t, err, want)
	}
}
