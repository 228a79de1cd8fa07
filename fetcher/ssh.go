package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/sshconfig"
)

const sshPort = "22"

// dialSSH starts git-upload-pack on a server that is reached by ssh.
func (r *repo) dialSSH(ctx context.Context, to *remote) (gitwire.Stream, error) {
	conf, err := r.f.sshConfig(to)
	if err != nil {
		return nil, err
	}
	known, err := conf.knownHosts()
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(ctx, conf)
	if err != nil {
		return nil, err
	}
	defer keys.close()
	client, err := r.sshClient(ctx, conf, known, keys)
	if err != nil {
		return nil, err
	}
	s, err := startUploadPack(ctx, client, to.path)
	if err != nil {
		client.Close()
		return nil, err
	}
	return s, nil
}

// sshClient connects and logs in.
func (r *repo) sshClient(ctx context.Context, conf *sshHost, known *hostKeys, keys *keyring) (*ssh.Client, error) {
	conn, err := r.dialer()(ctx, "tcp", conf.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
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

// explainLogin says what can be done about a connection that failed.
func explainLogin(err error, conf *sshHost, keys *keyring) error {
	var wrong *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &wrong) && len(wrong.Want) > 0:
		return fmt.Errorf("the host key of %s is not the one in known_hosts: either somebody is between it and this server, "+
			"or the key was replaced, and known_hosts must be told", conf.known)
	case errors.As(err, &wrong):
		return conf.unknown()
	case errors.As(err, &revoked):
		return fmt.Errorf("the host key of %s is revoked by known_hosts", conf.known)
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("%s refuses to let %s in by ssh: %s", conf.HostName, conf.User, keys.describe())
	}
	return err
}

// startUploadPack runs git-upload-pack for a path in a session of a client.
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
	// A server that does not take the variable answers in version 0.
	variable := ssh.Marshal(struct{ Name, Value string }{"GIT_PROTOCOL", "version=2"})
	if _, err := session.SendRequest("env", false, variable); err != nil {
		return nil, err
	}
	return s, session.Start(gitwire.UploadPack + " " + quote(path))
}

// quote puts a text in quotes for a POSIX shell, as git does: servers that run
// no shell understand this form only.
func quote(text string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(text) + "'"
}

// An sshStream is a session of a client of its own.
type sshStream struct {
	client  *ssh.Client
	session *ssh.Session
	in      interface{ Write([]byte) (int, error) }
	out     interface{ Read([]byte) (int, error) }
	errors  tail
}

func (s *sshStream) Read(p []byte) (int, error)  { return s.out.Read(p) }
func (s *sshStream) Write(p []byte) (int, error) { return s.in.Write(p) }

// Close ends the connection, with all that runs in it.
func (s *sshStream) Close() error { return s.client.Close() }

// Said waits for the command's end, which comes after all it said.
func (s *sshStream) Said() string {
	_ = s.session.Wait()
	return s.errors.String()
}

var errNoSSH = errors.New("ssh is switched off here, or there is no home folder")

// An sshHost is what is known of how to reach a host.
type sshHost struct {
	*sshconfig.Host
	address string   // to dial
	known   string   // as known_hosts names it
	files   []string // of known hosts
	dir     string   // where keys are by default
}

// sshConfig finds how a host is reached.
func (f *Fetcher) sshConfig(to *remote) (*sshHost, error) {
	if f.opts.SSHDir == "" {
		return nil, errNoSSH
	}
	me := ""
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	home, _ := os.UserHomeDir() // without one, ~ is not replaced
	h, err := sshconfig.Lookup(sshconfig.Question{Host: to.host, User: to.user, LocalUser: me, Home: home},
		sshconfig.File{Name: filepath.Join(f.opts.SSHDir, "config"), Dir: f.opts.SSHDir},
		sshconfig.File{Name: systemSSH + "/ssh_config", Dir: systemSSH})
	if err != nil {
		return nil, fmt.Errorf("the configuration of ssh: %w", err)
	}
	if h.Proxy != "" {
		return nil, fmt.Errorf("the configuration of ssh demands a ProxyJump or ProxyCommand for %s, which is not supported", to.host)
	}
	if h.User == "" {
		h.User = me
	}
	port := to.port
	if port == "" {
		port = h.Port
	}
	if port == "" {
		port = sshPort
	}
	conf := &sshHost{Host: h, address: net.JoinHostPort(h.HostName, port), dir: f.opts.SSHDir}
	conf.known = conf.address
	if h.HostKeyAlias != "" {
		conf.known = net.JoinHostPort(h.HostKeyAlias, sshPort)
	}
	conf.files = append(conf.files, h.UserKnownHosts...)
	if h.UserKnownHosts == nil {
		conf.files = append(conf.files, filepath.Join(conf.dir, "known_hosts"), filepath.Join(conf.dir, "known_hosts2"))
	}
	conf.files = append(conf.files, h.GlobalKnown...)
	if h.GlobalKnown == nil {
		conf.files = append(conf.files, systemSSH+"/ssh_known_hosts", systemSSH+"/ssh_known_hosts2")
	}
	return conf, nil
}

const systemSSH = "/etc/ssh"

// hostKeys are the keys that a host may show.
type hostKeys struct {
	check      ssh.HostKeyCallback
	algorithms []string
}

// knownHosts finds the keys of a host. One that has none is not even dialed.
func (h *sshHost) knownHosts() (*hostKeys, error) {
	var files []string
	for _, name := range h.files {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("known_hosts: %w", err)
		}
	}
	if len(files) == 0 {
		return nil, h.unknown()
	}
	db, err := gitssh.NewKnownHostsDb(files...)
	if err != nil {
		return nil, err
	}
	algorithms := db.HostKeyAlgorithms(h.known)
	if len(algorithms) == 0 {
		return nil, h.unknown()
	}
	check := db.HostKeyCallback()
	return &hostKeys{
		check: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			return check(h.known, remote, key)
		},
		algorithms: algorithms,
	}, nil
}

// errUnknownHost says that known_hosts has no key of a host.
var errUnknownHost = errors.New("its host key is not in known_hosts")

func (h *sshHost) unknown() error {
	return fmt.Errorf("%s can't be trusted by ssh: %w; add the key, of which its owner has told the fingerprint, "+
		"to the file known_hosts of the user that this server runs as", knownhosts.Normalize(h.known), errUnknownHost)
}
