package serve

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// ordinaryMemory is the memory in bytes that a server with default settings may use where
// nothing sets a limit.
const ordinaryMemory = 512 << 20

// LimitMemory makes the Go runtime collect garbage in time for the memory that there is: its
// soft limit becomes four fifths of the limit of the process's cgroup, such as a container's,
// or of 512 MiB where there is none. Otherwise the runtime lets memory grow to twice what is
// in use. If GOMEMLIMIT is set in the environment, that stays in force; GOMEMLIMIT=off means
// no limit. LimitMemory returns the limit in force, in bytes.
func LimitMemory() int64 {
	if os.Getenv("GOMEMLIMIT") == "" {
		limit, ok := cgroupMemory(os.DirFS("/"))
		if !ok {
			limit = ordinaryMemory
		}
		debug.SetMemoryLimit(limit / 5 * 4)
	}
	return debug.SetMemoryLimit(-1)
}

// cgroupMemory returns the smallest limit in bytes of the process's cgroup and those that it
// is in, of either version of cgroups. It reads below the root of the machine's files.
func cgroupMemory(root fs.FS) (limit int64, ok bool) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false // another system
	}
	limit = math.MaxInt64
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		if parts[1] != "" {
			if parts[1] != "memory" {
				continue
			}
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			if text, err := fs.ReadFile(root, path.Join(mount, dir, file)); err == nil {
				if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
					limit = min(limit, n)
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	const none = 1 << 60 // version 1 has a number for no limit
	return limit, limit < none
}
