package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// start starts the proxy in a fresh folder, on a machine whose go command has
// that environment.
func start(t *testing.T, net *modtest.Internet, goEnv []string, args ...string) *modtest.Process {
	t.Helper()
	g := modtest.NewGo(t, net)
	g.Set(goEnv...)
	return modtest.Start(t, modtest.Build(t, "./examples/proxy"), append([]string{"-addr", "127.0.0.1:0", "-dir", t.TempDir()}, args...), g.Env())
}

func sample(t *testing.T) *modtest.Version {
	return modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"go.mod": "module up.test/m\n", "m.go": "package m\n"})
}

// pasted runs a command in a shell after the line that a server printed first.
func pasted(t *testing.T, g *modtest.Go, line, command string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line+"; "+command)
	var out, problems bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = g.Dir, g.Env(), &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

// request asks a URL without following redirects.
func request(t *testing.T, target string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return resp, string(b)
}

// TestDefaults starts the proxy as the README does: with what the machine's go
// command has for flags. The line it prints is pasted into a shell, and works for
// public and private modules.
func TestDefaults(t *testing.T) {
	t.Parallel()
	internet := modtest.NewInternet(t, modtest.Ready(t, "private")...)
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	// The proxy's own address comes first, as after an earlier paste.
	addr := modtest.FreeAddr(t)
	env := []string{"GOPROXY=http://" + addr + "," + up.URL + ",direct", "GOPRIVATE=corp.test", "GONOPROXY=none"}
	p := start(t, internet, env, "-addr", addr)
	assert.Equal(t, []string{"GOPROXY=http://" + addr, "GONOPROXY=none", "GONOSUMDB=corp.test"}, p.Env)

	g := modtest.NewGo(t, internet)
	g.Set("GOPRIVATE=corp.test") // alone it would lead around the proxy
	line := "export " + strings.Join(p.Env, " ")
	for _, ref := range []string{"up.test/m@v1.0.0", "corp.test/secret/plans@v1.0.0"} {
		stdout, stderr, err := pasted(t, g, line, "go mod download -json "+ref)
		require.NoError(t, err, stderr)
		assert.Contains(t, stdout, `"Sum": "h1:`)
	}
	assert.NotZero(t, up.Count("up.test/m"))
	assert.Zero(t, up.Count("corp.test"))
	p.AwaitLog("module=up.test/m version=v1.0.0 file=info outcome=redirect source=upstream status=302")
	p.AwaitLog("module=corp.test/secret/plans version=v1.0.0 file=info outcome=fetch source=vcs status=200")
}

