package bench_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// fillParallel is what "store fill" does at once by itself.
const fillParallel = 64

// measureFill fills an empty store with a module graph. It is compared with what the line takes:
// the same requests, by a client that knows them all beforehand and does as many at once.
func measureFill(t *testing.T, b *table) {
	g := newGraph(t, b.modules, b.old)
	upstream := modtest.NewGoProxy(t, g.versions...)
	upstream.Break("", modtest.Delay(b.away))
	client := modtest.NewGo(t, nil)
	client.Write("go.mod", g.main)
	bin := modtest.Build(t, "./examples/store")
	var fills, line64 []cost
	var paths []string
	for range b.rounds {
		upstream.Reset()
		fills = append(fills, runTool(t, client.Env(), bin, "fill", "-dir", t.TempDir(), "-upstream", upstream.URL, "-private", "", filepath.Join(client.Dir, "go.mod")).cost)
		paths = paths[:0]
		for _, r := range upstream.Requests("") {
			paths = append(paths, strings.TrimPrefix(r.Path, "/"))
		}
		began := time.Now()
		mustHold(t, "the upstream", flood(t, upstream.URL, paths, fillParallel, len(paths)))
		line64 = append(line64, cost{wall: time.Since(began)})
	}
	c, base := median(fills), median(line64)
	b.add(t, line{fmt.Sprintf("`store fill` of %d modules, to what the line takes", b.modules), ownName, ratio(c.wall, base.wall), "×", 1.3,
		fmt.Sprintf("%s; %d requests, %d at once %s; CPU %s", short(c.wall), len(paths), fillParallel, short(base.wall), short(c.cpu))})
}

// tooled is what a run of the tool took.
type tooled struct {
	cost
	peak int64 // bytes of memory
}

// runTool runs the tool to its end.
func runTool(t *testing.T, env []string, bin string, args ...string) tooled {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = env
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return tooled{cost{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, peakOf(cmd.ProcessState)}
}

// measureBundle exports a store of many versions, and imports the bundle. Times are compared with
// those of a plain copy of the store's files.
func measureBundle(t *testing.T, b *table) {
	bin, env, dir := modtest.Build(t, "./examples/store"), modtest.NewGo(t, nil).Env(), t.TempDir()
	from, file := filepath.Join(dir, "from"), filepath.Join(dir, "bundle")
	carriedVersions(t, from, b.carried)
	plain := copyFiles(t, from, filepath.Join(dir, "plain"))
	export := runTool(t, env, bin, "export", "-dir", from, file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	imported := runTool(t, env, bin, "import", "-dir", filepath.Join(dir, "to"), file)
	again := runTool(t, env, bin, "import", "-dir", filepath.Join(dir, "to"), file)
	name := fmt.Sprintf("a bundle of %d versions", b.carried)
	for _, l := range []struct {
		what string
		of   tooled
	}{{"export of ", export}, {"import of ", imported}, {"import again of ", again}} {
		b.add(t, line{l.what + name + ": memory", ownName, float64(l.of.peak) / (1 << 20), "MB", 100,
			fmt.Sprintf("the bundle has %.1f MB", float64(info.Size())/(1<<20))})
		b.add(t, line{l.what + name + ", to a copy of the store's files", ownName, ratio(l.of.wall, plain), "×", noTarget,
			fmt.Sprintf("%s; copy %s; CPU %s", short(l.of.wall), short(plain), short(l.of.cpu))})
	}
}

// carriedVersions makes a store with so many versions, each with a zip.
func carriedVersions(t *testing.T, dir string, n int) {
	t.Helper()
	s, err := storage.NewDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	const writers = 8
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := w; i < n; i += writers {
				v := storagetest.NewSample(fmt.Sprintf("example.com/group%d/m%d", i%100, i/10), fmt.Sprintf("v1.%d.0", i%10), fmt.Sprint(i))
				if err := v.Store(t.Context(), s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// copyFiles copies a folder, file by file, and returns how long that took.
func copyFiles(t *testing.T, from, to string) time.Duration {
	t.Helper()
	began := time.Now()
	err := filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, below), 0o777)
		}
		in, err := os.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(filepath.Join(to, below))
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		return out.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
