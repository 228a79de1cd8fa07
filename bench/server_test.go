package bench_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

// server is a process that is measured, with those that it starts.
type server struct {
	name string
	url  string
	cmd  *exec.Cmd
	log  string // file of what it prints
	done chan struct{}

	begun time.Time
}

// startLimit bounds how long a server may take to listen.
const startLimit = 30 * time.Second

// begin starts a command in which {addr} stands for a free address, and does not
// wait for it. It is killed at the end of the test.
func begin(t *testing.T, name string, env []string, command ...string) *server {
	t.Helper()
	addr := freeAddr(t)
	args := make([]string, len(command))
	for i, arg := range command {
		args[i] = strings.ReplaceAll(arg, "{addr}", addr)
	}
	s := &server{name: name, url: "http://" + addr, log: filepath.Join(t.TempDir(), "log"), done: make(chan struct{})}
	// A file, because a pipe would make this process a part of the server.
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = env, log, log
	s.begun = time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // that it ends too early is seen by those who ask it
		close(s.done)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("%s: %.4000s", strings.Join(args, " "), read(s.log))
		}
	})
	return s
}

// start starts a command and waits until it listens.
func start(t *testing.T, name string, env []string, command ...string) *server {
	t.Helper()
	s := begin(t, name, env, command...)
	s.awaitAnswer(t)
	return s
}

func (s *server) addr() string { return strings.TrimPrefix(s.url, "http://") }

// kill ends the server at once: what it would still like to do is not measured.
func (s *server) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // nginx ends its workers
	if s.name != nginxName {
		_ = s.cmd.Process.Kill()
	}
	limit := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer limit.Stop()
	<-s.done
}

// freeAddr returns an address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// tick is the unit of CPU time in /proc.
const tick = 10 * time.Millisecond

// cpu returns the CPU time, user and system, of the process, of those that it
// started, and of those of them that have ended.
func (s *server) cpu(t *testing.T) time.Duration {
	t.Helper()
	parents, ticks := map[int]int{}, map[int]int64{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		_, text, _ := strings.Cut(read(name), ") ")
		fields := strings.Fields(text) // from the third on
		if len(fields) < 15 {
			continue // it has just ended
		}
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, field := range fields[11:15] { // utime, stime, and those of children that ended
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks[pid] += n
		}
	}
	var sum int64
	for pid := range ticks {
		for p := pid; p != 0; p = parents[p] {
			if p == s.cmd.Process.Pid {
				sum += ticks[pid]
			}
		}
	}
	return time.Duration(sum) * tick
}

// peak returns the most memory that the process has held so far, in bytes.
func (s *server) peak(t *testing.T) int64 { t.Helper(); return s.status(t, "VmHWM:") }

// memory returns the memory of the process without pages of files, in bytes.
func (s *server) memory(t *testing.T) int64 { t.Helper(); return s.status(t, "RssAnon:") }

// status returns a size in /proc/PID/status, in bytes.
func (s *server) status(t *testing.T, name string) int64 {
	t.Helper()
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("no %s of %s", name, s.name)
	return 0
}

func read(name string) string {
	text, _ := os.ReadFile(name) // what is not there is empty
	return string(text)
}

// system is a proxy that is measured: this project's, or a peer.
type system struct {
	name  string
	start func(t *testing.T, dir, upstream string, env []string) *server
	own   bool // targets are for this project's
}

// target is that of a line about this system.
func (s system) target(x float64) float64 {
	if s.own {
		return x
	}
	return noTarget
}

const ownName = "athens"

// systems returns this project's proxy, which fetches misses for its clients, and
// the peers.
func systems() []system {
	own := func(t *testing.T, dir, upstream string, env []string) *server {
		return proxy(t, dir, upstream, "fetch", env)
	}
	return append([]system{{name: ownName, start: own, own: true}}, peerFlags.systems()...)
}

