package fetcher_test

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
)

// logBook is a log that a test reads.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// logged is a Fetcher of w that writes to a log.
func (w *sshWorld) logged(t *testing.T, log *logBook) *fetcher.Fetcher {
	return newFetcher(t, w.Internet, func(o *fetcher.Options) {
		o.SSHDir, o.Private, o.Logger = w.home.dir, "*", log.logger()
	})
}

func newLoggedInWorld(t *testing.T) *sshWorld {
	t.Helper()
	w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
	w.server.allow(w.home.key("id_ed25519", newEd25519(t), ""))
	return w
}

// A line of known_hosts that can't be understood stops no other host, and is logged
// once.
func TestSSHOddKnownHosts(t *testing.T) {
	for name, odd := range map[string]string{
		"first version":  "old.test 1024 35 1234567890",
		"future type":    "new.test ssh-falcon AAAACnNzaC1mYWxjb24AAAABAQ==",
		"unknown marker": "@trusted new.test ssh-ed25519 AAAA",
		"broken base64":  "git.test ssh-ed25519 ???",
		"long line":      "git.test ssh-ed25519 AAAA " + strings.Repeat("x", 1<<20),
		"NUL":            "git.test \x00 ssh-ed25519",
	} {
		t.Run(name, func(t *testing.T) {
			w := newLoggedInWorld(t)
			w.home.write("known_hosts", odd+"\r\n"+string(read(t, w.home.dir, "known_hosts")))
			var log logBook
			f := w.logged(t, &log)
			for _, query := range []string{"v1.0.0", "v1.1.0"} {
				_, err := f.Resolve(t.Context(), "git.test/simple", query)
				require.NoError(t, err)
			}
			assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
			assert.Contains(t, log.String(), "file="+filepath.Join(w.home.dir, "known_hosts"))
			assert.Contains(t, log.String(), "line 1 is skipped")
		})
	}
}

// StrictHostKeyChecking accept-new trusts a host the first time and refuses another
// key later; "no" means the same here, and "yes" and "ask" trust nobody.
func TestSSHStrictHostKeyChecking(t *testing.T) {
	for setting, accepted := range map[string]bool{"accept-new": true, "no": true, "off": true, "yes": false, "ask": false} {
		t.Run(setting, func(t *testing.T) {
			w := newLoggedInWorld(t)
			known := filepath.Join(w.home.dir, "known_hosts")
			require.NoError(t, os.Remove(known))
			config := string(read(t, w.home.dir, "config"))
			set := "  StrictHostKeyChecking " + setting + "\n  HostKeyAlias code.test\n  HashKnownHosts no\n"
			w.home.write("config", config+set)
			_, err := w.fetcher(t).Versions(t.Context(), "git.test/simple")
			if !accepted {
				requireOutage(t, err, "StrictHostKeyChecking accept-new")
				assert.NoFileExists(t, known)
				assert.Zero(t, w.server.dialed.Load())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, line(t, w, "code.test")+"\n", string(read(t, w.home.dir, "known_hosts")))
			_, err = w.fetcher(t).Versions(t.Context(), "git.test/simple")
			require.NoError(t, err)
			assert.Equal(t, 1, bytes.Count(read(t, w.home.dir, "known_hosts"), []byte("\n")), "it is written once")

			other := newSSHServer(t, newEd25519(t))
			w.home.reach("code.test", other)
			w.home.write("config", string(read(t, w.home.dir, "config"))+set)
			w.home.write("known_hosts", line(t, w, "code.test")+"\n")
			_, err = w.fetcher(t).Versions(t.Context(), "git.test/simple")
			requireOutage(t, err, "the host key of code.test is not the one in known_hosts")
			assert.Empty(t, other.sessions())
		})
	}
}

// A new host is written with its name hashed if HashKnownHosts says so. Where
// known_hosts can't be written, the host is known to the process.
func TestSSHAcceptNewKeeps(t *testing.T) {
	w := newLoggedInWorld(t)
	config := string(read(t, w.home.dir, "config")) + "  StrictHostKeyChecking accept-new\n  HostKeyAlias code.test\n"
	w.home.write("config", config+"  HashKnownHosts yes\n")
	require.NoError(t, os.Remove(filepath.Join(w.home.dir, "known_hosts")))
	_, err := w.fetcher(t).Versions(t.Context(), "git.test/simple")
	require.NoError(t, err)
	assert.Regexp(t, `^\|1\|\S+\|\S+ ssh-ed25519 \S+\n$`, string(read(t, w.home.dir, "known_hosts")))

	other := newSSHServer(t, newEd25519(t))
	for name, file := range map[string]string{"folder": w.home.dir, "none": "none", "null": os.DevNull} {
		t.Run(name, func(t *testing.T) {
			set := "  UserKnownHostsFile " + file + "\n"
			w.home.write("config", config+set)
			var log logBook
			f := newFetcher(t, w.Internet, func(o *fetcher.Options) {
				o.SSHDir, o.Private, o.RefsTTL, o.Logger = w.home.dir, "*", 1, log.logger()
			})
			_, err := f.Versions(t.Context(), "git.test/simple")
			require.NoError(t, err)
			assert.Contains(t, log.String(), "new ssh host is trusted")
			_, port, err := net.SplitHostPort(other.addr)
			require.NoError(t, err)
			w.home.write("config", "Host code.test\n  HostName 127.0.0.1\n  Port "+port+"\n  StrictHostKeyChecking accept-new\n  HostKeyAlias code.test\n"+set)
			_, err = f.Versions(t.Context(), "git.test/simple")
			requireOutage(t, err, "is not the one in known_hosts")
		})
	}
}

