//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// awaitText waits until a file matches, for two minutes: "go run" builds first.
func awaitText(t *testing.T, file, pattern string) []string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(2 * time.Minute); time.Now().Before(limit); <-tick.C {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if found := regexp.MustCompile(pattern).FindStringSubmatch(string(text)); found != nil {
			return found
		}
	}
	text, _ := os.ReadFile(file)
	t.Fatalf("no %q in:\n%s", pattern, text)
	return nil
}

// TestGoRunIsKilled sends SIGTERM to "go run", which does not pass it on: the proxy ends
// all the same, in order, and its port is free.
func TestGoRunIsKilled(t *testing.T) {
	t.Parallel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // a pipe would break with "go run"
	require.NoError(t, err)
	defer out.Close()
	cmd := exec.Command("go", "run", "./examples/proxy", "-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "off", "-private", "")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "../..", append(modtest.NewGo(t, nil).Env(), "GOMODCACHE="+goModCache(t)), out, out
	require.NoError(t, cmd.Start())
	addr := awaitText(t, out.Name(), `GOPROXY=http://(\S+)`)[1]
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.Error(t, cmd.Wait())
	awaitText(t, out.Name(), `msg=stopping reason="'go run' has ended"`)
	awaitText(t, out.Name(), `msg=stopped`)
	_, err = net.Dial("tcp", addr)
	assert.Error(t, err)
}

// TestParentIsGone loses another parent than "go run": a service goes on, as one that
// daemonizes must.
func TestParentIsGone(t *testing.T) {
	t.Parallel()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer out.Close()
	cmd := exec.Command("sh", "-c", `"$@" & echo "pid=$!"`, "sh", modtest.Build(t, "./examples/proxy"), "-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "off", "-private", "")
	cmd.Env, cmd.Stdout, cmd.Stderr = modtest.NewGo(t, nil).Env(), out, out
	require.NoError(t, cmd.Run())
	var pid int
	_, err = fmt.Sscan(awaitText(t, out.Name(), `pid=(\d+)`)[1], &pid)
	require.NoError(t, err)
	addr := awaitText(t, out.Name(), `GOPROXY=http://(\S+)`)[1]
	<-time.After(time.Second) // several looks of one that looks
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	awaitText(t, out.Name(), `msg=stopping reason="signal: terminated"`)
	awaitText(t, out.Name(), `msg=stopped`)
}

func goModCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMODCACHE").Output()
	require.NoError(t, err)
	return string(out[:len(out)-1])
}
