package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/internal/modtest"
)

// carried is what the two halves of TestCarried share: a file of it is what the second half is
// told by the first, which runs in another network.
type carried struct {
	Dir, Bin string   // the store, and the proxy's program
	Store    string   // the tool, if the second half is to import
	Bundle   string   // what it imports
	Public   string   // the bundle's key
	Key      string   // of the checksum database
	Outputs  []string // of the commands
}

// carriedEnv names the file in the environment of the second half.
const carriedEnv = "ATHENS_TEST_CARRIED"

// carriedSteps are the go commands of a team at work, each with what it is for.
var carriedSteps = []struct {
	args []string
	env  string
}{
	{args: []string{"mod", "download"}},
	{args: []string{"build", "./..."}},
	{args: []string{"test", "./..."}},
	{args: []string{"list", "-m", "-u", "all"}},
	{args: []string{"list", "-m", "-versions", "example.test/lib"}},
	{args: []string{"get", "example.test/lib@latest"}},
	{args: []string{"list", "-m", "example.test/lib"}},
	{args: []string{"install", "example.test/tool@v0.3.0"}},
	{args: []string{"version"}, env: "GOTOOLCHAIN=go1.99.1"},
}

// work has a go command on a fresh machine do all steps, with a checksum database, and returns
// what it has printed.
func (c *carried) work(t *testing.T, proxy string) []string {
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY="+proxy, "GONOPROXY=none", "GOSUMDB="+c.Key, "GOBIN="+filepath.Join(g.Home, "bin"))
	g.Write("go.mod", "module program.test\n\ngo 1.21\n\nrequire (\n\texample.test/lib v1.0.0\n\texample.test/testdep v1.0.0\n)\n")
	g.Write("go.sum", "")
	g.Write("main.go", "package main\n\nimport \"example.test/lib\"\n\nfunc main() { println(lib.Name) }\n")
	g.Write("main_test.go", "package main\n\nimport (\n\t\"testing\"\n\n\t\"example.test/testdep\"\n)\n\nfunc TestMain(*testing.M) { println(testdep.Name) }\n")
	g.Set("GOFLAGS=-mod=mod -modcacherw")
	var all []string
	for _, step := range carriedSteps {
		g.Set("GOTOOLCHAIN=local")
		if step.env != "" {
			g.Set(step.env)
		}
		out, stderr, err := g.Run(step.args...)
		require.NoError(t, err, "go %s: %s", strings.Join(step.args, " "), stderr)
		if step.args[0] == "test" {
			out = "ok" // and how long it took
		}
		all = append(all, strings.TrimSpace(step.env+" go "+strings.Join(step.args, " "))+"\n"+out)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(g.Home, "bin", "tool")).CombinedOutput()
	require.NoError(t, err)
	return append(all, "tool\n"+string(out))
}

