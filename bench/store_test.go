package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
)

// measureStore starts the proxy on a store of very many versions, has it list one
// module of them, and walks over all. The same is done with a store that holds
// nothing but that module. Their upstream knows no module: a list is what the upstream
// lists, and the store is read for it only where the upstream has none.
func measureStore(t *testing.T, b *table) {
	large, small := manyVersions(t, b.held), manyVersions(t, modtest.ManyInLargest)
	upstream := modtest.NewGoProxy(t)
	env := modtest.NewGo(t, nil).Env()
	bin := modtest.Build(t, "./examples/proxy")
	var starts, lists [2][]time.Duration
	for range b.starts {
		for i, dir := range []string{large, small} {
			s, whole := firstAnswer(t, env, bin, dir, upstream.URL, modtest.ManyLargest+"/@v/v1.0.7.info")
			starts[i] = append(starts[i], whole)
			answers := flood(t, s.url, []string{modtest.ManyLargest + "/@v/list"}, 1, 1)
			mustHold(t, s.name, answers)
			lists[i] = append(lists[i], answers[0].whole)
			if want := int64(len("v1.0.0\n")*10 + len("v1.0.10\n")*90 + len("v1.0.100\n")*900); answers[0].bytes != want {
				t.Fatalf("the list has %d bytes, want %d", answers[0].bytes, want)
			}
			s.kill()
		}
	}
	name := fmt.Sprintf("a store of %d versions", b.held)
	mine, base := quantile(starts[0], 0.5), quantile(starts[1], 0.5)
	b.add(t, line{"process start to first held answer, " + name, ownName, float64(mine) / 1e6, "ms", 1000,
		fmt.Sprintf("fastest %s, slowest %s; of %d versions %s", short(quantile(starts[0], 0)), short(quantile(starts[0], 1)), modtest.ManyInLargest, short(base))})
	mine, base = quantile(lists[0], 0.5), quantile(lists[1], 0.5)
	b.add(t, line{fmt.Sprintf("first list of a module of %d versions, %s, to that of nothing else", modtest.ManyInLargest, name), ownName,
		ratio(mine, base), "×", 1.5, fmt.Sprintf("%s to %s", short(mine), short(base))})
	walk, memory := walkStore(t, large, b.held)
	b.add(t, line{"a walk over " + name, ownName, float64(walk) / 1e9, "s", noTarget,
		fmt.Sprintf("%s a version; at most %.1f MB of heap above what it was", short(walk/time.Duration(b.held)), float64(memory)/(1<<20))})
}

// manyVersions makes a store with so many versions: on the memory file system if
// that takes as many names.
func manyVersions(t *testing.T, versions int) string {
	t.Helper()
	dir := t.TempDir()
	if names := freeNames(dir); names > 0 && names < 3*versions {
		var err error
		if dir, err = os.MkdirTemp("/var/tmp", "athens-bench-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		t.Logf("%d versions are on disk: the memory file system takes only %d names", versions, names)
	}
	modtest.ManyVersions(t, dir, versions)
	return dir
}

// freeNames returns how many more files the file system of dir takes; zero if
// it does not say.
func freeNames(dir string) int {
	out, _ := exec.Command("df", "--output=iavail", dir).Output()
	fields := strings.Fields(string(out))
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[len(fields)-1])
	return n
}

// walkStore walks over a store, and returns how long that took and by how much
// the heap was larger meanwhile.
func walkStore(t *testing.T, dir string, versions int) (took time.Duration, most uint64) {
	t.Helper()
	s, err := storage.NewDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	named := 0
	for _, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		named++
	}
	took = time.Since(begun)
	if named != versions {
		t.Fatalf("the walk names %d versions of %d", named, versions)
	}
	before, at := heap(), 0
	for range s.All(t.Context()) { // again, for looking at the heap takes time
		if at++; at%(versions/10) == 0 {
			most = max(most, heap())
		}
	}
	return took, most - min(most, before)
}

// heap is the memory in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
