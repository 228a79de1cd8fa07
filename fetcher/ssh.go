package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/fetcher/internal/hostkeys"
	"github.com/athens-go/athens/internal/netguard"
)

// dialSSH starts git-upload-pack on a server by ssh.
func (r *repo) dialSSH(ctx context.Context, to *remote) (gitwire.Stream, error) {
	conf, err := r.f.sshConfig(ctx, sshTarget{to.user, to.host, to.port})
	if err != nil {
		return nil, err
	}
	var client *ssh.Client
	if err := r.connect(ctx, "ssh", conf.address, func(ctx context.Context) (err error) {
		client, err = r.sshClient(ctx, conf, 0)
		return err
	}); err != nil {
		return nil, err
	}
	s, err := startUploadPack(ctx, client, to.path)
	if err != nil {
		client.Close()
		return nil, err
	}
	return s, nil
}

// sshClient connects to a host, through those that ProxyJump names, and logs in.
// jumps counts the hosts that are reached through this one.
func (r *repo) sshClient(ctx context.Context, conf *sshHost, jumps int) (*ssh.Client, error) {
	known, err := r.f.hostKeys(ctx, conf)
	if err != nil {
		return nil, err
	}
	conn, err := r.sshConn(ctx, conf, jumps)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	keys, err := r.f.openKeys(ctx, conf)
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer keys.close()
	c, channels, requests, err := ssh.NewClientConn(conn, conf.address, &ssh.ClientConfig{
		User:              conf.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyCallback:   known.check,
		HostKeyAlgorithms: known.algorithms,
	})
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, explainLogin(err, conf, keys)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// maxJumps bounds the length of a chain of ProxyJump hosts; a longer one is probably a
// loop.
const maxJumps = 8

// sshConn connects to a host, directly or through others.
func (r *repo) sshConn(ctx context.Context, conf *sshHost, jumps int) (net.Conn, error) {
	if conf.ProxyJump == "" {
		conn, err := r.dialer()(ctx, "tcp", conf.address)
		return conn, withRequestedName(err, conf)
	}
	if jumps >= maxJumps {
		return nil, fmt.Errorf("the ssh configuration leads to %s through more than %d hosts; set ProxyJump none where it loops", conf.name, maxJumps)
	}
	before, last := "", conf.ProxyJump
	if i := strings.LastIndexByte(last, ','); i >= 0 {
		before, last = last[:i], last[i+1:]
	}
	target, err := parseJump(last)
	if err != nil {
		return nil, err
	}
	via, err := r.f.sshConfig(ctx, target)
	if err != nil {
		return nil, err
	}
	if before != "" {
		via.ProxyJump = before
	}
	address, err := r.guardedAddress(ctx, conf.address)
	if err != nil {
		return nil, withRequestedName(err, conf)
	}
	client, err := r.sshClient(ctx, via, jumps+1)
	if err != nil {
		return nil, fmt.Errorf("through %s: %w", via.name, err)
	}
	conn, err := client.DialContext(ctx, "tcp", address)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("%s can't connect to %s: %w", via.name, conf.name, err)
	}
	return &jumpConn{conn, client}, nil
}

// withRequestedName makes a refusal name the requested host. The one that the
// ssh configuration has instead can be an internal address.
func withRequestedName(err error, conf *sshHost) error {
	if refused := (netguard.Forbidden{}); errors.As(err, &refused) {
		return netguard.Forbidden{Host: conf.name}
	}
	return err
}

// guardedAddress returns the address to which another host is asked to connect. For a
// path that is not private, the name is resolved and checked here, because the other
// host would not check it.
func (r *repo) guardedAddress(ctx context.Context, address string) (string, error) {
	if r.policy.private {
		return address, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, ip := range list {
		if !netguard.IsPublic(ip) {
			return "", netguard.Forbidden{Host: host}
		}
	}
	return net.JoinHostPort(list[0].Unmap().String(), port), nil
}

// jumpConn is a connection through another host. Closing it closes both.
type jumpConn struct {
	net.Conn
	via *ssh.Client
}

func (j *jumpConn) Close() error { return errors.Join(j.Conn.Close(), j.via.Close()) }

// explainLogin returns an error that says how to mend a failed connection.
func explainLogin(err error, conf *sshHost, keys *keyring) error {
	var algorithms *ssh.AlgorithmNegotiationError
	switch {
	case errors.Is(err, hostkeys.ErrChanged):
		return fmt.Errorf("the host key of %s is not the one in known_hosts: either somebody intercepts the connection, "+
			"or the key was replaced; if so, put the new key into known_hosts", conf.name)
	case errors.Is(err, hostkeys.ErrUnknown):
		return conf.unknownHostError()
	case errors.Is(err, hostkeys.ErrRevoked):
		return fmt.Errorf("the host key of %s is revoked in known_hosts", conf.name)
	case errors.As(err, &algorithms) && strings.Contains(err.Error(), "host key"):
		return fmt.Errorf("%s has no host key of a type that known_hosts lists for it; add its key to known_hosts: %w", conf.name, err)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%s refuses the ssh login of %s: %s; keys are taken from Options.SSHDir (~/.ssh) and the ssh agent", conf.name, conf.User, keys.describe())
	}
	return err
}

// startUploadPack runs git-upload-pack for a path in a new session of a client.
func startUploadPack(ctx context.Context, client *ssh.Client, path string) (gitwire.Stream, error) {
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	s := &sshStream{client: client, session: session}
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	if s.out, err = session.StdoutPipe(); err != nil {
		return nil, err
	}
	session.Stderr = &s.errors
	// A server that ignores the variable answers in version 0.
	variable := ssh.Marshal(struct{ Name, Value string }{"GIT_PROTOCOL", "version=2"})
	if _, err := session.SendRequest("env", false, variable); err != nil {
		return nil, err
	}
	return s, session.Start(gitwire.UploadPack + " " + quote(path))
}

// quote quotes a string for a POSIX shell as git does. Servers without a shell
// understand only this form.
func quote(text string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(text) + "'"
}

// An sshStream is a session with its own client.
type sshStream struct {
	client  *ssh.Client
	session *ssh.Session
	in      interface{ Write([]byte) (int, error) }
	out     interface{ Read([]byte) (int, error) }
	errors  prefixBuffer
}

func (s *sshStream) Read(p []byte) (int, error)  { return s.out.Read(p) }
func (s *sshStream) Write(p []byte) (int, error) { return s.in.Write(p) }

// Close closes the connection, which ends the command.
func (s *sshStream) Close() error { return s.client.Close() }

// Said waits for the command's end and returns its error output.
func (s *sshStream) Said() string {
	_ = s.session.Wait()
	return s.errors.String()
}