// directSystems returns this project's registry, and the peers that fetch from
// version control.
func directSystems() []system {
	own := func(t *testing.T, dir, _ string, env []string) *server { return registry(t, dir, env) }
	return append([]system{{name: ownName, start: own, own: true}}, directPeerFlags.systems()...)
}

// upstreamDirect is the upstream of those.
const upstreamDirect = "direct"

func proxy(t *testing.T, dir, upstream, miss string, env []string) *server {
	t.Helper()
	return start(t, ownName, env, modtest.Build(t, "./examples/proxy"),
		"-addr", "{addr}", "-dir", dir, "-upstream", upstream, "-private", "", "-miss", miss)
}

func registry(t *testing.T, dir string, env []string) *server {
	t.Helper()
	return start(t, ownName, env, modtest.Build(t, "./examples/registry"), "-addr", "{addr}", "-dir", dir, "-private", "")
}

// fileServer is Go's own, on a folder.
func fileServer(t *testing.T, dir string) *server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, "http.FileServer", []string{fileServerEnv + "=" + dir}, self, "{addr}")
}

const nginxName = "nginx"

// nginx is on a folder too, or nil if it is not installed.
func nginx(t *testing.T, dir string) *server {
	t.Helper()
	bin := *nginxFlag
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if found, err := exec.LookPath(name); err == nil && bin == "" {
			bin = found
		}
	}
	if bin == "" {
		t.Log("no nginx: its lines are left out (-nginx names one, or: apt-get install nginx-light)")
		return nil
	}
	work := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else it can't read the folder
	}
	config := filepath.Join(work, "nginx.conf")
	addr := freeAddr(t)
	err := os.WriteFile(config, []byte(fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/pid; %[2]s
events { worker_connections 1024; }
http {
	access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/octet-stream;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen %[3]s; root %[4]s; }
}
`, work, user, addr, dir)), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, nginxName, nil, bin, "-p", work, "-c", config, "-e", filepath.Join(work, "error.log"))
	s.url = "http://" + addr
	s.awaitAnswer(t)
	return s
}

// awaitAnswer waits until the server takes connections.
func (s *server) awaitAnswer(t *testing.T) {
	t.Helper()
	_ = s.dial(t).Close()
}

// dial connects to the server as soon as it listens.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	ticker := time.NewTicker(200 * time.Microsecond)
	defer ticker.Stop()
	for limit := time.Now().Add(startLimit); time.Now().Before(limit); <-ticker.C {
		if conn, err := net.Dial("tcp", s.addr()); err == nil {
			return conn
		}
		select {
		case <-s.done:
			t.Fatalf("%s ended: %s", s.name, read(s.log))
		default:
		}
	}
	t.Fatalf("%s does not listen: %s", s.name, read(s.log))
	return nil
}

// peers are the other proxies that the command line names.
type peers []peer

type peer struct {
	name string
	env  []string
	args []string
}

func (p *peers) String() string { return "" }

// Set takes NAME=[VAR=VALUE...] COMMAND ARG...
func (p *peers) Set(value string) error {
	name, command, ok := strings.Cut(value, "=")
	one := peer{name: name, args: strings.Fields(command)}
	for len(one.args) > 0 && strings.Contains(one.args[0], "=") {
		one.env, one.args = append(one.env, one.args[0]), one.args[1:]
	}
	if !ok || len(one.args) == 0 {
		return errors.New("not NAME=COMMAND")
	}
	*p = append(*p, one)
	return nil
}

func (p peers) systems() []system {
	var all []system
	for _, one := range p {
		all = append(all, system{name: one.name, start: func(t *testing.T, dir, upstream string, env []string) *server {
			t.Helper()
			fill := strings.NewReplacer("{dir}", dir, "{upstream}", upstream)
			command := make([]string, len(one.args))
			for i, arg := range one.args {
				command[i] = fill.Replace(arg)
			}
			own := append(env[:len(env):len(env)], "GOPROXY="+upstream)
			for _, e := range one.env {
				own = append(own, fill.Replace(e))
			}
			return start(t, one.name, own, command...)
		}})
	}
	return all
}