// carriedUpstream is a registry with a checksum database.
func carriedUpstream(t *testing.T) (url, key string) {
	toolchain := "v0.0.1-go1.99.1." + runtime.GOOS + "-" + runtime.GOARCH
	lib := func(v string) map[string]string {
		return map[string]string{"go.mod": "module example.test/lib\n", "a.go": "package lib\n\nconst Name = \"lib " + v + "\"\n"}
	}
	versions := []*modtest.Version{
		modtest.NewVersion(t, "example.test/lib", "v1.0.0", lib("v1.0.0")), modtest.NewVersion(t, "example.test/lib", "v1.1.0", lib("v1.1.0")),
		modtest.NewVersion(t, "example.test/testdep", "v1.0.0", map[string]string{"go.mod": "module example.test/testdep\n", "a.go": "package testdep\n\nconst Name = \"dep\"\n"}),
		modtest.NewVersion(t, "example.test/tool", "v0.3.0", map[string]string{"go.mod": "module example.test/tool\n\ngo 1.21\n\nrequire example.test/lib v1.0.0\n",
			"main.go": "package main\n\nimport \"example.test/lib\"\n\nfunc main() { println(\"a tool with \" + lib.Name) }\n"}),
		modtest.NewVersion(t, "golang.org/toolchain", toolchain, map[string]string{"bin/go": "#!/bin/sh\necho \"go version go1.99.1 carried\"\n", "VERSION": "go1.99.1\n", "pkg/tool/x": "x\n", "lib/x": "x\n", "bin/gofmt": "x\n"}),
	}
	sums := map[string]string{}
	for _, v := range versions {
		sums[v.Version.String()] = fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", v.Path, v.Version.Version, v.Sum, v.Path, v.Version.Version, v.GoModSum)
	}
	signer, key, err := note.GenerateKey(rand.Reader, "sum.test")
	require.NoError(t, err)
	db := sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		if text, ok := sums[path+"@"+version]; ok {
			return []byte(text), nil
		}
		if strings.HasPrefix(path, "others.test/") {
			return fmt.Appendf(nil, "%s %s h1:x=\n", path, version), nil
		}
		return nil, errNoRecord
	})
	for i := range 300 { // so that there is a full tile
		_, err := db.Lookup(t.Context(), module.Version{Path: fmt.Sprintf("others.test/m%d", i), Version: "v1.0.0"})
		require.NoError(t, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", modtest.NewGoProxy(t, versions...))
	mux.HandleFunc("/sumdb/sum.test/supported", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/sumdb/sum.test/", http.StripPrefix("/sumdb/sum.test", sumdb.NewServer(db)))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, key
}

// TestFlowsCarried fills a store before anybody has asked, with what a project needs and the proofs
// of it, exports it, and in a network that has nothing but its own loopback imports it and has go
// commands work with it. docs/flows.md shows what they print.
func TestFlowsCarried(t *testing.T) {
	if file := os.Getenv(carriedEnv); file != "" {
		importWithoutNetwork(t, file)
		return
	}
	t.Parallel()
	url, key := carriedUpstream(t)
	c := &carried{Key: key, Bin: modtest.Build(t, "./examples/proxy"), Store: modtest.Build(t, "./examples/store"), Dir: t.TempDir(), Bundle: filepath.Join(t.TempDir(), "modules.bundle")}
	g, from := modtest.NewGo(t, nil), t.TempDir()
	g.Write("go.mod", "module program.test\n\ngo 1.21\n\nrequire (\n\texample.test/lib v1.0.0\n\texample.test/testdep v1.0.0\n)\n\ntoolchain go1.99.1\n")
	list := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(list, []byte("example.test/lib@latest\nexample.test/tool@v0.3.0\n"), 0o600))
	platform := runtime.GOOS + "/" + runtime.GOARCH
	filled := runStore(t, c.Store, g.Env(), "fill", "-dir", from, "-upstream", url, "-private", "", "-sumdb", key+" "+url+"/sumdb/sum.test", "-toolchains", platform, g.Dir, list)
	exported := runStore(t, c.Store, g.Env(), "export", "-dir", from, "-key", filepath.Join(filepath.Dir(c.Bundle), "key"), "-key-name", "bundles.test", c.Bundle)
	_, c.Public, _ = strings.Cut(exported, "import with -key ")
	c.Public, _, _ = strings.Cut(c.Public, "\n")

	var b strings.Builder
	show := func(sentence string, results ...string) {
		b.WriteString(sentence + "\n")
		for _, r := range results {
			for line := range strings.Lines(r) {
				b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
			}
		}
	}
	show("a machine with a network fills a store and exports it",
		"$ store fill -dir A -upstream REGISTRY -sumdb 'KEY REGISTRY/sumdb/sum.test' -toolchains OS/ARCH program list",
		regexp.MustCompile(`(?m)^filled: .* in the checksum database`).FindString(filled),
		"$ store export -dir A -key KEYFILE -key-name bundles.test modules.bundle",
		regexp.MustCompile(`(?m)^exported: .* with a zip`).FindString(exported))
	out := inNoNetwork(t, c)
	show("modules.bundle is carried into a network that has nothing but loopback")
	show("a machine there imports it and starts a proxy", "$ store import -dir B -key PUBLIC modules.bundle", out[0], "$ proxy -dir B -offline")
	commands := []string{}
	for _, printed := range out[1:] {
		commands = append(commands, "$ "+printed)
	}
	show("alice works with GOPROXY=http://127.0.0.1:3000 GONOPROXY=none GOSUMDB=KEY and an empty module cache", commands...)
	file := readFlow(t, "carried")
	if *update {
		require.NoError(t, os.WriteFile(flowFile("carried"), []byte(file.text+scriptMark+file.script+transcriptMark+b.String()), 0o666))
		return
	}
	require.Equal(t, file.transcript, b.String(), "what was printed; -update rewrites %s", flowFile("carried"))
}

// runStore runs the tool, and returns what it has printed.
func runStore(t *testing.T, bin string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// importWithoutNetwork is the second half of TestFlowsCarried.
func importWithoutNetwork(t *testing.T, file string) {
	c := readCarried(t, file)
	onlyLoopback(t)
	g := modtest.NewGo(t, nil)
	imported := runStore(t, c.Store, g.Env(), "import", "-dir", c.Dir, "-key", c.Public, c.Bundle)
	proxy := modtest.Start(t, c.Bin, []string{"-addr", "127.0.0.1:0", "-dir", c.Dir, "-offline"}, g.Env())
	c.Outputs = append([]string{regexp.MustCompile(`(?m)^stored: \d+ versions`).FindString(imported)}, c.work(t, proxy.URL)...)
	require.NoError(t, os.WriteFile(file, []byte(modtest.JSON(t, c)), 0o600))
}

// inNoNetwork runs the test again, as a process in a network that has nothing but loopback, and
// returns the outputs that it has noted in c.
func inNoNetwork(t *testing.T, c *carried) []string {
	t.Helper()
	told := filepath.Join(t.TempDir(), "carried.json")
	require.NoError(t, os.WriteFile(told, []byte(modtest.JSON(t, c)), 0o600))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), carriedEnv+"="+told)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Skipf("skipped, the second half is not shown: no network namespace can be made here: %v", err)
	}
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: "+t.Name())
	return readCarried(t, told).Outputs
}

