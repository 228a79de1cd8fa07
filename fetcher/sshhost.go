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

var errNoSSH = errors.New("ssh is switched off here by the SSHDir option, or there is no home folder")

// An sshTarget is a host as a URL or ProxyJump names it. User and port may be empty.
type sshTarget struct{ user, host, port string }

// parseJump parses one host of ProxyJump: [user@]host[:port], or an ssh URL.
func parseJump(text string) (sshTarget, error) {
	bad := errors.New("the configuration of ssh: ProxyJump is not [user@]host[:port]")
	if !strings.Contains(text, "://") {
		text = "ssh://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "ssh" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return sshTarget{}, bad
	}
	return sshTarget{u.User.Username(), u.Hostname(), u.Port()}, nil
}

// An sshHost is what is known of how to reach a host.
type sshHost struct {
	*sshconfig.Host
	name         string        // the name that was asked for, which errors show
	address      string        // to dial
	known        hostkeys.Host // as known_hosts names it
	files        []string      // of known hosts
	newHostsFile string        // the file for new hosts; empty if there is none
	dir          string        // where keys are by default
}

// acceptsNewKey reports whether a host that known_hosts does not name is trusted the first
// time. Nobody can be asked here, and "no" trusts no more than "accept-new" does.
func (h *sshHost) acceptsNewKey() bool {
	switch h.StrictHostKeys {
	case "accept-new", "no", "off", "false":
		return true
	}
	return false
}

// sshConfig finds how a host is reached.
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
		Warn: f.warn(ctx, "a configuration of ssh can't be read; ssh goes without it"),
	},
		sshconfig.File{Name: filepath.Join(f.opts.SSHDir, "config"), Dir: f.opts.SSHDir},
		sshconfig.File{Name: systemSSH + "/ssh_config", Dir: systemSSH})
	if err != nil {
		return nil, fmt.Errorf("the configuration of ssh: %w", err)
	}
	if h.ProxyCommand != "" {
		return nil, fmt.Errorf("the configuration of ssh demands a ProxyCommand for %s, which is not supported; ProxyJump is", to.host)
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

// knownHost is what a host may show.
type knownHost struct {
	check      ssh.HostKeyCallback
	algorithms []string
}

// hostKeys finds the keys of a host. A host that has none is not even dialed, unless
// new hosts are welcome.
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

// knownHosts reads the files that count for a host.
func (f *Fetcher) knownHosts(ctx context.Context, h *sshHost) *hostkeys.DB {
	db := hostkeys.Load(f.warn(ctx, "known_hosts is used without what can't be read"), h.files...)
	f.newHosts.addTo(db, h.known)
	return db
}

// trust accepts the key of a host that is seen for the first time and keeps it, so
// that another key is refused later.
func (f *Fetcher) trust(ctx context.Context, h *sshHost, key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	f.newHosts.learning.Lock()
	defer f.newHosts.learning.Unlock()
	// Another request can have met the host meanwhile.
	if err := f.knownHosts(ctx, h).Check(h.known, key); !errors.Is(err, hostkeys.ErrUnknown) {
		return err
	}
	f.opts.Logger.InfoContext(ctx, "ssh host is new and trusted from now on", "host", h.known.String(), "key", ssh.FingerprintSHA256(key))
	if h.newHostsFile != "" {
		if err := hostkeys.Append(h.newHostsFile, h.known, key, h.HashKnownHosts); err != nil {
			f.warn(ctx, "known_hosts can't be written; a new host is known until this process ends")(h.newHostsFile, err)
		}
	}
	if f.knownHosts(ctx, h).Check(h.known, key) == nil {
		return nil
	}
	return f.newHosts.add(h.known, key)
}

// newHosts are hosts whose keys could not be written.
type newHosts struct {
	learning sync.Mutex // held while a host's key is accepted and written

	mu   sync.Mutex
	keys map[string]ssh.PublicKey
}

// maxNewHosts bounds the hosts that are known in memory only.
const maxNewHosts = 1000

func (n *newHosts) add(h hostkeys.Host, key ssh.PublicKey) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.keys) >= maxNewHosts {
		return errors.New("too many new hosts whose keys can't be written to known_hosts")
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

// errUnknownHost says that known_hosts has no key of a host.
var errUnknownHost = errors.New("its host key is not in known_hosts")

func (h *sshHost) unknownHostError() error {
	return fmt.Errorf("%s can't be trusted by ssh: %w; add the key, after comparing its fingerprint with what the host's owner says, "+
		"to known_hosts of the user that this server runs as, or set StrictHostKeyChecking accept-new in the configuration of ssh", h.name, errUnknownHost)
}
