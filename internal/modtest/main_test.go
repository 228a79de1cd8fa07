package modtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("MODTEST_HOME"); file != "" {
		os.Exit(modtest.Main(inHome(file)))
	}
	if os.Getenv("MODTEST_MEMORY") != "" {
		os.Exit(modtest.MainInMemory(saysTemp{}))
	}
	os.Exit(modtest.Main(m))
}

// inHome is a package's tests: it writes down what git and Go see of a user.
type inHome string

func (file inHome) Run() int {
	var said strings.Builder
	for _, command := range [][]string{
		{"git", "config", "--list"},
		{"go", "env", "GOPROXY", "GOCACHE"},
	} {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		said.Write(out)
		if err != nil {
			said.WriteString(err.Error())
		}
	}
	config, _ := os.UserConfigDir()
	cache, _ := os.UserCacheDir()
	home, _ := os.UserHomeDir()
	said.WriteString(config + "\n" + cache + "\n" + home + "\n" + strings.Join(os.Environ(), "\n"))
	if os.WriteFile(string(file), []byte(said.String()), 0o666) != nil {
		return 1
	}
	return 0
}

// Main gives tests a home that has nothing of the user's, but Go's own settings.
func TestMainHidesTheHome(t *testing.T) {
	home, file := t.TempDir(), filepath.Join(t.TempDir(), "said")
	for name, content := range map[string]string{
		".gitconfig":            "[personal]\n\tsecret = yes\n",
		".config/git/config":    "[personal]\n\tsecret = yes\n",
		"set.gitconfig":         "[personal]\n\tsecret = yes\n",
		".config/go/env":        "GOPROXY=http://127.0.0.1:9/personal\n",
		".config/athens/secret": "",
		// Otherwise a go command may still be writing there when the test ends.
		".config/go/telemetry/mode": "off 2024-01-01",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(home, name), []byte(content), 0o666))
	}
	cmd := exec.Command(os.Args[0])
	cmd.Dir = t.TempDir() // in no repository, which would have settings of its own
	cmd.Env = []string{
		"MODTEST_HOME=" + file, "PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"),
		"NETRC=" + filepath.Join(home, ".netrc"), "SSH_AUTH_SOCK=" + filepath.Join(home, "agent"), "GIT_DIR=" + home, "AWS_PROFILE=personal",
		"GIT_CONFIG_GLOBAL=" + filepath.Join(home, "set.gitconfig"), "GOCACHE=" + filepath.Join(home, "gocache"), "GOVCS=off",
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	said := string(data)
	assert.NotContains(t, said, "personal.secret")
	lines := strings.Split(said, "\n")
	require.Greater(t, len(lines), 6)
	assert.Equal(t, []string{"http://127.0.0.1:9/personal", filepath.Join(home, "gocache")}, lines[:2], "Go's own settings stay")
	for _, line := range lines[2:] {
		if !strings.HasPrefix(line, "GO") && !strings.HasPrefix(line, "MODTEST_HOME=") {
			assert.NotContains(t, line, home)
		}
	}
	assert.Contains(t, lines, "GOENV=off")
	for _, name := range []string{"NETRC=", "SSH_AUTH_SOCK=", "GIT_DIR=", "GIT_CONFIG_GLOBAL=", "AWS_PROFILE=", "GOVCS="} {
		assert.NotContains(t, said, "\n"+name)
	}
}

// saysTemp is a package's tests: it prints where temporary folders are.
type saysTemp struct{}

func (saysTemp) Run() int {
	fmt.Println(os.TempDir())
	return 0
}

// Nothing stays in memory, and a folder that the user has chosen stays.
func TestMainInMemory(t *testing.T) {
	chosen := t.TempDir()
	for _, tmp := range []string{"", chosen} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MODTEST_MEMORY=yes", "TMPDIR="+tmp)
		cmd.Stderr = t.Output()
		out, err := cmd.Output()
		require.NoError(t, err)
		said := strings.TrimSpace(string(out))
		if tmp != "" {
			assert.Equal(t, tmp, said)
		} else if strings.Contains(said, "modtest-") {
			assert.NoDirExists(t, said)
		}
	}
}
