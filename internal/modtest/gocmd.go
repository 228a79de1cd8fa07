package modtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// goLimit bounds one go command.
const goLimit = 3 * time.Minute

// Go is a real go command on a machine of its own: fresh home, module cache
// and working directory, no configuration of the user's. It reaches nothing
// but its [Internet] and loopback addresses. The build cache is the machine's,
// so that building does not start from nothing.
type Go struct {
	Dir  string // working directory, empty at first
	Home string // $HOME
	// ModCache is GOMODCACHE; its files can be removed like others.
	ModCache string

	t   testing.TB
	mu  sync.Mutex
	env map[string]string
}

// NewGo returns a go command inside that internet, or without any if n is nil.
// At first it has GOPROXY=direct, GOSUMDB=off, GOTOOLCHAIN=local and
// GOINSECURE=*.test; [Go.Set] changes that. GIT_ALLOW_PROTOCOL stays unset,
// because with it the go command would hold http for secure.
func NewGo(t testing.TB, n *Internet) *Go {
	t.Helper()
	root := t.TempDir()
	g := &Go{
		t: t, env: map[string]string{},
		Dir: filepath.Join(root, "work"), Home: filepath.Join(root, "home"), ModCache: filepath.Join(root, "modcache"),
	}
	for _, dir := range []string{g.Dir, g.Home, filepath.Join(root, "tmp")} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := goCache()
	if err != nil {
		t.Fatal(err)
	}
	g.Set(gitEnv(g.Home)...)
	g.Set("GOMODCACHE="+g.ModCache, "GOPATH="+filepath.Join(root, "gopath"), "GOCACHE="+cache, "TMPDIR="+filepath.Join(root, "tmp"),
		"GOENV=off", "GOWORK=off", "GO111MODULE=on", "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local",
		"GOPROXY=direct", "GOSUMDB=off", "GOPRIVATE=", "GONOPROXY=", "GONOSUMDB=", "GOVCS=", "GOAUTH=netrc",
		"XDG_CONFIG_HOME="+filepath.Join(g.Home, ".config"), "SSH_AUTH_SOCK=", "GIT_SSH_COMMAND=false", "CGO_ENABLED=0")
	if n != nil {
		g.Set(n.Env()...)
	} else {
		g.Set(proxyEnv("http://127.0.0.1:9")...) // nobody answers there
	}
	if err := noTelemetry(g.Home); err != nil {
		t.Fatal(err)
	}
	return g
}

// goCache finds the machine's build cache.
var goCache = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	return strings.TrimSpace(string(out)), err
})

// Set sets variables of the environment, given as NAME=VALUE.
func (g *Go) Set(env ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		g.env[name] = value
	}
}

// Env returns the whole environment, sorted, for a child process of any kind.
func (g *Go) Env() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var env []string
	for _, name := range slices.Sorted(maps.Keys(g.env)) {
		env = append(env, name+"="+g.env[name])
	}
	return env
}

// Netrc adds credentials for a host to the home's .netrc. Git sends them over
// http and https, the go command's own requests over https only.
func (g *Go) Netrc(host, user, password string) {
	g.t.Helper()
	f, err := os.OpenFile(filepath.Join(g.Home, ".netrc"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString("machine " + host + " login " + user + " password " + password + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// Write writes a file of the working directory, making folders as needed.
func (g *Go) Write(name, content string) {
	g.t.Helper()
	file := filepath.Join(g.Dir, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(file), 0o777)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o666)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// Clean empties the module cache, as on a machine that has fetched nothing.
func (g *Go) Clean() {
	g.t.Helper()
	if err := os.RemoveAll(g.ModCache); err != nil {
		g.t.Fatal(err)
	}
}

// Run runs "go args..." in Dir. err is an [*exec.ExitError] when the command
// says no. It may be called from several goroutines.
func (g *Go) Run(args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), goLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = g.Dir, append(g.Env(), "PWD="+g.Dir), 5*time.Second
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

// Download is one object that "go mod download -json" prints.
type Download struct {
	Path     string  // module path
	Query    string  // what was asked for, if that was not the version
	Version  string  // canonical version
	Error    string  // why it failed
	Info     string  // the .info file in the module cache
	GoMod    string  // the .mod file
	Zip      string  // the .zip file
	Dir      string  // the extracted source
	Sum      string  // h1 of the zip
	GoModSum string  // h1 of the go.mod
	Origin   *Origin // as printed

	Stored *Info `json:"-"` // what the .info file says; nil if there is none
}

// Info is what a .info file says.
type Info struct {
	Version string
	Time    time.Time
	Origin  *Origin `json:",omitempty"`
}

// Origin is a version's provenance, as the go command writes it.
type Origin struct {
	VCS       string `json:",omitempty"`
	URL       string `json:",omitempty"`
	Subdir    string `json:",omitempty"`
	Hash      string `json:",omitempty"`
	TagPrefix string `json:",omitempty"`
	TagSum    string `json:",omitempty"`
	Ref       string `json:",omitempty"`
	RepoSum   string `json:",omitempty"`
}

// Download runs "go mod download -json" for refs such as "git.test/m@v1.0.0"
// and returns what it printed, in its order. What could not be downloaded has
// its Error set; the test fails only if the output makes no sense.
func (g *Go) Download(refs ...string) []Download {
	g.t.Helper()
	stdout, stderr, err := g.Run(append([]string{"mod", "download", "-json"}, refs...)...)
	var downloads []Download
	for in := json.NewDecoder(strings.NewReader(stdout)); ; {
		var d Download
		if failed := in.Decode(&d); failed == io.EOF {
			break
		} else if failed != nil {
			g.t.Fatalf("go mod download -json printed %q: %v\n%s", stdout, failed, stderr)
		}
		if d.Info != "" {
			d.Stored = g.readInfo(d.Info)
		}
		downloads = append(downloads, d)
	}
	if len(downloads) == 0 && err != nil {
		g.t.Fatalf("go mod download %s: %v\n%s", strings.Join(refs, " "), err, stderr)
	}
	return downloads
}

// MustDownload is [Go.Download] of one ref that has to succeed.
func (g *Go) MustDownload(ref string) Download {
	g.t.Helper()
	d := g.Download(ref)
	if len(d) != 1 || d[0].Error != "" {
		g.t.Fatalf("go mod download %s: %+v", ref, d)
	}
	return d[0]
}

func (g *Go) readInfo(file string) *Info {
	g.t.Helper()
	data, err := os.ReadFile(file)
	info := new(Info)
	if err == nil {
		err = json.Unmarshal(data, info)
	}
	if err != nil {
		g.t.Fatalf("%s: %v", file, err)
	}
	return info
}
