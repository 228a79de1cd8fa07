package gosuite_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"hash/crc32"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// limit bounds one run of the suite.
const limit = 20 * time.Minute

// The scripts that fail behind each kind of server, with the reason.
var (
	whenRedirecting = map[string]string{
		"mod_download_too_many_redirects": "it allows for as many redirects as the go command follows, and this server adds one",
		"mod_get_nopkgs":                  "it wants the words of the original server's 404, and this server says more",
	}
	whenFetching = map[string]string{
		"mod_bad_filenames":       "it wants the go command to refuse a zip, and this server refuses it first",
		"mod_load_badzip":         "it wants the go command to refuse a zip, and this server refuses it first",
		"mod_get_nopkgs":          "it wants the words of the original server's 404, and this server says more",
		"mod_install_pkg_version": "it wants the words of the original server's 404, and this server says more",
		"mod_run_pkg_version":     "it wants the words of the original server's 404, and this server says more",
	}
)

// varies names the scripts that pass or fail by what the scripts beside them have
// asked the same server before.
var varies = map[string]bool{"mod_get_nopkgs": true, "mod_download_too_many_redirects": true}

func TestRedirecting(t *testing.T) { run(t, whenRedirecting, "-miss", "redirect") }

func TestFetching(t *testing.T) { run(t, whenFetching, "-miss", "fetch") }

// run runs the scripts and holds what fails against what is known to.
func run(t *testing.T, known map[string]string, args ...string) {
	if os.Getenv("ATHENS_GOSUITE") == "" && !modtest.Full() {
		t.Skip("takes minutes: set ATHENS_GOSUITE=1")
	}
	names, least := scripts(t)
	// With the page, the server would write what it has seen when it ends, into a folder that is
	// being removed: nobody waits for its end.
	suite := newSuite(t, append(args, "-addr", "127.0.0.1:0", "-private=", "-dir", t.TempDir(), "-fill-after", "0", "-web", "off"))
	passed, failed := suite.run(t, names, "-overlay", suite.overlay)
	t.Logf("%d scripts passed, %d failed", len(passed), len(failed))
	for name := range failed {
		if known[name] != "" {
			delete(failed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !varies[name] {
			assert.NotContains(t, passed, name, "passes, though it is said that %s", known[name])
		}
	}
	if len(failed) > 0 {
		// Some scripts need the internet, so they may fail on this machine
		// without a proxy as well.
		_, alone := suite.run(t, slices.Sorted(maps.Keys(failed)))
		for name := range alone {
			t.Logf("%s fails here without a proxy, too", name)
			delete(failed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		t.Errorf("%s fails behind a proxy:\n%s", name, failed[name])
	}
	assert.Greater(t, len(passed), least, "the suite ran")
}

// telling says which scripts every run has: those in which a server between the go
// command and its upstream makes a difference.
var telling = regexp.MustCompile("proxy|sumdb|redirect|retract|download|latest|get_newcycle|badzip|bad_filenames|nopkgs|pkg_version|invalid_version|case|gonoproxy")

// scripts are those to run, and more than how many pass: what ATHENS_SCRIPTS names, all
// about modules with ATHENS_FULL, or the telling ones and an eighth of the others.
func scripts(t *testing.T) (names []string, least int) {
	if only := os.Getenv("ATHENS_SCRIPTS"); only != "" {
		return strings.Split(only, ","), 0
	}
	if modtest.Full() {
		return []string{"mod_.*"}, 250
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(goroot)), "src/cmd/go/testdata/script/mod_*.txt"))
	require.NoError(t, err)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if telling.MatchString(name) || crc32.ChecksumIEEE([]byte(name))%8 == 0 {
			names = append(names, name)
		}
	}
	return names, len(names) * 3 / 4
}

// suite is a prepared run of the go command's tests.
type suite struct {
	dir     string // $GOROOT/src/cmd
	tmp     string
	overlay string // a file for go test
	env     []string
}

func newSuite(t *testing.T, args []string) *suite {
	t.Helper()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	front, err := filepath.Abs("testdata/front.go.txt")
	require.NoError(t, err)
	s := &suite{dir: filepath.Join(strings.TrimSpace(string(goroot)), "src", "cmd"), tmp: t.TempDir()}
	s.overlay = s.writeOverlay(t, front)
	s.env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local",
		"ATHENS_PROXY="+modtest.Build(t, "github.com/athens-go/athens/examples/proxy"), "ATHENS_ARGS="+strings.Join(args, " "),
		"ATHENS_LOG="+s.log(), "ATHENS_PID="+s.pid())
	return s
}

func (s *suite) log() string { return filepath.Join(s.tmp, "log") }
func (s *suite) pid() string { return filepath.Join(s.tmp, "pid") }

// writeOverlay writes the file that puts front into the package of the go command,
// and has its module server call it.
func (s *suite) writeOverlay(t *testing.T, front string) string {
	t.Helper()
	original := filepath.Join(s.dir, "go", "proxy_test.go")
	source, err := os.ReadFile(original)
	require.NoError(t, err)
	const begin = `		proxyURL = "http://" + *proxyAddr + "/mod"` + "\n"
	require.Equal(t, 1, bytes.Count(source, []byte(begin)), "%s has changed", original)
	changed := filepath.Join(s.tmp, "proxy_test.go")
	source = bytes.Replace(source, []byte(begin), []byte("		proxyURL = startFront(http.HandlerFunc(proxyHandler))\n"), 1)
	require.NoError(t, os.WriteFile(changed, source, 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: changed,
		filepath.Join(s.dir, "go", "athens_front_test.go"): front,
	}})
	require.NoError(t, err)
	name := filepath.Join(s.tmp, "overlay.json")
	require.NoError(t, os.WriteFile(name, overlay, 0o600))
	return name
}

// run runs the scripts with those names and returns the names of those that passed,
// and the output of those that failed.
func (s *suite) run(t *testing.T, names []string, flags ...string) (passed []string, failed map[string]string) {
	t.Helper()
	args := append([]string{"test", "-json", "-count=1", "-timeout", limit.String(), "-run", "^TestScript$/^(" + strings.Join(names, "|") + ")$"}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./go")...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = s.dir, s.env, &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(s.stop)

	failed = map[string]string{}
	outputs := map[string]string{}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		name, script := strings.CutPrefix(event.Test, "TestScript/")
		switch {
		case event.Action == "output":
			outputs[name] += event.Output
		case event.Action == "pass" && script:
			passed = append(passed, name)
		case event.Action == "fail" && script:
			failed[name] = outputs[name]
		}
	}
	if err := cmd.Wait(); err != nil && len(failed) == 0 {
		log, _ := os.ReadFile(s.log())
		t.Fatalf("%v\n%s%s%s", err, stderr.String(), outputs[""], log)
	}
	return passed, failed
}

// stop ends the server that the suite has started.
func (s *suite) stop() {
	b, err := os.ReadFile(s.pid())
	if err != nil {
		return // it never started
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		return
	}
	if server, err := os.FindProcess(pid); err == nil {
		_ = server.Signal(syscall.SIGTERM) // it may have ended
	}
}