func TestFills(t *testing.T) {
	t.Parallel()
	up := modtest.NewGoProxy(t, sample(t))
	dir := t.TempDir()
	p := start(t, nil, nil, "-upstream", up.URL, "-dir", dir, "-fill-after", "0", "-ops", "127.0.0.1:0")
	p.AwaitLog("msg=operators")
	ops := "http://" + regexp.MustCompile(`msg=operators addr=(\S+)`).FindStringSubmatch(p.Log())[1]
	for _, path := range []string{"/healthz", "/readyz"} {
		resp, body := request(t, ops+path)
		assert.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, body)
	}
	resp, _ := request(t, ops+"/nosuch")
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)

	for _, file := range []string{"v1.0.0.mod", "v1.9.9.mod"} {
		resp, _ = request(t, p.URL+"/up.test/m/@v/"+file)
		assert.Equal(t, http.StatusFound, resp.StatusCode)
		assert.Equal(t, up.URL+"/up.test/m/@v/"+file, resp.Header.Get("Location"))
	}
	p.AwaitLog("msg=fill module=up.test/m version=v1.0.0")
	p.AwaitLog(`msg="fill failed" module=up.test/m version=v1.9.9`)
	_, body := request(t, ops+"/metrics")
	assert.Contains(t, body, `athens_requests_total{file="mod",outcome="redirect",source="upstream"} 2`)
	assert.Contains(t, body, `athens_operation_duration_seconds_count{op="fill",source="upstream",outcome="missing"} 1`)
	resp, _ = request(t, p.URL+"/metrics")
	assert.Equal(t, http.StatusNotFound, resp.StatusCode, "clients don't see them")
	resp, body = request(t, ops+"/fills")
	assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	var fills struct {
		Failed                 []struct{ Module, Version, Reason string }
		Pending, Running, Done []any
		Counts                 map[string]int
		Conflicts              *int
		DroppedFills           *int `json:"dropped_fills"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &fills))
	require.Len(t, fills.Failed, 1)
	assert.Equal(t, "up.test/m v1.9.9", fills.Failed[0].Module+" "+fills.Failed[0].Version)
	assert.Contains(t, fills.Failed[0].Reason, "not found")
	assert.Equal(t, 1, fills.Counts["failed"])
	assert.Equal(t, 1, fills.Counts["running"]+fills.Counts["done"], "of v1.0.0")
	for _, there := range []any{fills.Pending, fills.Running, fills.Done, fills.Conflicts, fills.DroppedFills} {
		assert.NotNil(t, there, body)
	}

	// A folder that is a file can't be written, not even by root.
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	resp, body = request(t, ops+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.Contains(t, body, "can't be written")
	resp, _ = request(t, ops+"/healthz")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

// TestCredentials has an upstream with a login in its URL: clients are not sent
// there, and nobody is shown the login.
func TestCredentials(t *testing.T) {
	t.Parallel()
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	up.Break("", modtest.BasicAuth("reader", "s3cret"))
	for _, c := range []struct {
		login string
		ok    bool
	}{{"reader:s3cret", true}, {"reader:wr0ng", false}} {
		p := start(t, nil, nil, "-upstream", strings.Replace(up.URL, "http://", "http://"+c.login+"@", 1), "-miss", "redirect")
		g := modtest.NewGo(t, nil)
		g.Set(p.Env...)
		d := g.Download("up.test/m@v1.0.0")
		if c.ok {
			assert.Equal(t, v.Sum, d[0].Sum)
		} else {
			assert.Contains(t, d[0].Error, "401")
		}
		_, secret, _ := strings.Cut(c.login, ":")
		said := d[0].Error
		for _, path := range []string{"@v/v1.0.0.zip", "@v/v1.2.0.zip", "@v/list", "@latest", "@v/nosuch.info"} {
			resp, body := request(t, p.URL+"/up.test/m/"+path)
			assert.NotEqual(t, http.StatusFound, resp.StatusCode)
			said += resp.Header.Get("Location") + body
		}
		for _, s := range []string{secret, "reader"} {
			assert.NotContains(t, said, s)
			assert.NotContains(t, p.Log(), s)
		}
	}
}

// TestHomeThatCannotBeRead starts the proxy where each optional file of the home is a
// folder, or the home itself is a file: it warns, and serves.
func TestHomeThatCannotBeRead(t *testing.T) {
	t.Parallel()
	folders, file := t.TempDir(), filepath.Join(t.TempDir(), "home")
	for _, name := range []string{".netrc", ".gitconfig", ".config/git/config", ".config/go/env", ".ssh/config", ".ssh/known_hosts"} {
		require.NoError(t, os.MkdirAll(filepath.Join(folders, name), 0o755))
	}
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, home := range []string{folders, file} {
		g := modtest.NewGo(t, nil)
		g.Set("HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, ".config"), "GOENV="+filepath.Join(home, ".config/go/env"), "GOPRIVATE=corp.test")
		p := modtest.Start(t, modtest.Build(t, "./examples/proxy"), []string{"-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "https://up.test"}, g.Env())
		assert.Contains(t, p.Env, "GONOSUMDB=corp.test")
		resp, _ := request(t, p.URL+"/readyz")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		resp, _ = request(t, p.URL+"/example.com/m/@v/v1.0.0.mod")
		assert.Equal(t, "https://up.test/example.com/m/@v/v1.0.0.mod", resp.Header.Get("Location"))
		assert.Equal(t, 1, strings.Count(p.Log(), "level=WARN"), p.Log())
	}
}

// TestDrain stops the proxy while it answers.
func TestDrain(t *testing.T) {
	t.Parallel()
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	release := make(chan struct{})
	up.Break("*.zip", modtest.Hang(release))
	p := start(t, nil, nil, "-upstream", up.URL, "-miss", "fetch")
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get(p.URL + "/up.test/m/@v/v1.0.0.zip")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- string(b)
	}()
	up.Await("*.zip", 1)
	stopped := make(chan struct{})
	go func() {
		p.Stop()
		close(stopped)
	}()
	refuses(t, p) // but lets this request come to its end
	close(release)
	body := <-answered
	<-stopped
	assert.True(t, body == string(v.Zip), "got %.100q", body)
}

// refuses waits until a server that was told to stop takes no more connections.
func refuses(t *testing.T, p *modtest.Process) {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
		if err != nil {
			return
		}
		require.NoError(t, conn.Close())
	}
}

// TestDrainHeld stops the proxy while a client reads a held zip, slowly: it gets
// all of it, although that does not fit into the system's buffers.
func TestDrainHeld(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	v := modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"go.mod": "module up.test/m\n", "noise": string(noise)})
	p := start(t, nil, nil, "-upstream", modtest.NewGoProxy(t, v).URL, "-miss", "fetch")
	_, body := request(t, p.URL+"/up.test/m/@v/v1.0.0.zip")
	require.True(t, body == string(v.Zip))
	p.AwaitLog("file=zip outcome=fetch") // it is held
	resp, err := http.Get(p.URL + "/up.test/m/@v/v1.0.0.zip")
	require.NoError(t, err)
	defer resp.Body.Close()
	first := make([]byte, 1000)
	_, err = io.ReadFull(resp.Body, first)
	require.NoError(t, err)
	p.Signal(syscall.SIGTERM)
	refuses(t, p)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.True(t, string(first)+string(rest) == string(v.Zip))
	assert.Equal(t, "exit status 0", p.AwaitEnd())
}

// TestSecondSignal stops the proxy in the midst of a request without end, and
// then has no more patience.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	up := modtest.NewGoProxy(t, sample(t))
	up.Break("*.zip", modtest.Hang(nil))
	p := start(t, nil, nil, "-upstream", up.URL, "-miss", "fetch")
	cut := make(chan error, 1)
	go func() {
		resp, err := http.Get(p.URL + "/up.test/m/@v/v1.0.0.zip")
		if err == nil {
			err = resp.Body.Close()
		}
		cut <- err
	}()
	up.Await("*.zip", 1)
	p.Signal(syscall.SIGTERM)
	refuses(t, p)
	p.Signal(syscall.SIGTERM)
	assert.Equal(t, "signal: terminated", p.AwaitEnd())
	assert.Error(t, <-cut)
}

// TestBadFlags has one case for each way to get the command line wrong.
func TestBadFlags(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(rules, []byte("# ours\nforbid example.test\n"), 0o600))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-miss", "follow"}, `-miss is redirect or fetch, not "follow"`},
		{[]string{"-fill", "some"}, `-fill is asked or whole, not "some"`},
		{[]string{"-fill-after", "soon"}, "invalid value"},
		{[]string{"-rules", rules}, rules + ":2:1: "},
		{[]string{"-private", "corp.test/["}, "corp.test/["},
		{[]string{"-upstream", "ftp://up.test"}, "ftp"},
		{[]string{"-upstream", "up.test:3001"}, "up.test:3001"},
		{[]string{"-upstream", ""}, "-upstream is empty"},
		{[]string{"-sumdb", "nonsense"}, "the key is not NAME+HASH+KEY"},
		{[]string{"-dir", filepath.Join(file, "dir")}, file},
		{[]string{"-addr", busy.Addr().String()}, "address already in use"},
		{[]string{"-ops", busy.Addr().String()}, "address already in use"},
		{[]string{"-addr", "nonsense"}, "nonsense"},
		{[]string{"serve"}, "proxy takes flags only"},
	} {
		var said bytes.Buffer
		args := append([]string{"-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "off", "-private", ""}, c.args...)
		err := run(ctx, args, io.Discard, &said)
		require.Error(t, err, "%v", c.args)
		assert.Contains(t, err.Error(), c.want, "%v", c.args)
	}
	err = run(ctx, []string{"-upstream", "http://reader:s3cret@up.test:port"}, io.Discard, io.Discard)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "s3cret")

	t.Setenv("PATH", t.TempDir())
	err = run(ctx, []string{"-addr", "127.0.0.1:0", "-dir", t.TempDir()}, io.Discard, io.Discard)
	assert.ErrorContains(t, err, "no default for -upstream, set it to a URL or 'off'")
}