func certify(t *testing.T, authority, key ssh.Signer, kind uint32, principal string) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: kind, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity}
	require.NoError(t, cert.SignCert(rand.Reader, authority))
	signer, err := ssh.NewCertSigner(cert, key)
	require.NoError(t, err)
	return signer
}

// A host may show a certificate of an authority that known_hosts names, and a user's
// certificate beside the key is offered.
func TestSSHCertificates(t *testing.T) {
	authority, err := ssh.NewSignerFromKey(newEd25519(t))
	require.NoError(t, err)
	for name, c := range map[string]struct{ principal, marker, err string }{
		"good":    {"code.test", "@cert-authority code.test", ""},
		"other":   {"other.test", "@cert-authority code.test", "principal"},
		"revoked": {"code.test", "@revoked * " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(authority.PublicKey()))) + "\n@cert-authority code.test", "is revoked"},
		"unknown": {"code.test", "@cert-authority other.test", "its host key is not in known_hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
			w.server.show(certify(t, authority, w.server.key, ssh.HostCert, c.principal))
			w.home.write("known_hosts", c.marker+" "+string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
			w.home.write("config", string(read(t, w.home.dir, "config"))+"  HostKeyAlias code.test\n")
			user := newEd25519(t)
			w.home.key("id_ed25519", user, "")
			signer, err := ssh.NewSignerFromKey(user)
			require.NoError(t, err)
			cert := certify(t, authority, signer, ssh.UserCert, "git").PublicKey()
			w.home.write("id_ed25519-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
			w.server.allow(cert)
			_, err = w.fetcher(t).Versions(t.Context(), "git.test/simple")
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			requireOutage(t, err, c.err)
		})
	}
}

// ProxyJump leads to a host through others.
func TestSSHProxyJump(t *testing.T) {
	w := newLoggedInWorld(t)
	user := read(t, w.home.dir, "id_ed25519")
	key, err := ssh.ParsePrivateKey(user)
	require.NoError(t, err)
	target, targetKnown := string(read(t, w.home.dir, "config")), string(read(t, w.home.dir, "known_hosts"))
	var hops [2]*sshServer
	config, known := "", targetKnown
	for i, name := range []string{"hop1.test", "hop2.test"} {
		hops[i] = newSSHServer(t, newEd25519(t))
		hops[i].allow(key.PublicKey())
		w.home.reach(name, hops[i])
		config += string(read(t, w.home.dir, "config"))
		known += string(read(t, w.home.dir, "known_hosts"))
	}
	w.home.write("known_hosts", known)
	for _, c := range []struct {
		jump string
		used [2]int64
		err  string
	}{
		{"hop1.test", [2]int64{1, 0}, ""},
		{"hop1.test,me@hop2.test", [2]int64{1, 1}, ""},
		{"ssh://hop2.test", [2]int64{0, 1}, ""},
		{"nowhere.test", [2]int64{}, "ssh does not trust nowhere.test"},
		{"a/b", [2]int64{}, "ProxyJump is not"},
		{"code.test", [2]int64{}, "through more than 8 hosts"},
	} {
		hops[0].dialed.Store(0)
		hops[1].dialed.Store(0)
		w.home.write("config", config+target+"  ProxyJump "+c.jump+"\n")
		_, err := w.fetcher(t).Versions(t.Context(), "git.test/simple")
		if c.err == "" {
			require.NoError(t, err, c.jump)
		} else {
			requireOutage(t, err, c.err)
		}
		assert.Equal(t, c.used, [2]int64{hops[0].dialed.Load(), hops[1].dialed.Load()}, c.jump)
		w.server.requireClosed(t)
		hops[0].requireClosed(t)
		hops[1].requireClosed(t)
	}
	w.server.dialed.Store(0)
	w.home.write("config", config+target+"  ProxyJump hop1.test\n")
	f := newFetcher(t, w.Internet, func(o *fetcher.Options) { o.SSHDir, o.Private = w.home.dir, "none.test" })
	_, err = f.Versions(t.Context(), "git.test/simple")
	var blocked *athens.BlockedError
	require.ErrorAs(t, err, &blocked, "a public path leads to no address inside, by no way")
	assert.Zero(t, w.server.dialed.Load())
}
