package gocmd_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// forksEnv is the variable in which a tool that a test has replaced finds the socket of
// what runs it.
const forksEnv = "GOCMD_TEST_FORKS"

// TestMain lets the test's own program stand for a go command that misbehaves, and for the
// tools that [workshop.preload] replaces.
func TestMain(m *testing.M) {
	if how := os.Getenv("GOCMD_TEST"); how != "" {
		misbehave(how)
		return
	}
	if socket := os.Getenv(forksEnv); socket != "" {
		os.Exit(runForked(socket))
	}
	os.Exit(modtest.MainInMemory(m))
}

// misbehave is what the stand-in does when it is asked anything but its version.
func misbehave(how string) {
	if len(os.Args) > 1 && os.Args[1] == "env" {
		fmt.Println("go1.99")
		return
	}
	switch how {
	case "hang": // and so does a tool that it started
		tool := exec.Command(os.Args[0])
		tool.Env = append(os.Environ(), "GOCMD_TEST=tool")
		tool.Stdout = os.Stdout
		_ = tool.Run()
	case "tool":
		conn, err := net.Dial("tcp", os.Getenv("GOCMD_TEST_ADDR"))
		if err == nil {
			_, _ = fmt.Fprintln(conn, "here")
			_, _ = io.Copy(io.Discard, conn)
		}
	case "flood":
		w := bufio.NewWriter(os.Stdout)
		for {
			if _, err := w.WriteString("nothing of interest\n"); err != nil {
				return
			}
		}
	case "fill":
		_ = os.WriteFile("large", make([]byte, 1<<20), 0o666)
		select {}
	case "environment":
		_ = os.WriteFile(os.Getenv("GOCMD_TEST_FILE"), []byte(strings.Join(os.Environ(), "\n")+"\n"+strings.Join(os.Args, "\n")), 0o666)
		dir, _ := os.Getwd()
		_ = os.WriteFile(os.Getenv("GOCMD_TEST_FILE")+".dir", []byte(dir), 0o666)
	case "silent":
	case "fails":
		fmt.Fprintln(os.Stderr, "go: unknown revision v1.0.0, at https://ada:s3cret@corp.test/m")
		os.Exit(1)
	default:
		fmt.Println(how) // an answer
	}
}

// standIn makes a Fetcher with a go command that misbehaves.
func standIn(t *testing.T, how string, change func(*gocmd.Options)) *gocmd.Fetcher {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	opts := &gocmd.Options{Go: self, Dir: t.TempDir(), Env: []string{"GOCMD_TEST=" + how}}
	if change != nil {
		change(opts)
	}
	f, err := gocmd.New(opts)
	require.NoError(t, err)
	closeAtEnd(t, f, opts.Dir)
	return f
}

// outageOf asks a stand-in and returns its error, which must be an outage.
func outageOf(t *testing.T, f *gocmd.Fetcher) *athens.UnavailableError {
	t.Helper()
	_, err := f.Resolve(t.Context(), "corp.test/m", "v1.0.0")
	var outage *athens.UnavailableError
	require.ErrorAs(t, err, &outage)
	assert.False(t, athens.Final(err))
	return outage
}

// awaitTool waits for a tool of a go command that hangs, and returns a function
// that waits for its death.
func awaitTool(t *testing.T) (addr string, here, dead func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	var conn net.Conn
	here = func() {
		conn, err = l.Accept()
		require.NoError(t, err)
		_, err = bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
	}
	dead = func() {
		defer conn.Close()
		_, err := conn.Read(make([]byte, 1))
		assert.Error(t, err)
	}
	return l.Addr().String(), here, dead
}

func TestTimeoutKillsAll(t *testing.T) {
	addr, here, dead := awaitTool(t)
	f := standIn(t, "hang", func(o *gocmd.Options) {
		o.Env = append(o.Env, "GOCMD_TEST_ADDR="+addr)
		o.Timeout = 5 * time.Second
	})
	errs := make(chan *athens.UnavailableError)
	go func() { errs <- outageOf(t, f) }()
	here()
	dead()
	assert.True(t, (<-errs).Timeout())
}

func TestCloseKillsAll(t *testing.T) {
	addr, here, dead := awaitTool(t)
	f := standIn(t, "hang", func(o *gocmd.Options) { o.Env = append(o.Env, "GOCMD_TEST_ADDR="+addr) })
	errs := make(chan *athens.UnavailableError)
	go func() { errs <- outageOf(t, f) }()
	here()
	assert.NoError(t, f.Close())
	dead()
	assert.ErrorContains(t, <-errs, "closed")
	outageOf(t, f)
}

// A caller that leaves does not wait; the command goes on for others.
func TestLeave(t *testing.T) {
	addr, here, dead := awaitTool(t)
	f := standIn(t, "hang", func(o *gocmd.Options) { o.Env = append(o.Env, "GOCMD_TEST_ADDR="+addr) })
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() {
		_, err := f.Fetch(ctx, module.Version{Path: "corp.test/m", Version: "v1.0.0"})
		errs <- err
	}()
	here()
	cancel()
	assert.ErrorIs(t, <-errs, context.Canceled)
	assert.NoError(t, f.Close())
	dead()
}

