package fetcher_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/athens-go/athens/internal/modtest"
)

// sshServer is an ssh server that runs git upload-pack for the repositories it
// has, as hosting services do.
type sshServer struct {
	addr    string
	key     ssh.Signer // of the host
	dialed  atomic.Int64
	open    atomic.Int64 // connections
	mu      sync.Mutex
	repos   map[string]*modtest.Repo // by path, as clients write it
	allowed map[string]bool          // public keys
	asked   []string                 // user and command of each session
	run     func(ssh.Channel, *exec.Cmd) error
}

func newSSHServer(t *testing.T, hostKey any) *sshServer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(hostKey)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &sshServer{addr: l.Addr().String(), key: signer, repos: map[string]*modtest.Repo{}, allowed: map[string]bool{}}
	s.run = func(ch ssh.Channel, cmd *exec.Cmd) error {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = ch, ch, ch.Stderr()
		return cmd.Run()
	}
	var work sync.WaitGroup
	conns := make(map[net.Conn]bool)
	var mu sync.Mutex
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.dialed.Add(1)
			s.open.Add(1)
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			work.Go(func() {
				defer s.open.Add(-1)
				s.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return s
}

func (s *sshServer) allow(key ssh.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed[string(key.Marshal())] = true
}

// show makes the server show another key from now on.
func (s *sshServer) show(key ssh.Signer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

func (s *sshServer) add(path string, repo *modtest.Repo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[path] = repo
}

// requireClosed waits until clients have closed all connections.
func (s *sshServer) requireClosed(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return s.open.Load() == 0 }, time.Minute, time.Millisecond, "a connection stays open")
}

func (s *sshServer) sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *sshServer) serve(conn net.Conn) {
	config := &ssh.ServerConfig{
		MaxAuthTries: 3,
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.allowed[string(key.Marshal())] {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
	}
	s.mu.Lock()
	config.AddHostKey(s.key)
	s.mu.Unlock()
	defer conn.Close()
	c, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		if n.ChannelType() == "direct-tcpip" {
			s.forward(n)
			continue
		}
		ch, requests, err := n.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			var exec struct{ Command string }
			_ = r.Reply(ssh.Unmarshal(r.Payload, &exec) == nil, nil)
			status := s.exec(ch, c.User(), exec.Command)
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			ch.Close()
			break
		}
	}
}

// forward connects to another server, as one does that ProxyJump names.
func (s *sshServer) forward(n ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if err := ssh.Unmarshal(n.ExtraData(), &to); err != nil {
		_ = n.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		_ = n.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, requests, err := n.Accept()
	if err != nil {
		conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	go func() {
		_, _ = io.Copy(conn, ch)
		conn.Close()
	}()
	go func() {
		_, _ = io.Copy(ch, conn)
		ch.Close()
	}()
}

func (s *sshServer) exec(ch ssh.Channel, user, command string) uint32 {
	s.mu.Lock()
	s.asked = append(s.asked, user+" "+command)
	path, ok := strings.CutPrefix(command, "git-upload-pack '")
	repo := s.repos[strings.TrimSuffix(path, "'")]
	run := s.run
	s.mu.Unlock()
	if !ok || repo == nil {
		_, _ = io.WriteString(ch.Stderr(), "remote: \nERROR: Repository not found.\nPlease make sure you have the\taccess rights.\n")
		return 1
	}
	cmd := exec.Command("git", "upload-pack", repo.Dir())
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull}
	if run(ch, cmd) != nil {
		return 128
	}
	return 0
}

// sshHome is a folder like ~/.ssh.
type sshHome struct {
	t   *testing.T
	dir string
}

func newSSHHome(t *testing.T) *sshHome {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	return &sshHome{t, t.TempDir()}
}

func (h *sshHome) write(name, text string) string {
	h.t.Helper()
	name = filepath.Join(h.dir, name)
	require.NoError(h.t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// reach makes the name host mean a server, whose key is known.
func (h *sshHome) reach(host string, s *sshServer) {
	h.t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(h.t, err)
	h.write("config", "Host "+host+"\n  HostName 127.0.0.1\n  Port "+port+"\n")
	h.write("known_hosts", knownhosts.Line([]string{s.addr}, s.key.PublicKey())+"\n")
}

// key writes a private key and returns its public half.
func (h *sshHome) key(name string, key any, password string) ssh.PublicKey {
	h.t.Helper()
	var block *pem.Block
	var err error
	if password == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(password))
	}
	require.NoError(h.t, err)
	h.write(name, string(pem.EncodeToMemory(block)))
	return public(h.t, key)
}

func public(t *testing.T, key any) ssh.PublicKey {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer.PublicKey()
}

// socketDir makes a folder for a socket, whose name must be short.
func socketDir(t *testing.T) string {
	t.Helper()
	parent := ""
	if len(os.TempDir()) > 60 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "agent-*")
	require.NoError(t, err)
	return dir
}

// startAgent serves an agent with those keys and sets SSH_AUTH_SOCK.
func startAgent(t *testing.T, keys ...any) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, key := range keys {
		require.NoError(t, ring.Add(agent.AddedKey{PrivateKey: key}))
	}
	dir := socketDir(t)
	socket := filepath.Join(dir, "sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_ = agent.ServeAgent(ring, conn)
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
		os.RemoveAll(dir)
	})
	t.Setenv("SSH_AUTH_SOCK", socket)
	return socket
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func newECDSA(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}
