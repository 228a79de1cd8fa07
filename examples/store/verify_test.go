package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// runVerify runs the command as a user would.
func runVerify(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), modtest.Build(t, "./examples/store"), append([]string{"verify"}, args...)...)
	cmd.Env = modtest.NewGo(t, nil).Env()
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// flip flips a bit in the middle of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	data[len(data)/2] ^= 4
	require.NoError(t, os.WriteFile(name, data, 0o600))
}

// TestRepair damages what a proxy serves, and lets it be repaired under it. In the
// end a go command gets what its go.sum says.
func TestRepair(t *testing.T) {
	t.Parallel()
	v := modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"go.mod": "module up.test/m\n", "m.go": "package m\n"})
	private := modtest.NewVersion(t, "corp.test/m", "v1.0.0", map[string]string{"go.mod": "module corp.test/m\n", "m.go": "package m\n"})
	up := modtest.NewGoProxy(t, v, private)
	dir := t.TempDir()
	p := modtest.Start(t, modtest.Build(t, "./examples/proxy"),
		[]string{"-addr", "127.0.0.1:0", "-dir", dir, "-upstream", up.URL, "-miss", "fetch", "-private", ""}, modtest.NewGo(t, nil).Env())
	download := func() {
		t.Helper()
		g := modtest.NewGo(t, nil)
		g.Set("GOPROXY=" + p.URL)
		for _, d := range g.Download("up.test/m@v1.0.0", "corp.test/m@v1.0.0") {
			require.Empty(t, d.Error)
			want := map[string]*modtest.Version{"up.test/m": v, "corp.test/m": private}[d.Path]
			assert.Equal(t, want.Sum, d.Sum)
			assert.Equal(t, want.GoModSum, d.GoModSum)
		}
	}
	download()
	status, stdout, stderr := runVerify(t, "-dir", dir)
	require.Zero(t, status, stdout+stderr)
	require.Equal(t, "2 versions, 0 of them without a record; 0 problems, 0 of them repaired\n", stdout)

	base := filepath.Join(dir, "up.test", "m", "@v", "v1.0.0")
	flip(t, base+".zip")
	flip(t, base+".mod")
	flip(t, filepath.Join(dir, "corp.test", "m", "@v", "v1.0.0.zip"))
	status, stdout, _ = runVerify(t, "-dir", dir)
	assert.Equal(t, 1, status, stdout)
	assert.Contains(t, stdout, "up.test/m: damaged v1.0.0.zip: ")
	assert.Contains(t, stdout, "up.test/m: damaged v1.0.0.mod: its hash is h1:")
	status, stdout, _ = runVerify(t, "-dir", dir, "-quarantine")
	assert.Equal(t, 1, status, stdout)
	assert.Contains(t, stdout, "; moved to .athens/quarantine/up.test/m/@v/v1.0.0.zip\n")

	// The tag has moved meanwhile: the proxy has nothing, and takes nothing else.
	moved := modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"go.mod": "module up.test/m\n", "m.go": "package moved\n"})
	other := modtest.NewGoProxy(t, moved)
	status, stdout, _ = runVerify(t, "-dir", dir, "-repair", other.URL, "-private", "corp.test")
	assert.Equal(t, 1, status, stdout)
	assert.Contains(t, stdout, "up.test/m: missing v1.0.0.zip: was stored; not repaired: up.test/m@v1.0.0: conflict: ")
	mend := up.Break("", modtest.Status(http.StatusServiceUnavailable))
	resp, err := http.Get(p.URL + "/up.test/m/@v/v1.0.0.zip")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	assert.NotEqual(t, http.StatusOK, resp.StatusCode)
	mend()

	asked := up.Count("corp.test")
	status, stdout, _ = runVerify(t, "-dir", dir, "-repair", up.URL, "-private", "corp.test")
	assert.Equal(t, 1, status, stdout)
	assert.Contains(t, stdout, "up.test/m: missing v1.0.0.zip: was stored; repaired\n")
	assert.Equal(t, asked, up.Count("corp.test"), "a private module was asked for")
	status, stdout, _ = runVerify(t, "-dir", dir, "-repair", up.URL, "-private", "")
	assert.Zero(t, status, stdout)
	assert.Contains(t, stdout, "corp.test/m: missing v1.0.0.zip: was stored; repaired\n2 versions")
	download()
	status, stdout, _ = runVerify(t, "-dir", dir, "-workers", "1", "-rate", "1000000")
	assert.Zero(t, status, stdout)
}

func TestVerifyUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil, {"-dir", filepath.Join(t.TempDir(), "none")}, {"-dir", t.TempDir(), "more"}, {"-what"},
		{"-dir", t.TempDir(), "-repair", "ftp://x"}, {"-dir", t.TempDir(), "-workers", "-1"},
	} {
		status, stdout, stderr := runVerify(t, args...)
		assert.Equal(t, 2, status, "%q: %s", args, stdout)
		assert.NotEmpty(t, stderr)
	}
	status, stdout, _ := runVerify(t, "-dir", t.TempDir())
	assert.Zero(t, status)
	assert.Equal(t, "0 versions, 0 of them without a record; 0 problems, 0 of them repaired\n", stdout)
	status, _, stderr := runVerify(t, "-h")
	assert.Zero(t, status)
	assert.Contains(t, stderr, "-quarantine")
}
