package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How members are treated.
const (
	restartAfter = time.Second      // a member that ended is started again
	stopWithin   = 30 * time.Second // a member that is told to end
	readyWithin  = time.Minute      // the first start of a member
)

// member is a process of the cluster that is started again whenever it ends.
type member struct {
	name string
	addr string // where it listens
	bin  string
	args []string
	env  []string // beside this process's own
	mute bool     // prints nothing once it listens
	says firstLine

	mu      sync.Mutex
	process *os.Process // nil while it does not run
	starts  int
	killed  int
}

// run keeps the member running until ctx is done, and then lets it end.
func (m *member) run(ctx context.Context, stderr io.Writer) {
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, m.bin, m.args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), m.env...), &m.says, stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = stopWithin
		err := cmd.Start()
		if err == nil {
			m.note(cmd.Process)
			err = cmd.Wait()
			m.note(nil)
		}
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(stderr, "%s ended (%v) and is started again\n", m.name, err)
		select {
		case <-ctx.Done():
		case <-time.After(restartAfter):
		}
	}
}

// note remembers the process while it runs.
func (m *member) note(p *os.Process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process = p
	if p != nil {
		m.starts++
	}
}

// kill ends the process at once, as kill -9 does.
func (m *member) kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return errors.New(m.name + " does not run")
	}
	m.killed++
	return m.process.Kill()
}

// state is what there is to know of a member.
type state struct {
	Name   string `json:"name"`
	Addr   string `json:"addr"`
	PID    int    `json:"pid,omitempty"` // none while it does not run
	Starts int    `json:"starts"`
	Killed int    `json:"killed"`
}

func (m *member) state() state {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := state{Name: m.name, Addr: m.addr, Starts: m.starts, Killed: m.killed}
	if m.process != nil {
		s.PID = m.process.Pid
	}
	return s
}

// firstLine keeps the first line that is written, and drops the rest.
type firstLine struct {
	mu   sync.Mutex
	line []byte
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !bytes.HasSuffix(f.line, []byte("\n")) {
		line, _, whole := bytes.Cut(p, []byte("\n"))
		if f.line = append(f.line, line...); whole {
			f.line = append(f.line, '\n')
		}
	}
	return len(p), nil
}

func (f *firstLine) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.TrimSpace(string(f.line))
}

// ready waits until the member listens, and has said so.
func (m *member) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.addr)
		if err == nil {
			_ = conn.Close()
			if m.mute || m.says.String() != "" {
				return nil
			}
			err = errors.New("it does not say that it does")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen: %w", m.name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
