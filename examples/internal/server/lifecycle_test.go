package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve"
)

// lifecycleEnv makes the test binary a process of its own that starts and stops
// servers: how often, the upstream's URL, and a folder.
const lifecycleEnv = "ATHENS_LIFECYCLE"

func TestMain(m *testing.M) {
	args := strings.Fields(os.Getenv(lifecycleEnv))
	if len(args) == 0 {
		os.Exit(modtest.Main(m))
	}
	rounds, err := strconv.Atoi(args[0])
	if err == nil {
		err = startAndStop(rounds, args[1], args[2])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// TestStartAndStopUnderLoad starts and stops servers in one process while clients
// ask them, and wants no goroutine, file descriptor or lock to be left.
func TestStartAndStopUnderLoad(t *testing.T) {
	t.Parallel()
	rounds := 50
	if os.Getenv("ATHENS_SOAK") != "" {
		rounds = 1000
	}
	internet := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	up := modtest.NewGoProxy(t, lifecycleVersions(t)...)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(append(os.Environ(), internet.Env()...), fmt.Sprintf("%s=%d %s %s", lifecycleEnv, rounds, up.URL, t.TempDir()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

func lifecycleVersions(t *testing.T) []*modtest.Version {
	var all []*modtest.Version
	for i := range 4 {
		all = append(all, modtest.NewVersion(t, "up.test/m", fmt.Sprintf("v1.%d.0", i), map[string]string{
			"go.mod": "module up.test/m\n", "m.go": strings.Repeat(fmt.Sprintf("package m // %d\n", i), 10_000),
		}))
	}
	return all
}

// startAndStop is the process. What is there after the first servers have stopped
// is there to stay: what the runtime keeps for later.
func startAndStop(rounds int, upstream, dir string) error {
	answers := 0
	var first left
	for i := range rounds {
		n, err := oneLife(i, upstream, filepath.Join(dir, strconv.Itoa(i/2))) // every other one finds a store
		if err != nil {
			return fmt.Errorf("server %d: %w", i, err)
		}
		answers += n
		if i == 1 { // one of each kind
			first = settled(left{goroutines: 1, files: 1000, locks: 1000})
		}
	}
	if answers == 0 {
		return errors.New("no client ever had an answer")
	}
	last := settled(first)
	fmt.Printf("%d servers, %d answers: %v, after the first two %v\n", rounds, answers, last, first)
	if last.more(first) {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
		for fd := range 64 {
			if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
				fmt.Println(fd, to)
			}
		}
		return errors.New("something is left over")
	}
	return nil
}

// left is what a server may forget to give back.
type left struct{ goroutines, files, locks int }

func (l left) more(than left) bool {
	return l.goroutines > than.goroutines || l.files > than.files || l.locks > than.locks
}

// settled looks until there is not more than that, or for a minute: the
// goroutines of closed connections end by themselves.
func settled(than left) (now left) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); <-tick.C {
		now = left{goroutines: runtime.NumGoroutine()}
		files, _ := os.ReadDir("/proc/self/fd")
		now.files = len(files)
		locks, _ := os.ReadFile("/proc/locks")
		now.locks = strings.Count(string(locks), fmt.Sprintf(" %d ", os.Getpid()))
		if !now.more(than) {
			return now
		}
	}
	return now
}

// oneLife runs a server until some clients had answers, and returns how many.
// Every third one is told to stop in the midst of them.
func oneLife(i int, upstream, dir string) (answers int, err error) {
	flags := NewFlags("proxy", "127.0.0.1:0")
	flags.UpstreamFlag()
	args := []string{"-dir", dir, "-ops", "127.0.0.1:0", "-upstream", upstream, "-private", "git.test", "-vcs", []string{"git", "go"}[i%2]}
	if err := flags.ParseArgs(args, io.Discard, io.Discard); err != nil {
		return 0, err
	}
	log, flush := serve.NewLogger(io.Discard, nil)
	defer flush()
	parts, err := Open(flags, log)
	if err != nil {
		return 0, err
	}
	if err := parts.UseUpstream(upstream); err != nil {
		return 0, err
	}
	opts := &parts.Options
	opts.MissFetch, opts.FillWhole, opts.FillAfter = i%2 == 0, true, -1
	handler, err := athens.NewHandler(parts.Store, opts)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	url, served := inBackground(ctx, parts, handler)
	client := &http.Client{Transport: &http.Transport{}}
	heard := make(chan bool)
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for j := range 6 {
				heard <- hears(client, fmt.Sprintf("%s/%s/@v/v1.%d.0.%s", url, []string{"up.test/m", "git.test/simple"}[(c+j)%2], (c+j)%3, []string{"info", "mod", "zip"}[j%3]))
			}
		})
	}
	go func() { clients.Wait(); close(heard) }()
	for ok := range heard {
		if ok {
			answers++
		}
		if answers == 3 && i%3 == 0 {
			stop()
		}
	}
	stop()
	// net/http waits 5 seconds for a connection on which nothing was asked yet.
	client.CloseIdleConnections()
	return answers, <-served
}

// inBackground serves until ctx is done, and returns where, and what comes of it.
func inBackground(ctx context.Context, parts *Parts, handler *athens.Handler) (url string, served <-chan error) {
	addrs, end := make(chan string, 1), make(chan error, 1)
	go func() {
		end <- parts.Serve(ctx, handler, nil, io.Discard, func(addr net.Addr) string {
			addrs <- addr.String()
			return ""
		})
	}()
	return "http://" + <-addrs, end
}

// hears reports whether there was a whole answer.
func hears(client *http.Client, url string) bool {
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// TestGraceEnds stops a server that has a request which never ends.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	up := modtest.NewGoProxy(t, lifecycleVersions(t)...)
	up.Break("*.zip", modtest.Hang(nil))
	flags, _ := parsed(t, "-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", up.URL, "-private", "git.test")
	log, flush := serve.NewLogger(t.Output(), nil)
	defer flush()
	parts, err := Open(flags, log)
	require.NoError(t, err)
	require.NoError(t, parts.UseUpstream(up.URL))
	parts.Grace = time.Millisecond
	parts.Options.MissFetch = true
	handler, err := athens.NewHandler(parts.Store, &parts.Options)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url, served := inBackground(ctx, parts, handler)
	answered := make(chan bool, 1)
	url += "/up.test/m/@v/v1.0.0.zip"
	go func() { answered <- hears(&http.Client{Transport: &http.Transport{}}, url) }()
	up.Await("*.zip", 1)
	// A fill that waits for the same is cut off, too.
	require.NoError(t, parts.Fills.Schedule(ctx, athens.Fill{Module: lifecycleVersions(t)[1].Version, Zip: true}, 0))
	up.Await("*.zip", 2)
	stop()
	assert.ErrorIs(t, <-served, serve.ErrCanceled)
	assert.False(t, <-answered)
}
