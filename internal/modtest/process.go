package modtest

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Limits that only show when a server is broken.
const (
	startLimit = 2 * time.Minute // until the first line is printed
	stopLimit  = time.Minute     // until SIGTERM has ended it
)

// Process is a running server of examples/.
type Process struct {
	URL string   // where it serves the GOPROXY protocol: GOPROXY's value
	Env []string // what its first line says to export, as NAME=VALUE

	t      testing.TB
	cmd    *exec.Cmd
	stdout *watched
	stderr *watched
	exited chan struct{} // closed when it has ended, then err is set
	err    error
}

// Start starts a server and waits until it has printed its first line:
//
//	export GOPROXY=http://127.0.0.1:3000 GONOPROXY=none …
//
// With "-addr 127.0.0.1:0" among args it takes a free port. env is its whole
// environment; [Go.Env] puts it into an [Internet]. A server that is still
// running at the end of the test is stopped, and must stop cleanly.
func Start(t testing.TB, bin string, args, env []string) *Process {
	t.Helper()
	p := &Process{t: t, stdout: newWatched(), stderr: newWatched(), exited: make(chan struct{})}
	p.cmd = exec.Command(bin, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = env, p.stdout, p.stderr, 5*time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s\n%s%s", strings.Join(p.cmd.Args, " "), p.stdout, p.stderr)
		}
	})
	if !p.stdout.await("\n", startLimit, p.exited) {
		t.Fatalf("%s printed no line of what to export", filepath.Base(bin))
	}
	line, _, _ := strings.Cut(p.stdout.String(), "\n")
	exports, ok := strings.CutPrefix(line, "export ")
	for _, e := range strings.Fields(exports) {
		name, value, _ := strings.Cut(e, "=")
		value = strings.Trim(value, `'"`)
		p.Env = append(p.Env, name+"="+value)
		if name == "GOPROXY" {
			p.URL = value
		}
	}
	if !ok || p.URL == "" {
		t.Fatalf("%s printed %q, want export GOPROXY=…", filepath.Base(bin), line)
	}
	return p
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns what the server has written to stderr so far.
func (p *Process) Log() string { return p.stderr.String() }

// AwaitLog waits until the server has written text to stderr. After two minutes,
// or when the server ends without, it fails the test.
func (p *Process) AwaitLog(text string) {
	p.t.Helper()
	if !p.stderr.await(text, awaitLimit, p.exited) {
		p.t.Fatalf("modtest: no %q in the log", text)
	}
}

// Kill ends the server with SIGKILL, as a crash would. It does nothing if the
// server has ended.
func (p *Process) Kill() {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Signal sends the server a signal, and does not wait for its effect.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Errorf("modtest: %v", err)
	}
}

// AwaitEnd waits until the server has ended by itself or by a signal, and
// returns how. After two minutes it fails the test.
func (p *Process) AwaitEnd() string {
	p.t.Helper()
	limit := time.NewTimer(awaitLimit)
	defer limit.Stop()
	select {
	case <-p.exited:
	case <-limit.C:
		p.t.Fatalf("modtest: the server did not end within %v", awaitLimit)
	}
	return p.cmd.ProcessState.String()
}

// Stop ends the server with SIGTERM and waits for it to drain. The test fails
// if it takes more than a minute or exits with another status than 0. Stop
// does nothing if the server has been stopped or killed.
func (p *Process) Stop() {
	p.t.Helper()
	select {
	case <-p.exited:
		if status := p.cmd.ProcessState; status != nil && status.Exited() && !status.Success() {
			p.t.Errorf("the server ended by itself: %v", p.err)
		}
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.exited:
		if p.err != nil {
			p.t.Errorf("after SIGTERM the server ended with: %v", p.err)
		}
	case <-limit.C:
		// The goroutines in its log show where it hangs.
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		p.t.Errorf("the server did not stop within %v of SIGTERM", stopLimit)
		kill := time.AfterFunc(stopLimit, func() { _ = p.cmd.Process.Kill() })
		defer kill.Stop()
		<-p.exited
	}
}

// watched is a buffer; a test can wait until a text has been written to it.
type watched struct {
	mu      sync.Mutex
	b       []byte
	changed chan struct{} // closed and replaced at each write
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, b...)
	close(w.changed)
	w.changed = make(chan struct{})
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.b)
}

// await waits until text was written, and reports whether it was.
func (w *watched) await(text string, d time.Duration, over <-chan struct{}) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	for {
		w.mu.Lock()
		found, changed := bytes.Contains(w.b, []byte(text)), w.changed
		w.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-changed:
		case <-over:
			return strings.Contains(w.String(), text)
		case <-limit.C:
			return false
		}
	}
}
