package storage_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trace runs a child under strace and returns its system calls on files below
// dir, in order, without what is random in them.
func trace(t *testing.T, dir, calls string, args ...string) []string {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "strace", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("skipped, system calls are not checked: strace does not work here: %v", err)
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), "strace", "-f", "-y", "-s", "0", "-e", "signal=none", "-e", "trace="+calls, "-o", out, exe)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(args, " "))
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	var lines []string
	for line := range strings.Lines(content(t, out)) {
		m := callRE.FindStringSubmatch(line)
		if m == nil || !strings.Contains(line, dir) {
			continue
		}
		call, last := m[1], ""
		for _, path := range pathRE.FindAllString(m[2], -1) {
			if path = strings.Trim(path, `<>"`); strings.HasPrefix(path, dir) && path != last {
				rel, err := filepath.Rel(dir, path)
				require.NoError(t, err)
				call += " " + randomRE.ReplaceAllString(rel, "…")
				last = path
			}
		}
		lines = append(lines, call)
	}
	return lines
}

var (
	callRE   = regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
	pathRE   = regexp.MustCompile(`<[^<>]*>|"[^"]*"`)
	randomRE = regexp.MustCompile(`[a-z2-7]{26}`)
)

// TestOrderOnDisk checks what a kill can't show: each file is synced before it
// gets its name, each name before the next step, and the .mod and the .zip last.
func TestOrderOnDisk(t *testing.T) {
	dir := t.TempDir()
	newDisk(t, dir)
	got := trace(t, dir, "write,fsync,renameat,renameat2,mkdirat,flock", "many", dir, "0", "1")
	sum := sha256.Sum256([]byte("example.com/mod"))
	noteHash := hex.EncodeToString(sum[:16])
	for i, call := range got {
		got[i] = strings.Replace(call, "renameat2 ", "renameat ", 1) // as some architectures do
	}
	assert.Equal(t, []string{
		// The lock.
		"mkdirat .athens",
		"fsync .",
		"mkdirat .athens/lock",
		"fsync .athens",
		"flock .athens/lock/57",
		// The module's folder, once for the life of a store.
		"mkdirat example.com",
		"fsync .",
		"mkdirat example.com/mod",
		"fsync example.com",
		"mkdirat example.com/mod/@v",
		"fsync example.com/mod",
		// The folder for what is on its way in, once for the life of the tree.
		"mkdirat .athens",
		"fsync .",
		"mkdirat .athens/stage",
		"fsync .athens",
		// Put.
		"write .athens/stage/57-…",
		"fsync .athens/stage/57-…",
		"renameat .athens/stage/57-… example.com/mod/@v/v1.0.0.info",
		"fsync example.com/mod/@v",
		"write .athens/stage/57-list-" + noteHash, // not synced: for a kill, not for a power cut
		"write .athens/stage/57-…",
		"fsync .athens/stage/57-…",
		"renameat .athens/stage/57-… example.com/mod/@v/v1.0.0.mod",
		"fsync example.com/mod/@v",
		"write .athens/stage/57-…",
		"fsync .athens/stage/57-…",
		"renameat .athens/stage/57-… example.com/mod/@v/v1.0.0.record",
		"write .athens/stage/57-…",
		"fsync .athens/stage/57-…",
		"renameat .athens/stage/57-… example.com/mod/@v/list",
		"fsync example.com/mod/@v",
		"flock .athens/lock/57",
		// Stage, Write, Commit.
		"flock .athens/stage/zip-…",
		"write .athens/stage/zip-…",
		"fsync .athens/stage/zip-…",
		"flock .athens/lock/57",
		"write .athens/stage/57-…",
		"fsync .athens/stage/57-…",
		"renameat .athens/stage/57-… example.com/mod/@v/v1.0.0.ziphash",
		"fsync example.com/mod/@v",
		"renameat .athens/stage/zip-… example.com/mod/@v/v1.0.0.zip",
		"write .athens/stage/57-…",
		"fsync .athens/stage/57-…",
		"renameat .athens/stage/57-… example.com/mod/@v/v1.0.0.record",
		"fsync example.com/mod/@v",
		"flock .athens/lock/57",
	}, got)
}

// TestWarmOpen wants one open and one fstat for a version seen before. For one that was
// not, it wants a look at the marks and for the .mod as well, and at the record of a zip.
func TestWarmOpen(t *testing.T) {
	dir := t.TempDir()
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	require.NoError(t, a.Store(t.Context(), newDisk(t, dir)))
	const v = "example.com/mod/@v/v1.0.0"
	want := []string{
		"newfstatat .", // opening the store
		"openat .",
		"fstat .",
		"openat .athens/stage",
		"openat example.com/mod/@v/taken", // it may have been removed
		"newfstatat " + v + ".mod",
	}
	for _, ext := range []string{".info", ".mod", ".zip"} {
		for i := range 3 {
			want = append(want, "openat "+v+ext, "fstat "+v+ext)
			if i == 0 && ext == ".zip" {
				want = append(want, "openat "+v+".record") // for the zip's size
			}
		}
	}
	assert.Equal(t, want, trace(t, dir, "newfstatat,openat,fstat", "open", dir))
}
