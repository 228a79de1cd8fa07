package prefetch

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// Filled with the longest names, what a Prefetcher remembers and has queued stays within
// its bytes; a name that no client could ask for is no candidate.
func TestCandidatesStayWithinBytes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	p := New(0, nil, nil)
	p.active = true
	name := func(i, size int) module.Version {
		path := fmt.Sprintf("example.com/%d/", i)
		return module.Version{Path: path + strings.Repeat("x", size-len(path)-len("v1.0.0")), Version: "v1.0.0"}
	}
	for i := range 3 * maxCandidates {
		m := name(i, protocol.MaxPath)
		switch i % 3 {
		case 0:
			p.Requested(m, protocol.Mod, false)
		case 1:
			p.Requested(m, protocol.Mod, false)
			p.Requested(m, protocol.Info, false)
		default:
			p.Follow(m, []byte("module m\nrequire "+strings.ReplaceAll(name(-i, protocol.MaxPath).String(), "@", " ")+"\n"))
		}
	}
	assert.NotEmpty(t, p.seen)
	assert.LessOrEqual(t, heap()-before, int64(maxNameBytes+8<<20), "the names, and room for so many entries")
	p.reset()
	p.Follow(module.Version{}, []byte("module m\nrequire "+strings.ReplaceAll(name(1, protocol.MaxPath+1).String(), "@", " ")+"\n"))
	assert.Empty(t, p.queue)
	runtime.KeepAlive(p)
}
