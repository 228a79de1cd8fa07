package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/athens-go/athens/fetcher/internal/hostkeys"
	"github.com/athens-go/athens/internal/sshconfig"
)

const (
	sshPort   = "22"
	systemSSH = "/etc/ssh"
)

var errNoSSH = errors.New("ssh is turned off by Options.SSHDir, or there is no home folder")

// An sshTarget is a host as a URL or ProxyJump names it. User and port may be empty.
type sshTarget struct{ user, host, port string }

// parseJump parses one host of ProxyJump: [user@]host[:port], or an ssh URL.
func parseJump(text string) (sshTarget, error) {
	bad := errors.New("ssh configuration: ProxyJump is not of the form [user@]host[:port]")
	if !strings.Contains(text, "://") {
		text = "ssh://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "ssh" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return sshTarget{}, bad
	}
	return sshTarget{u.User.Username(), u.Hostname(), u.Port()}, nil
}

// An sshHost says how to reach a host.
type sshHost struct {
	*sshconfig.Host
	name         string        // the requested name, which errors show
	address      string        // the address to dial
	known        hostkeys.Host // the name in known_hosts
	files        []string      // with known hosts
	newHostsFile string        // where new hosts are added; may be empty
	dir          string        // with the default keys
}

// acceptsNewKey reports whether a host that is not in known_hosts is trusted the first
// time. Nobody can be asked here, so "no" trusts no more than "accept-new" does.
func (h *sshHost) acceptsNewKey() bool {
	switch h.StrictHostKeys {
	case "accept-new", "no", "off", "false":
		return true
	}
	return false
}

// sshConfig finds out how to reach a host.
func (f *Fetcher) sshConfig(ctx context.Context, to sshTarget) (*sshHost, error) {
	if f.opts.SSHDir == "" {
		return nil, errNoSSH
	}
	me := ""
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	home, _ := os.UserHomeDir() // without one, ~ is not replaced
	h, err := sshconfig.Lookup(sshconfig.Question{
		Host: to.host, User: to.user, LocalUser: me, Home: home,
		Warn: f.warn(ctx, "ssh configuration can't be read; continuing without it"),
	},
		sshconfig.File{Name: filepath.Join(f.opts.SSHDir, "config"), Dir: f.opts.SSHDir},
		sshconfig.File{Name: systemSSH + "/ssh_config", Dir: systemSSH})
	if err != nil {
		return nil, fmt.Errorf("ssh configuration: %w", err)
	}
	if h.ProxyCommand != "" {
		return nil, fmt.Errorf("the ssh configuration sets ProxyCommand for %s, which is not supported; use ProxyJump", to.host)
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
	conf := &sshHost{Host: h, name: to.host, address: net.JoinHostPort(h.HostName, port), dir: f.opts.SSHDir}
	conf.known = hostkeys.Host{Name: h.HostName, Port: port}
	if h.HostKeyAlias != "" {
		conf.known = hostkeys.Host{Name: h.HostKeyAlias}
	}
	users := h.UserKnownHosts
	if users == nil {
		users = []string{filepath.Join(conf.dir, "known_hosts"), filepath.Join(conf.dir, "known_hosts2")}
	}
	global := h.GlobalKnown
	if global == nil {
		global = []string{systemSSH + "/ssh_known_hosts", systemSSH + "/ssh_known_hosts2"}
	}
	if users[0] != none {
		conf.newHostsFile = users[0]
	}
	for _, name := range append(users[:len(users):len(users)], global...) {
		if name != none {
			conf.files = append(conf.files, name)
		}
	}
	return conf, nil
}

// knownHost checks the key of a host.
type knownHost struct {
	check      ssh.HostKeyCallback
	algorithms []string
}

// hostKeys finds the keys of a host. A host without keys is not even dialed, unless
// new hosts are accepted.
func (f *Fetcher) hostKeys(ctx context.Context, h *sshHost) (*knownHost, error) {
	db := f.knownHosts(ctx, h)
	if !db.Knows(h.known) && !h.acceptsNewKey() {
		return nil, h.unknownHostError()
	}
	return &knownHost{
		check: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			err := db.Check(h.known, key)
			if errors.Is(err, hostkeys.ErrUnknown) && h.acceptsNewKey() {
				return f.trust(ctx, h, key)
			}
			return err
		},
		algorithms: db.Algorithms(h.known, h.acceptsNewKey()),
	}, nil
}

// knownHosts reads the known_hosts files for a host.
func (f *Fetcher) knownHosts(ctx context.Context, h *sshHost) *hostkeys.DB {
	db := hostkeys.Load(f.warn(ctx, "part of known_hosts can't be read; continuing without it"), h.files...)
	f.newHosts.addTo(db, h.known)
	return db
}

// trust accepts the key of a new host and stores it, so
// that another key is refused later.
func (f *Fetcher) trust(ctx context.Context, h *sshHost, key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	f.newHosts.learning.Lock()
	defer f.newHosts.learning.Unlock()
	// Another request may have learned the host meanwhile.
	if err := f.knownHosts(ctx, h).Check(h.known, key); !errors.Is(err, hostkeys.ErrUnknown) {
		return err
	}
	f.opts.Logger.InfoContext(ctx, "new ssh host is trusted from now on", "host", h.known.String(), "key", ssh.FingerprintSHA256(key))
	if h.newHostsFile != "" {
		if err := hostkeys.Append(h.newHostsFile, h.known, key, h.HashKnownHosts); err != nil {
			f.warn(ctx, "known_hosts can't be written; the new host is trusted until this process ends")(h.newHostsFile, err)
		}
	}
	if f.knownHosts(ctx, h).Check(h.known, key) == nil {
		return nil
	}
	return f.newHosts.add(h.known, key)
}

// newHosts holds hosts whose keys could not be written.
type newHosts struct {
	learning sync.Mutex // held while a key is accepted and written

	mu   sync.Mutex
	keys map[string]ssh.PublicKey
}

// maxNewHosts bounds the hosts that are known only in memory.
const maxNewHosts = 1000

func (n *newHosts) add(h hostkeys.Host, key ssh.PublicKey) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.keys) >= maxNewHosts {
		return errors.New("too many new hosts whose keys can't be written to known_hosts; make the file writable")
	}
	if n.keys == nil {
		n.keys = make(map[string]ssh.PublicKey)
	}
	n.keys[h.String()] = key
	return nil
}

func (n *newHosts) addTo(db *hostkeys.DB, h hostkeys.Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if key, ok := n.keys[h.String()]; ok {
		db.Add(h, key)
	}
}

// errUnknownHost means that known_hosts has no key of a host.
var errUnknownHost = errors.New("its host key is not in known_hosts")

func (h *sshHost) unknownHostError() error {
	return fmt.Errorf("ssh does not trust %s: %w; compare the key's fingerprint with the one that the host's owner publishes and add it "+
		"to known_hosts of the user that this server runs as, or set StrictHostKeyChecking accept-new in the ssh configuration", h.name, errUnknownHost)
}
