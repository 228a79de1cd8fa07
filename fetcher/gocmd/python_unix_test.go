//go:build unix

package gocmd_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Mercurial and Bazaar are programs of Python, which takes longer to start than their
// commands take to run, and a go command starts them many times. A test therefore puts this
// test program in their place, which lets a process that has loaded the real program run each
// command: see testdata/forks.py.

// forked is a command that [runForked] has passed on.
type forked struct {
	Dir  string            `json:"dir"`
	Args []string          `json:"args"`
	Env  map[string]string `json:"env"`
}

// preload puts a tool that has loaded Python in front of the PATH of the workshop. Where
// that is not possible, for the tool has another Python, the tool itself stays.
func (w *workshop) preload(tool string) {
	w.t.Helper()
	python := "/usr/bin/python3"
	if tool == "hg" {
		python = interpreter(w.t, tool)
	}
	dir, err := os.MkdirTemp("", "forks")
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, os.RemoveAll(dir)) })
	script, err := filepath.Abs(filepath.Join("testdata", "forks.py"))
	require.NoError(w.t, err)
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(python, "-B", script, tool, socket)
	cmd.Env = append(os.Environ(), w.env...)
	cmd.Stderr = w.t.Output()
	in, err := cmd.StdinPipe()
	require.NoError(w.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	if err := cmd.Start(); err != nil {
		w.t.Logf("%s: %v", tool, err)
		return
	}
	w.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // it may never have been ready
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		w.t.Logf("%s is started for each command: %q %v", tool, line, err)
		return
	}
	self, err := os.Executable()
	require.NoError(w.t, err)
	require.NoError(w.t, os.Symlink(self, filepath.Join(dir, tool)))
	w.programs = map[string]string{tool: filepath.Join(dir, tool)}
	w.tools = append(w.tools, "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), forksEnv+"="+socket)
	w.env = append(w.env, w.tools...)
}

// interpreter is the program that runs a script: the one that its first line names.
func interpreter(t *testing.T, tool string) string {
	t.Helper()
	file, err := exec.LookPath(tool)
	require.NoError(t, err)
	script, err := os.Open(file)
	require.NoError(t, err)
	defer script.Close()
	line, err := bufio.NewReader(io.LimitReader(script, 1<<10)).ReadString('\n')
	if program, ok := strings.CutPrefix(strings.TrimSpace(line), "#!"); err == nil && ok {
		return strings.TrimSpace(program)
	}
	return "python3"
}

// runForked runs the command that this program was started as by the process which listens
// at socket, and returns its exit status.
func runForked(socket string) int {
	status, err := askForked(socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[0], err)
		return 255
	}
	return status
}

func askForked(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	request := forked{Args: os.Args[1:], Env: make(map[string]string)}
	request.Dir, err = os.Getwd()
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		request.Env[name] = value
	}
	line, failed := json.Marshal(request)
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	if _, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, syscall.UnixRights(0, 1, 2), nil); err != nil {
		return 0, err
	}
	if _, err = conn.Write(append(line, '\n')); err != nil {
		return 0, err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(answer))
}
