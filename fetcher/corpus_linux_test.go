package fetcher_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/packtest"
)

// corpusScale is how large hostile packs are: as large as an attacker would make
// them if ATHENS_SOAK says so, a fiftieth of that with ATHENS_FULL, and otherwise a quarter
// of the latter.
func corpusScale() float64 {
	switch {
	case os.Getenv("ATHENS_SOAK") != "":
		return 1
	case modtest.Full() && !modtest.RaceEnabled:
		return 0.02
	}
	return 0.005
}

// TestCorpus sends the whole corpus of hostile packs to a Fetcher in a process of
// its own, ten at a time and each several times, with an innocent client beside
// it. Each ends with a clear answer, the innocent one is answered at once, and
// the process stays small.
func TestCorpus(t *testing.T) {
	if names := os.Getenv("FETCHER_TEST_CORPUS"); names != "" {
		corpusChild(t, strings.Split(names, ";"))
		return
	}
	t.Parallel()
	host := packtest.NewHost(t.TempDir())
	var names []string
	for name, build := range packtest.Corpus(corpusScale()) {
		require.NoError(t, host.Add(fmt.Sprintf("h%d.test", len(names)), build()))
		names = append(names, name)
	}
	require.NoError(t, host.Add("good.test", new(packtest.Maker).Sound()))
	server := httptest.NewServer(host)
	t.Cleanup(server.Close)
	cmd := exec.Command(os.Args[0], "-test.run=^TestCorpus$", "-test.v", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), "FETCHER_TEST_CORPUS="+strings.Join(names, ";"), "HTTP_PROXY="+server.URL, "HTTPS_PROXY="+server.URL)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	peak := 0
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "VmHWM:"); ok {
			peak, err = strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			require.NoError(t, err)
		}
	}
	require.NotZero(t, peak, "%s", out)
	t.Logf("peak: %d MB\n%s", peak>>10, out)
	if !modtest.RaceEnabled {
		assert.LessOrEqual(t, peak>>10, 512)
	}
}

// corpusChild is the process whose memory counts.
func corpusChild(t *testing.T, names []string) {
	base := residentMB(t)
	f, err := fetcher.New(t.TempDir(), &fetcher.Options{Insecure: "*.test", Netrc: "none", GitConfig: "none", SSHDir: "none"})
	require.NoError(t, err)
	defer f.Close()
	get := func(host string) error {
		c, err := f.Fetch(t.Context(), module.Version{Path: host + "/m", Version: "v1.0.0"})
		if err == nil {
			err = c.Zip(t.Context(), io.Discard)
		}
		return err
	}
	var wg sync.WaitGroup
	ten := make(chan struct{}, 10)
	for i, name := range names {
		wg.Go(func() {
			ten <- struct{}{}
			defer func() { <-ten }()
			start := time.Now()
			err := get(fmt.Sprintf("h%d.test", i))
			fmt.Printf("%s: %v: %v\n", name, time.Since(start).Round(time.Millisecond), err)
			if err != nil && !assert.True(t, isContract(err), "%s: %T %v", name, err, err) {
				return
			}
			assert.Less(t, time.Since(start), 5*time.Minute, name)
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	slowest := time.Duration(0)
	for ended := false; !ended; {
		start := time.Now()
		assert.NoError(t, get("good.test"))
		slowest = max(slowest, time.Since(start))
		select {
		case <-done:
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	fmt.Printf("the innocent one: at most %v; resident before: %d MB\n", slowest, base)
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	fmt.Printf("\n%s\n", status)
}

func isContract(err error) bool {
	switch err.(type) {
	case *athens.InvalidError, *athens.UnavailableError, *athens.MissingError:
		return true
	}
	return false
}

func residentMB(t *testing.T) int {
	data, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize() >> 20
}
