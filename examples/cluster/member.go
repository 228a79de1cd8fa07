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

const (
	restartAfter = time.Second      // until a member that has ended is started again
	stopWithin   = 30 * time.Second // until a member that was told to end is killed
	readyWithin  = time.Minute      // for the first start of a member
)

// A member is a process of the cluster. It is started again whenever it ends.
type member struct {
	name string
	addr string // where it listens
	bin  string
	args []string
	env  []string // in addition to this process's own
	mute bool     // it prints nothing when it begins to listen
	says firstLine

	mu      sync.Mutex
	process *os.Process // nil while it does not run
	starts  int
	killed  int
}

// run keeps the member running until ctx is done, and then lets it end.
func (m *member) run(ctx context.Context, stderr io.Writer) {
	log := &prefixed{w: stderr, prefix: m.name + ": "}
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, m.bin, m.args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), m.env...), &m.says, log
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
		fmt.Fprintf(log, "ended (%v); starting it again\n", err)
		select {
		case <-ctx.Done():
		case <-time.After(restartAfter):
		}
	}
}

// note records the process that runs now, or nil when it has ended.
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
		return errors.New(m.name + " is not running")
	}
	m.killed++
	return m.process.Kill()
}

// state describes a member to a client.
type state struct {
	Name   string `json:"name"`
	Addr   string `json:"addr"`
	PID    int    `json:"pid,omitempty"` // absent while the member does not run
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

// firstLine keeps the first line written to it and drops the rest.
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

// ready waits until the member listens and, unless it is mute, has printed its first line.
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
			err = errors.New("it has printed no line yet")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w", m.name, m.addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// prefixed writes whole lines, each behind a prefix. What follows the last newline waits for
// the rest of its line.
type prefixed struct {
	w      io.Writer
	prefix string

	mu   sync.Mutex
	rest []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(b)
	for {
		line, after, whole := bytes.Cut(b, []byte("\n"))
		p.rest = append(p.rest, line...)
		if !whole {
			return n, nil
		}
		if _, err := fmt.Fprintf(p.w, "%s%s\n", p.prefix, p.rest); err != nil {
			return 0, err
		}
		p.rest, b = p.rest[:0], after
	}
}
