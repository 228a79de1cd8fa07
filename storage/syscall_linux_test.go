package storage_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sampledFaults is how many faults TestEverySystemCall tries in an ordinary run.
const sampledFaults = 20

// canFail are the calls that a medium, a lock or a quota can make fail. The
// others are killed at only.
var canFail = regexp.MustCompile(`^(openat|read|write|pwrite64|fsync|fdatasync|rename\w*|link\w*|unlink\w*|mkdir\w*|close|flock|ftruncate|newfstatat|fstat|getdents64)$`)

// A fault is what happens at one system call of a process.
type fault struct {
	call string // its name
	nth  int    // among the calls of that name
	what string // "signal=SIGKILL", or "error=" and which
}

// String is the fault as strace's option.
func (f fault) String() string { return fmt.Sprintf("inject=%s:%s:when=%d", f.call, f.what, f.nth) }

// tries is how often the process tries to store. A process that was told that a
// close failed has, unlike in truth, the file open still, and may have it
// locked: it ends, and another tries.
func (f fault) tries() int {
	if f.what == "error=EIO" && f.call != "close" {
		return 2
	}
	return 1
}

// A straced run is a process that works on a store, and its calls.
type straced struct {
	out   string
	state *os.ProcessState
	calls []fault // those on the store
	hit   string  // the line of the call that the fault met, if it is one of them
	// strays says that a call on the store was made by another thread than the
	// first one, so that calls is not to be relied upon.
	strays bool
}

// run lets a process store under strace, with a fault at one call or none.
func run(t *testing.T, dir, path string, f fault) straced {
	t.Helper()
	return runTask(t, dir, fmt.Sprintf("one %s %s %d", dir, path, f.tries()), f)
}

