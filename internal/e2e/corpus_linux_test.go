package e2e_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/packtest"
)

const (
	mostMemoryMB   = 512 // of a server with default settings, as in deploy/kubernetes.yaml
	idleReaderMost = 128 // files of repositories that stay open for the next question
	coldModules    = 40
	// An innocent client is answered within a second on a machine that does nothing
	// else. Here other tests run beside the server and its attackers.
	machineSlack = 10
)

// corpusSize is how large hostile packs are: 1 is what an attacker would send.
func corpusSize() float64 {
	switch {
	case os.Getenv("ATHENS_SOAK") != "":
		return 1
	case modtest.Full():
		return 0.02
	}
	return 0.004
}

// TestHostilePacks sends the corpus of hostile packs to the servers with their default
// settings, ten at a time, with innocent clients beside them. No server is killed or
// needs more memory than it may, the innocent ones are answered, and nothing stays
// behind: neither files on disk nor open ones.
func TestHostilePacks(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	host := packtest.NewHost(t.TempDir())
	names := map[string]string{} // of the kinds, by host
	add := func(name string, c packtest.Case) {
		require.NoError(t, host.Add(name, c))
		net.Handle(name, host)
	}
	for name, build := range packtest.Corpus(corpusSize()) {
		at := fmt.Sprintf("h%d.test", len(names))
		names[at] = name
		add(at, build())
	}
	add("held.test", new(packtest.Maker).Sound())
	for i := range coldModules {
		add(fmt.Sprintf("cold%d.test", i), new(packtest.Maker).Sound())
	}
	for kind, args := range map[string][]string{
		"registry": nil,
		"proxy":    {"-private", "*.test", "-upstream", modtest.NewGoProxy(t).URL},
	} {
		t.Run(kind, func(t *testing.T) { hostilePacks(t, startServer(t, net, kind, kind, args...), names) })
	}
}

// askZip asks for the zip of HOST/m, and says how that was answered and when.
func askZip(t *testing.T, n *server, host string) (status int, body string, took time.Duration) {
	start := time.Now()
	resp, err := http.Get(n.URL + "/" + host + "/m/@v/v1.0.0.zip")
	if !assert.NoError(t, err, host) {
		return 0, "", 0
	}
	defer resp.Body.Close()
	var text strings.Builder
	if resp.StatusCode == http.StatusOK {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		_, err = io.Copy(&text, resp.Body)
	}
	assert.NoError(t, err, host)
	return resp.StatusCode, text.String(), time.Since(start)
}

func hostilePacks(t *testing.T, n *server, names map[string]string) {
	status, body, _ := askZip(t, n, "held.test")
	require.Equal(t, http.StatusOK, status, body)
	n.settle()
	before := openFiles(t, n)

	done := make(chan struct{})
	var innocent sync.WaitGroup
	innocent.Go(func() { askInnocent(t, n, done) })
	refused := attack(t, n, names)
	close(done)
	innocent.Wait()
	n.settle()
	left := filesBelow(t, n.dir)
	// What was refused is refused again, and that leaves nothing either.
	attack(t, n, refused)
	n.settle()
	modtest.Eventually(t, "the folder is what it was", func() bool { return len(filesBelow(t, n.dir)) <= len(left) })
	for _, name := range filesBelow(t, n.dir) {
		assert.NotRegexp(t, `incoming-|/(object|base|pack)-[0-9]+$|\.tmp`, name)
	}
	modtest.Eventually(t, "files are closed", func() bool { return openFiles(t, n) <= before })
	peak := peakMB(t, n)
	t.Logf("peak: %d MB", peak)
	assert.LessOrEqual(t, peak, mostMemoryMB)
}

// attack asks for each module, ten at a time, and returns those that are refused.
func attack(t *testing.T, n *server, names map[string]string) map[string]string {
	refused := map[string]string{}
	var (
		mu      sync.Mutex
		running sync.WaitGroup
	)
	ten := make(chan struct{}, 10)
	for host, name := range names {
		running.Go(func() {
			ten <- struct{}{}
			defer func() { <-ten }()
			status, body, took := askZip(t, n, host)
			t.Logf("%s: %d after %v: %s", name, status, took.Round(time.Millisecond), strings.TrimSpace(body))
			if status != http.StatusOK {
				assert.NotEqual(t, http.StatusInternalServerError, status, name)
				assert.NotEmpty(t, body, name)
				mu.Lock()
				refused[host] = name
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return refused
}

// askInnocent asks for small modules until done: one that is held, and others that are
// not.
func askInnocent(t *testing.T, n *server, done <-chan struct{}) {
	slowest := map[string]time.Duration{}
	for i := 0; ; i++ {
		kind, host := "held", "held.test"
		if i%2 == 0 && i/2 < coldModules {
			kind, host = "cold", fmt.Sprintf("cold%d.test", i/2)
		}
		status, body, took := askZip(t, n, host)
		assert.Equal(t, http.StatusOK, status, "%s: %s", host, body)
		slowest[kind] = max(slowest[kind], took)
		select {
		case <-done:
			t.Logf("innocent clients waited %v at most", slowest)
			for kind, took := range slowest {
				assert.Less(t, took, machineSlack*time.Second, kind)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// openFiles counts what a server has open, but for the packs that it keeps open for
// the next question, of which there are few.
func openFiles(t *testing.T, n *server) int {
	dir := fmt.Sprintf("/proc/%d/fd", n.PID())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	count, packs := 0, 0
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case err != nil, strings.HasPrefix(target, "socket:"): // a client's, or closed meanwhile
		case strings.HasSuffix(target, ".pack"), strings.HasSuffix(target, ".idx"):
			packs++
		default:
			count++
		}
	}
	assert.LessOrEqual(t, packs, idleReaderMost)
	return count
}

func filesBelow(t *testing.T, dir string) (list []string) {
	require.NoError(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			list = append(list, name)
		} else if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
	return list
}

// peakMB is the most memory that a server has ever had.
func peakMB(t *testing.T, n *server) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	require.NoError(t, err)
	m := regexp.MustCompile(`VmHWM:\s*([0-9]+) kB`).FindSubmatch(status)
	require.NotNil(t, m)
	kB, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return kB >> 10
}
