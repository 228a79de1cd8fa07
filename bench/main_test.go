package bench_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

var (
	printTable = flag.Bool("table", false, "print the table, and fail if a target is missed")
	quick      = flag.Bool("quick", false, "with -table: few rounds and small files, which show that everything runs but prove nothing")
	rounds     = flag.Int("rounds", 0, "with -table: so many rounds of each comparison; 0 means the default")
	records    = flag.Int("records", 0, "with -table: so many records in the large ledger; 0 means the default")
	doc        = flag.String("doc", "", "with -table: put the table into this `file`, between its marks")
	nginxFlag  = flag.String("nginx", "", "the nginx `binary`; empty means the one that is installed, if any")

	peerFlags, directPeerFlags peers // of TestMain
)

// fileServerEnv makes this test binary the plain file server of the comparison.
const fileServerEnv = "ATHENS_BENCH_FILE_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(fileServerEnv); dir != "" {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], http.FileServer(http.Dir(dir))))
		os.Exit(1)
	}
	flag.Var(&peerFlags, "peer", "measure another proxy: 'NAME=[VAR=VALUE...] COMMAND ARG...' with {addr}, {dir} and\n{upstream}; may be repeated")
	flag.Var(&directPeerFlags, "peer-direct", "the same for one that fetches from version control; {upstream} is \"direct\"")
	os.Exit(inMemory(m))
}

// inMemory runs the tests with their temporary folders on a memory file system,
// where there is one: a disk's writeback would be most of what is measured.
func inMemory(m *testing.M) int {
	if dir, err := os.MkdirTemp("/dev/shm", "athens-bench-"); err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Setenv("TMPDIR", dir); err != nil {
			return 1
		}
	}
	return modtest.Main(m)
}

// counts says how much is measured.
type counts struct {
	rounds   int           // of each comparison
	away     time.Duration // what a request to an upstream or repository takes
	modules  int           // selected in the module graph
	old      int           // versions of them that the graph mentions only
	repos    int           // git repositories with three versions each
	large    int           // bytes of the large zip
	rate     int           // bytes a second of each of an upstream's answers
	clients  int           // that ask for the large zip
	small    int           // requests of a round for .info and .mod
	medium   int           // and for zips of 100 KB
	big      int           // and for the large zip
	lists    int           // requests for one list
	absent   int           // things that do not exist, asked for five times each
	starts   int           // of a process
	stuck    int           // misses that never end
	latency  int           // requests of a round for what is held, beside those
	misses   int           // and for what is not held
	memory   [2]int        // bytes of the zips whose memory is compared
	spread   time.Duration // how long stuck misses are given to arrive
	allocsIn int           // requests whose allocations are counted
	held     int           // versions in a large store
	carried  int           // versions in a bundle
	// additions to a ledger, and records of a large one
	additions, records int
	rules              int // and ten times as many advisories
}

var full = counts{
	rounds: 5, away: 30 * time.Millisecond, modules: 120, old: 117, repos: 20,
	large: 60 << 20, rate: 50 << 20, clients: 50, small: 20000, medium: 8000, big: 64, lists: 500, absent: 40, starts: 21,
	stuck: 40, latency: 1000, misses: 4, memory: [2]int{3 << 20, 300 << 20}, spread: 2 * time.Second, allocsIn: 5000, held: 1_000_000, carried: 50_000,
	additions: 20_000, records: 10_000_000, rules: 1000,
}

var tiny = counts{
	rounds: 1, away: 2 * time.Millisecond, modules: 12, old: 9, repos: 2,
	large: 2 << 20, rate: 50 << 20, clients: 6, small: 200, medium: 60, big: 4, lists: 50, absent: 10, starts: 3,
	stuck: 8, latency: 50, misses: 1, memory: [2]int{1 << 20, 6 << 20}, spread: 200 * time.Millisecond, allocsIn: 200, held: 5000, carried: 60,
	additions: 500, records: 2000, rules: 10,
}

// TestTable measures everything, one line of the table after the other.
func TestTable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("CPU time and memory of processes are read from /proc")
	}
	n := tiny
	if *printTable && !*quick {
		n = full
	}
	if *printTable && *rounds > 0 {
		n.rounds = *rounds
	}
	if *printTable && *records > 0 {
		n.records = *records
	}
	b := &table{counts: n}
	for _, part := range []struct {
		name    string
		measure func(*testing.T, *table)
	}{
		{"graph", measureGraph},
		{"fill", measureFill},
		{"bundle", measureBundle},
		{"vcs", measureRepos},
		{"large", measureLarge},
		{"warm", measureWarm},
		{"control", measureControl},
		{"allocs", measureAllocs},
		{"calls", measureCalls},
		{"start", measureStart},
		{"stuck", measureStuck},
		{"stuckrepos", measureStuckRepos},
		{"memory", measureMemory},
		{"store", measureStore},
		{"additions", measureAdditions},
		{"reads", measureLedgerReads},
		{"verified", measureVerified},
		{"records", measureRecords},
	} {
		t.Run(part.name, func(t *testing.T) { part.measure(t, b) })
	}
	if *printTable {
		b.publish(t)
	}
}