func readCarried(t *testing.T, file string) *carried {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var c carried
	require.NoError(t, json.Unmarshal(data, &c))
	return &c
}

// onlyLoopback makes loopback reachable, and checks that nothing else is.
func onlyLoopback(t *testing.T) {
	t.Helper()
	loopbackUp(t)
	all, err := net.Interfaces()
	require.NoError(t, err)
	require.Len(t, all, 1, "there is nothing but loopback, so that no packet can leave")
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", "192.0.2.1:443")
	require.ErrorIs(t, err, syscall.ENETUNREACH)
}

// TestCarried shows what an air-gapped team does: a server with a network serves a build, its
// store is exported, imported elsewhere, and in a network that has nothing but its own loopback
// the real go command does the same again, against a server that is offline, and verifies all.
func TestCarried(t *testing.T) {
	if file := os.Getenv(carriedEnv); file != "" {
		workWithoutNetwork(t, file)
		return
	}
	t.Parallel()
	url, key := carriedUpstream(t)
	proxy := startServer(t, modtest.NewInternet(t), "proxy", "proxy", "-upstream", url, "-miss", "fetch", "-fill-after", "0", "-fill", "whole")
	c := &carried{Key: key, Bin: modtest.Build(t, "./examples/proxy"), Dir: t.TempDir()}
	c.Outputs = c.work(t, proxy.URL)
	proxy.settle()
	store, file := modtest.Build(t, "./examples/store"), filepath.Join(t.TempDir(), "bundle")
	private := filepath.Join(filepath.Dir(file), "key")
	out, err := exec.CommandContext(t.Context(), store, "export", "-dir", proxy.dir, "-key", private, "-key-name", "bundles.test", file).CombinedOutput() // beside the server
	require.NoError(t, err, "%s", out)
	assert.Regexp(t, `(?m)^exported: 5 versions, 5 of them with a zip, \d+ answers of checksum databases, 0 removed, 0 hidden, .* signed by bundles\.test\+`, string(out))
	_, public, _ := strings.Cut(string(out), "import with -key ")
	public, _, _ = strings.Cut(public, "\n")
	proxy.Stop()
	for range 2 {
		out, err = exec.CommandContext(t.Context(), store, "import", "-dir", c.Dir, "-key", public, file).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	assert.Contains(t, string(out), "stored: 0 versions, 0 answers")

	inNoNetwork(t, c)
}

// workWithoutNetwork is the second half of TestCarried.
func workWithoutNetwork(t *testing.T, file string) {
	c := readCarried(t, file)
	onlyLoopback(t)
	g := modtest.NewGo(t, nil)
	proxy := modtest.Start(t, c.Bin, []string{"-addr", "127.0.0.1:0", "-dir", c.Dir, "-offline"}, g.Env())
	assert.Equal(t, c.Outputs, c.work(t, proxy.URL))
}

// loopbackUp makes 127.0.0.1 reachable in a new network namespace.
func loopbackUp(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer func() { assert.NoError(t, syscall.Close(fd)) }()
	request := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	require.Zero(t, errno)
}