// runTask lets a process do a task with the store in a folder.
func runTask(t *testing.T, dir, task string, f fault) straced {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-y", "-s", "0", "-e", "signal=none", "-o", out}
	if f.call != "" {
		args = append(args, "-e", "trace=execve,"+f.call, "-e", f.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only a broken one takes that long
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", append(args, exe)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // strace ends with its child
	cmd.Env = append(os.Environ(), childEnv+"="+task, "GOMAXPROCS=1", "GOGC=off")
	output, _ := cmd.CombinedOutput() // the status is looked at
	require.NoError(t, ctx.Err(), "no end of %v\n%s", f, output)
	r := straced{out: string(output), state: cmd.ProcessState}
	var first, last string
	seen := map[string]int{}
	for line := range strings.Lines(content(t, out)) {
		m := threadRE.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if first == "" {
			first = m[1]
		}
		if m[1] != first {
			r.strays = r.strays || strings.Contains(line, dir)
			continue
		}
		last = line
		seen[m[2]]++
		if strings.Contains(line, dir+"/") || strings.Contains(line, dir+">") || strings.Contains(line, dir+`"`) {
			r.calls = append(r.calls, fault{call: m[2], nth: seen[m[2]]})
			if strings.Contains(line, "(INJECTED)") {
				r.hit = line
			}
		}
	}
	if f.what == "signal=SIGKILL" && strings.Contains(last, dir) && !r.state.Success() {
		r.hit = last
	}
	return r
}

var threadRE = regexp.MustCompile(`^(\d+) +(\w+)\(`)

// A scene is what lies in the store's folder before the process stores there.
type scene struct {
	name string
	// prepare returns the folder and the module path for one try.
	prepare func(t *testing.T) (dir, path string)
	staged  int // files of a live process that must stay
}

// scenes starts the live process, whose stage no sweep may touch.
func scenes(t *testing.T) []scene {
	shared, modules := t.TempDir(), 0
	live := startChild(t, "stage", shared)
	_, err := live.stdin.Write([]byte("\n"))
	require.NoError(t, err)
	require.True(t, live.out.Scan(), "%s", &live.err)
	next := func(t *testing.T, version string, do func(storagetest.Sample) error) (dir, path string) {
		modules++
		path = fmt.Sprintf("example.com/m%05d", modules)
		require.NoError(t, do(storagetest.NewSample(path, version, "")))
		return shared, path
	}
	return []scene{
		{"empty folder", func(t *testing.T) (string, string) { return t.TempDir(), "example.com/mod" }, 0},
		{"second version", func(t *testing.T) (string, string) {
			return next(t, "v1.0.0", func(a storagetest.Sample) error { return a.Store(t.Context(), newDisk(t, shared)) })
		}, 1},
		{"without its zip", func(t *testing.T) (string, string) {
			return next(t, "v1.1.0", func(a storagetest.Sample) error { return a.Put(t.Context(), newDisk(t, shared)) })
		}, 1},
	}
}

// TestEverySystemCall lets a process store one version, and kills it at each
// call that it makes on the store, or fails that call with EIO or ENOSPC. Then
// the version is whole or not, what was held is what it was, nothing is left
// over, nothing of a live process is gone, and the next Put and Commit succeed.
//
// An ordinary run tries a sample. With ATHENS_SOAK set it tries all of them, and
// ATHENS_SEED chooses another sample.
func TestEverySystemCall(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "strace", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("skipped, no system call is failed: strace does not work here: %v", err)
	}
	var all []func(t *testing.T)
	for _, sc := range scenes(t) {
		var reference straced
		for reference.calls == nil || reference.strays {
			dir, path := sc.prepare(t)
			reference = run(t, dir, path, fault{})
			require.Equal(t, "stored\n", reference.out)
			sc.check(t, dir, path)
		}
		for _, call := range reference.calls {
			for _, f := range kinds(call) {
				all = append(all, func(t *testing.T) { sc.try(t, f) })
			}
		}
	}
	trySome(t, all, sampledFaults)
}

// trySome tries a sample of faults, all of them with ATHENS_SOAK.
func trySome(t *testing.T, all []func(t *testing.T), sampled int) {
	t.Helper()
	tries := all
	if os.Getenv("ATHENS_SOAK") == "" {
		seed, err := strconv.ParseUint(os.Getenv("ATHENS_SEED"), 10, 64)
		if err != nil {
			seed = uint64(time.Now().UnixNano())
		}
		tries = nil
		step := max(1, len(all)/sampled)
		for i := int(rand.New(rand.NewPCG(seed, 0)).Uint64() % uint64(step)); i < len(all); i += step {
			tries = append(tries, all[i])
		}
		t.Logf("a sample of every %d, ATHENS_SEED=%d", step, seed)
	}
	for _, try := range tries {
		try(t)
	}
	t.Logf("%d of %d faults tried", len(tries), len(all))
}

// kinds are the faults that a call can meet.
func kinds(call fault) (all []fault) {
	for _, what := range []string{"signal=SIGKILL", "error=EIO", "error=ENOSPC"} {
		if what == "signal=SIGKILL" || canFail.MatchString(call.call) {
			all = append(all, fault{call.call, call.nth, what})
		}
	}
	return all
}

// try makes one process meet a fault. The calls of a process are the same each
// time, but for what the Go runtime does beside: then it is tried again.
func (sc scene) try(t *testing.T, f fault) {
	t.Run(sc.name+" "+f.String(), func(t *testing.T) {
		for range 10 {
			dir, path := sc.prepare(t)
			r := run(t, dir, path, f)
			lines := strings.Split(strings.TrimSpace(r.out), "\n")
			if f.what != "signal=SIGKILL" {
				require.True(t, r.state.Success(), r.out)
				if f.tries() > 1 {
					assert.Equal(t, "stored", lines[len(lines)-1], "the same process has not stored it after the fault")
				}
			}
			if slices.Contains(lines, "stored") {
				require.NoError(t, storagetest.NewSample(path, "v1.1.0", "").Whole(t.Context(), newDisk(t, dir)), r.hit)
			}
			sc.check(t, dir, path)
			if r.hit != "" {
				return
			}
		}
		require.Fail(t, "the fault never met a call on the store")
	})
}

// soundModule wants the files of one module, alone in a store of its own, to be sound,
// with a list that names what is held.
func soundModule(t *testing.T, dir, path string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, path)); os.IsNotExist(err) {
		return
	}
	alone := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(alone, path), os.DirFS(filepath.Join(dir, path))))
	soundLists(t, newDisk(t, alone), alone, path)
}

// check looks at what a process has left, as the next one: opening the store has
// brought the list up to date, and nothing is damaged.
func (sc scene) check(t *testing.T, dir, path string) {
	t.Helper()
	s := newDisk(t, dir)
	stage := filepath.Join(dir, ".athens", "stage")
	require.NoError(t, os.MkdirAll(stage, 0o777)) // a process may have died before it could
	require.Len(t, tree(t, stage), sc.staged, "what is on its way in")
	a, old := storagetest.NewSample(path, "v1.1.0", ""), storagetest.NewSample(path, "v1.0.0", "")
	list := "v1.1.0\n"
	if sc.name == "second version" {
		list = "v1.0.0\n" + list
		require.NoError(t, old.Whole(t.Context(), s))
	}
	wholeOrNot(t, s, a)
	soundModule(t, dir, path)
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, a.Whole(t.Context(), s))
	require.Equal(t, list, content(t, filepath.Join(dir, filepath.FromSlash(path), "@v", "list")))
}