func TestLimits(t *testing.T) {
	f := standIn(t, "flood", func(o *gocmd.Options) { o.MaxOutputBytes = 1 << 10 })
	assert.ErrorContains(t, outageOf(t, f), "printed more than 1024 bytes")
	f = standIn(t, "fill", func(o *gocmd.Options) { o.MaxBytes = 1 << 10 })
	assert.ErrorContains(t, outageOf(t, f), "more disk than Options.MaxBytes allows: 1024 bytes")
}

// What makes no sense is an outage: the command is of this machine.
func TestNonsense(t *testing.T) {
	for _, answer := range []string{
		"silent", "fails", "{", "null", "[]", "{}{}", `{"Error":7}`, `{"Path":"corp.test/m","Versions":7}`, `{"Path":"corp.test/m","Version":"v1"}`,
		`{"Path":"corp.test/other","Version":"v1.0.0"}`, `{"Path":"corp.test/m","Version":"v1.0.0+x","Versions":"v1.0.0"}`, `{"Version":"v1.0.0","Time":"tomorrow"}`, "\x01",
		strings.Repeat(`{"Path":"corp.test/m","Version":"v1.0.0"}`, 100), strings.Repeat(`{"Origin":`, 10_000), `{"Path":"corp.test/m","Error":{"Err":"fork/exec: resource temporarily unavailable"}}`,
	} {
		f := standIn(t, answer, nil)
		_, err := f.Resolve(t.Context(), "corp.test/m", "v1.0.0")
		assert.Error(t, err, answer)
		assert.False(t, athens.Final(err), "%.100q: %v", answer, err)
		assert.NotContains(t, err.Error(), "s3cret")
		_, err = f.Fetch(t.Context(), module.Version{Path: "corp.test/m", Version: "v1.0.0"})
		assert.Error(t, err, answer)
	}
}

func TestEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "environment")
	for name, value := range map[string]string{
		"GOPROXY": "https://proxy.test", "GOFLAGS": "-x", "GOROOT": "/nowhere", "GIT_DIR": "/nowhere", "GOMODCACHE": "/nowhere", "GOVCS": "public:git",
		"GOPRIVATE": "corp.test", "LC_ALL": "de_DE.UTF-8", "NETRC": "/from/outside", "http_proxy": "http://127.0.0.1:9",
	} {
		t.Setenv(name, value)
	}
	var log bytes.Buffer
	f := standIn(t, "environment", func(o *gocmd.Options) {
		o.Env = append(o.Env, "GOCMD_TEST_FILE="+file, "GOINSECURE=*.test", "GOPROXY=off", "NETRC=/from/options")
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	outageOf(t, f)
	seen := strings.Split(readFile(t, file), "\n")
	for _, e := range []string{
		"GOPROXY=direct", "GOFLAGS=-mod=mod -modcacherw", "GOTOOLCHAIN=local", "GOSUMDB=off", "GOENV=off", "GOWORK=off", "GOVCS=public:git",
		"GOPRIVATE=*", "GOINSECURE=*.test", "NETRC=/from/options", "http_proxy=http://127.0.0.1:9", "LC_CTYPE=de_DE.UTF-8", "LC_MESSAGES=C", "LC_ALL=",
		"corp.test/m@v1.0.0",
	} {
		assert.Contains(t, seen, e)
	}
	for _, e := range seen {
		assert.NotContains(t, e, "/nowhere")
	}
	work := readFile(t, file+".dir")
	assert.Equal(t, "work", filepath.Base(work))
	assert.Contains(t, seen, "GOMODCACHE="+filepath.Join(filepath.Dir(work), "modcache"))
	assert.NoDirExists(t, work)
	assert.Contains(t, log.String(), "corp.test/m@v1.0.0")

	// A handler's word counts more.
	_, err := f.Resolve(athens.RequestInfo{Private: new(false)}.Context(t.Context()), "corp.test/m", "v1.0.0")
	assert.Error(t, err)
	assert.Contains(t, strings.Split(readFile(t, file), "\n"), "GOPRIVATE=")
}

func TestNew(t *testing.T) {
	for _, opts := range []*gocmd.Options{
		{Go: "no-such-go-command"}, {Go: t.TempDir()}, {Dir: "/dev/null/x"}, {Concurrency: -1}, {Timeout: -1}, {KeepTTL: -1},
		{MaxBytes: -1}, {MaxKeptBytes: -1}, {MaxOutputBytes: -1},
	} {
		_, err := gocmd.New(opts)
		assert.Error(t, err, "%+v", opts)
	}
	echo, err := exec.LookPath("echo")
	require.NoError(t, err)
	_, err = gocmd.New(&gocmd.Options{Go: echo, Dir: t.TempDir()})
	assert.ErrorContains(t, err, "it is not a go command")
	f, err := gocmd.New(nil)
	require.NoError(t, err)
	assert.NoError(t, f.Close())
	assert.NoError(t, f.Close())
}

// What a killed process left is removed, but not what may be in use.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old, young, other := filepath.Join(dir, "athens-gocmd-1"), filepath.Join(dir, "athens-gocmd-2"), filepath.Join(dir, "other")
	for _, name := range []string{old, young, other} {
		require.NoError(t, os.MkdirAll(filepath.Join(name, "modcache"), 0o777))
	}
	long := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(old, long, long))
	require.NoError(t, os.Chtimes(other, long, long))
	f, err := gocmd.New(&gocmd.Options{Dir: dir})
	require.NoError(t, err)
	assert.NoError(t, f.Close())
	assert.NoDirExists(t, old)
	assert.DirExists(t, young)
	assert.DirExists(t, other)
}
