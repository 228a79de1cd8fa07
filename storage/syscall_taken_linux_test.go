package storage_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/storage/storagetest"
)

// TestRemovalAtEverySystemCall lets a process remove, hide, evict or restore a version, and
// kills it at each call that it makes on the store, or fails that call with EIO or ENOSPC.
// Then all of it has happened or nothing, and the next process can do it.
//
// An ordinary run tries a sample, see TestEverySystemCall.
func TestRemovalAtEverySystemCall(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "strace", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("skipped, no system call is failed: strace does not work here: %v", err)
	}
	var all []func(t *testing.T)
	for _, c := range changes {
		var reference straced
		for reference.calls == nil || reference.strays {
			dir := t.TempDir()
			c.prepare(t, newDisk(t, dir), takenPath)
			reference = c.run(t, dir, fault{})
			require.Equal(t, "done\n", reference.out)
		}
		for _, call := range reference.calls {
			for _, f := range kinds(call) {
				all = append(all, func(t *testing.T) { c.try(t, f) })
			}
		}
	}
	trySome(t, all, 12)
}

const takenPath = "example.com/mod"

func (c change) run(t *testing.T, dir string, f fault) straced {
	t.Helper()
	return runTask(t, dir, fmt.Sprintf("take %s %s %s %d", c.name, dir, takenPath, f.tries()), f)
}

// try makes one process meet a fault, see [scene.try].
func (c change) try(t *testing.T, f fault) {
	t.Run(c.name+" "+f.String(), func(t *testing.T) {
		for range 10 {
			dir := t.TempDir()
			a, other := c.prepare(t, newDisk(t, dir), takenPath)
			r := c.run(t, dir, f)
			lines := strings.Split(strings.TrimSpace(r.out), "\n")
			if f.what != "signal=SIGKILL" {
				require.True(t, r.state.Success(), r.out)
				if f.tries() > 1 {
					assert.Equal(t, "done", lines[len(lines)-1], "the same process has not done it after the fault")
				}
			}
			s := newDisk(t, dir)
			state := stateOfTaken(t, s, a)
			if slices.Contains(lines, "done") {
				require.Equal(t, c.done, state, r.hit)
			}
			if state == "removed" || state == "absent" {
				requireGone(t, dir, a)
			}
			c.sound(t, s, a, other)
			require.Equal(t, "v1.1.0\n", content(t, filepath.Join(dir, takenPath, "@v", "list")))
			if r.hit != "" {
				return
			}
		}
		require.Fail(t, "the fault never met a call on the store")
	})
}

// requireGone wants no file of a version, but for its record.
func requireGone(t *testing.T, dir string, a storagetest.Sample) {
	t.Helper()
	for _, name := range tree(t, dir) {
		if strings.Contains(name, "/"+a.Module.Version+".") {
			require.True(t, strings.HasSuffix(name, ".record"), name)
		}
	}
}
