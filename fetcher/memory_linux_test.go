package fetcher_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// memoryCase says how large the repositories are, in MB, and what a process may
// need at most to fetch and zip versions of them, which is not measured with the race
// detector.
func memoryCase() (size, most int) {
	switch {
	case os.Getenv("ATHENS_SOAK") != "":
		return 200, 150
	case modtest.RaceEnabled:
		return 14, 0
	}
	return 40, 60
}

// TestMemory measures the peak of a process of its own that fetches and zips
// versions of large repositories.
func TestMemory(t *testing.T) {
	if path := os.Getenv("FETCHER_TEST_MEMORY"); path != "" {
		memoryChild(t, path)
		return
	}
	t.Parallel()
	size, most := memoryCase()
	for name, fill := range map[string]func(write func(name string, seed uint64, size int)) func(){
		"files": func(write func(string, uint64, int)) func() {
			for i := range size {
				write(fmt.Sprintf("f%d", i), uint64(i), 1<<20)
			}
			return func() { write("f0", 1000, 1<<20) }
		},
		"delta": func(write func(string, uint64, int)) func() {
			write("large", 1, size*750_000)
			return func() { write("large", 2, size*750_000) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := modtest.NewRepo(t, "# A large one.\nrepo git.test/large\nwrite go.mod \"module git.test/large\\n\"\ncommit 2022-01-01T10:00:00Z Begin\n")
			dir, window := t.TempDir(), "0" // noise has no deltas to look for
			if name == "delta" {
				window = "3"
			}
			git := func(args ...string) {
				cmd := exec.Command("git", append([]string{"--git-dir", repo.Dir(), "--work-tree", dir, "-c", "core.compression=0", "-c", "pack.window=" + window,
					"-c", "gc.auto=0", "-c", "user.name=Ada", "-c", "user.email=ada@corp.test"}, args...)...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			git("checkout", "-q", "main")
			more := fill(func(name string, seed uint64, size int) { writeNoise(t, filepath.Join(dir, name), seed, size) })
			for _, version := range []string{"v1.0.0", "v1.1.0"} {
				git("add", ".")
				git("commit", "-qm", version)
				git("tag", version)
				more()
			}
			git("repack", "-qadf")

			net := modtest.NewInternet(t, repo)
			cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$", "-test.v")
			cmd.Env = append(os.Environ(), "FETCHER_TEST_MEMORY=git.test/large", "FETCHER_TEST_HASH="+repo.Hash("v1.0.0~"),
				"HTTP_PROXY="+net.ProxyURL().String(), "HTTPS_PROXY="+net.ProxyURL().String())
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			peak := 0
			for line := range strings.Lines(string(out)) {
				if _, err := fmt.Sscanf(strings.TrimSpace(line), "VmHWM: %d kB", &peak); err == nil {
					break
				}
			}
			require.NotZero(t, peak, "%s", out)
			t.Logf("peak: %d MB", peak>>10)
			if !modtest.RaceEnabled {
				assert.LessOrEqual(t, peak>>10, most)
			}
		})
	}
}

// writeNoise writes a file that can't be compressed. Files of the same size
// differ in every millionth byte, and by seed in the first.
func writeNoise(t *testing.T, name string, seed uint64, size int) {
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = fmt.Fprintf(w, "%08d", seed)
	require.NoError(t, err)
	if size < 10<<20 {
		size, seed = size-8, seed+1
	} else {
		size, seed = size-8, 0
	}
	_, err = io.CopyN(w, rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}), int64(size))
	require.NoError(t, err)
	require.NoError(t, w.Flush())
}

// memoryChild fetches as the process whose memory counts: once with the whole
// history in one pack, once version by version.
func memoryChild(t *testing.T, path string) {
	open := func() *fetcher.Fetcher {
		f, err := fetcher.New(t.TempDir(), &fetcher.Options{Insecure: modtest.Insecure, Netrc: "none", GitConfig: "none", SSHDir: "none"})
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	_, err := open().Resolve(t.Context(), path, os.Getenv("FETCHER_TEST_HASH"))
	require.NoError(t, err)
	f := open()
	_, err = f.Resolve(t.Context(), path, "v1.0.0")
	require.NoError(t, err)
	c, err := f.Fetch(t.Context(), module.Version{Path: path, Version: "v1.1.0"})
	require.NoError(t, err)
	require.NoError(t, c.Zip(t.Context(), io.Discard))
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	fmt.Printf("\n%s\n", status)
}
