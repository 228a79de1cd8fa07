package serve

import (
	"runtime/debug"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

func TestCgroupMemory(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64 // zero: no limit
	}{
		"another system": {},
		"container":      {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 512 << 20},
		"no limit":       {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		"service": {map[string]string{
			"proc/self/cgroup":                                     "0::/system.slice/athens.service\n",
			"sys/fs/cgroup/system.slice/memory.max":                "1073741824\n",
			"sys/fs/cgroup/system.slice/athens.service/memory.max": "max\n",
		}, 1 << 30},
		"the smallest": {map[string]string{
			"proc/self/cgroup":             "0::/a/b\n",
			"sys/fs/cgroup/a/memory.max":   "2000000\n",
			"sys/fs/cgroup/a/b/memory.max": "3000000\n",
		}, 2_000_000},
		"version 1": {map[string]string{
			"proc/self/cgroup":                                      "5:cpu:/x\n4:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            "9223372036854771712\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "268435456\n",
		}, 256 << 20},
		"version 1, no limit": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		"nonsense": {map[string]string{"proc/self/cgroup": "nonsense\n0::../..\n", "sys/fs/cgroup/memory.max": "many\n"}, 0},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		got, ok := cgroupMemory(root)
		assert.Equal(t, c.want != 0, ok, name)
		if ok {
			assert.Equal(t, c.want, got, name)
		}
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "off")
	assert.Equal(t, before, LimitMemory(), "the environment's stays")
	t.Setenv("GOMEMLIMIT", "")
	limit := LimitMemory()
	assert.Equal(t, limit, debug.SetMemoryLimit(-1))
	assert.Positive(t, limit)
}
