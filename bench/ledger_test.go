package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
)

// sumName is the name of the ledgers that are measured.
const sumName = "sum.bench.test"

// newLedgerKey makes a key of that name, with its public half.
func newLedgerKey(t *testing.T) (private, public string) {
	t.Helper()
	private, err := ledger.NewKey(sumName)
	if err == nil {
		public, err = ledger.PublicKey(private)
	}
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// writers is how many goroutines add to a ledger at once.
const writers = 64

// measureAdditions adds records by many writers, in memory and on a disk, whose own
// time for a sync is beside it. Each addition is durable and signed when it is answered.
func measureAdditions(t *testing.T, b *table) {
	key, _ := newLedgerKey(t)
	for _, part := range []struct {
		name, parent string
		target       float64 // in milliseconds
	}{{"tmpfs", t.TempDir(), 1}, {"disk", "/var/tmp", 5}} {
		dir, err := os.MkdirTemp(part.parent, "athens-bench-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		sync := syncTime(t, dir)
		l, err := ledger.New(filepath.Join(dir, "ledger"), key, &ledger.Options{Seen: filepath.Join(dir, "seen")})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		took := addRecords(t, l, writers, 0, b.additions)
		each := time.Since(begun) / time.Duration(b.additions)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		note := fmt.Sprintf("%.0f a second; a sync of a file takes %s", 1/each.Seconds(), short(sync))
		what := fmt.Sprintf("additions to a ledger on %s, %d writers", part.name, writers)
		b.add(t, line{what + ": time for each", ownName, float64(each.Microseconds()) / 1000, "ms", part.target, note})
		b.add(t, line{what + ": p99 of a writer's wait", ownName, float64(quantile(took, 0.99).Microseconds()) / 1000, "ms", 100,
			"p50 " + short(quantile(took, 0.5))})
	}
}

// syncTime is how long a disk takes to write a few bytes and sync them.
func syncTime(t *testing.T, dir string) time.Duration {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []time.Duration
	for range 21 {
		begun := time.Now()
		if _, err = f.WriteString("0123456789abcdef"); err == nil {
			err = f.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(begun))
	}
	return quantile(all, 0.5)
}

// addRecords adds the versions of these numbers, and returns how long each took.
func addRecords(t *testing.T, l *ledger.Ledger, writers, from, to int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, to-from)
	var next atomic.Int64
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(took) {
					return
				}
				m, zipHash, modHash := recorded(from + i)
				begun := time.Now()
				if _, err := l.Add(t.Context(), m, zipHash, modHash); err != nil {
					t.Error(err)
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	group.Wait()
	return took
}

// measureLedgerReads compares, on one registry, what a go command asks of its ledger
// with the .info of the same versions.
func measureLedgerReads(t *testing.T, b *table) {
	tree := newWarmTree(t, 100, 0)
	s := ledgerRegistry(t, tree.dir, modtest.NewGo(t, nil).Env())
	var infos, lookups []string
	for _, path := range tree.small {
		if name, version, ok := strings.Cut(strings.TrimSuffix(path, ".info"), "/@v/"); ok && strings.HasSuffix(path, ".info") {
			infos = append(infos, path)
			lookups = append(lookups, "sumdb/"+sumName+"/lookup/"+name+"@"+version)
		}
	}
	mustHold(t, s.name, flood(t, s.url, lookups, 4, len(lookups)))
	fillTile(t, s, tree)
	files := fileServer(t, tree.dir)
	parts := []struct {
		what, who string
		server    *server
		paths     []string
		target    float64
		costs     []cost
	}{
		{"", "", s, infos, 0, nil},
		{"look-up in the ledger", ownName, s, lookups, 1.5, nil},
		{"full tile of the ledger, 8 KB", ownName, s, []string{"sumdb/" + sumName + "/tile/8/0/000"}, 1.1, nil},
		{"partial tile of the ledger, 1 KB", ownName, s, []string{"sumdb/" + sumName + "/tile/8/0/001.p/32"}, 1.1, nil},
		{"", "", files, infos, 0, nil},
		{"file of a full tile, 8 KB", files.name, files, []string{".ledger/tile/8/0/000"}, noTarget, nil},
	}
	for range b.rounds {
		for i, part := range parts {
			before, begin := part.server.cpu(t), time.Now()
			answers := flood(t, part.server.url, part.paths, conns, b.small)
			n := time.Duration(b.small)
			parts[i].costs = append(parts[i].costs, cost{time.Since(begin) / n, (part.server.cpu(t) - before) / n})
			mustHold(t, part.server.name, answers)
		}
	}
	var base cost
	for _, part := range parts {
		c := median(part.costs)
		if part.what == "" {
			base = c
			continue
		}
		b.add(t, line{"warm " + part.what + ", CPU a request to that of a warm .info", part.who, ratio(c.cpu, base.cpu), "×", part.target,
			fmt.Sprintf("CPU %s to %s; wall %s to %s", short(c.cpu), short(base.cpu), short(c.wall), short(base.wall))})
	}
}

// fillTile makes the ledger of a registry, whose process it starts anew, have a full tile
// and a part of the next.
func fillTile(t *testing.T, s *server, tree warmTree) {
	t.Helper()
	s.kill()
	key, err := os.ReadFile(tree.dir + ".ledger.key")
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.New(filepath.Join(tree.dir, ".ledger"), strings.TrimSpace(string(key)), &ledger.Options{Seen: tree.dir + ".ledger.head"})
	if err != nil {
		t.Fatal(err)
	}
	addRecords(t, l, writers, 0, 300)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	*s = *ledgerRegistry(t, tree.dir, s.cmd.Env)
}

// ledgerRegistry starts a registry with a ledger.
func ledgerRegistry(t *testing.T, dir string, env []string) *server {
	t.Helper()
	return start(t, ownName, env, modtest.Build(t, "./examples/registry"), "-addr", "{addr}", "-dir", dir, "-private", "", "-ledger", sumName)
}

// measureVerified downloads a module graph from git through an empty registry with a
// ledger, with and without verifying it.
func measureVerified(t *testing.T, b *table) {
	g := newGraph(t, b.modules, b.old)
	internet := modtest.NewInternet(t, g.repos(t)...)
	internet.Break("", modtest.Delay(b.away))
	for _, procs := range []int{2, 16} {
		var walls, spent [2][]cost // trusting, verified
		for range b.rounds {
			for i := range walls {
				c, s := downloadVerified(t, b, g, modtest.NewGo(t, internet), procs, i == 1)
				walls[i], spent[i] = append(walls[i], c), append(spent[i], s)
			}
		}
		base, c := median(walls[0]), median(walls[1])
		b.add(t, line{fmt.Sprintf("cold `go mod download` of %d modules from git through a registry, verified by its ledger, to that with GOSUMDB=off, %d procs", b.modules, procs),
			ownName, ratio(c.wall, base.wall), "×", 1.25, fmt.Sprintf("%s to %s; CPU of go %s to %s, of the registry %s to %s",
				short(c.wall), short(base.wall), short(c.cpu), short(base.cpu), short(median(spent[1]).cpu), short(median(spent[0]).cpu))})
	}
}

// downloadVerified downloads the graph through a new registry, and returns what that took
// and the registry's CPU time.
func downloadVerified(t *testing.T, b *table, g graph, client *modtest.Go, procs int, verify bool) (took, spent cost) {
	t.Helper()
	dir, gopath, sumdb := filepath.Join(t.TempDir(), "store"), t.TempDir(), "off"
	key, public := newLedgerKey(t)
	if err := os.WriteFile(dir+".ledger.key", []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if verify {
		sumdb = public
	}
	s := ledgerRegistry(t, dir, client.Env())
	client.Set(fmt.Sprintf("GOMAXPROCS=%d", procs), "GOPROXY="+s.url, "GOSUMDB="+sumdb, "GOPATH="+gopath)
	client.Write("go.mod", g.main)
	client.Write("go.sum", "")
	took = goDownload(t, client)
	if got := downloaded(t, client); got != b.modules {
		t.Fatalf("the go command downloaded %d modules, not %d", got, b.modules)
	}
	if _, err := os.Stat(filepath.Join(gopath, "pkg", "sumdb", sumName, "latest")); (err == nil) != verify {
		t.Fatalf("GOSUMDB=%s, and the go command has kept a head: %v", sumdb, err)
	}
	spent = cost{cpu: s.cpu(t)}
	s.kill()
	return took, spent
}

// spread returns n of the numbers below size, from all parts of them.
func spread(n, size int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = int(int64(i) * 7919 * 104729 % int64(size))
	}
	slices.Sort(all)
	return all
}
