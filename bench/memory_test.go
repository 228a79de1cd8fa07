package bench_test

import (
	"fmt"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

// measureMemory compares the most memory that a process needs to fill, check and
// serve a small zip and a large one.
func measureMemory(t *testing.T, b *table) {
	env := modtest.NewGo(t, nil).Env()
	var upstreams [2]*modtest.GoProxy
	var zips [2][]string
	for i, size := range b.memory {
		v := newZip(t, "memory.test/mod", "v1.0.0", size)
		upstreams[i], zips[i] = modtest.NewGoProxy(t, v), paths([]*modtest.Version{v}, ".zip")
	}
	for _, sys := range systems() {
		var peaks [2]int64
		for i, upstream := range upstreams {
			s := sys.start(t, t.TempDir(), upstream.URL, env)
			for range 2 { // while it is filled, and from the store
				mustHold(t, s.name, flood(t, s.url, zips[i], 4, 4))
			}
			peaks[i] = s.peak(t)
			s.kill()
		}
		b.add(t, line{fmt.Sprintf("memory for a zip of %d MB above that for %d MB", b.memory[1]>>20, b.memory[0]>>20), sys.name,
			float64(peaks[1]-peaks[0]) / (1 << 20), "MB", sys.target(32),
			fmt.Sprintf("at most %d MB and %d MB", peaks[1]>>20, peaks[0]>>20)})
	}
}
