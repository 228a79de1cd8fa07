package fetcher_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// httpPage makes an internet's host answer with a go-import page.
func httpPage(n *modtest.Internet, path, vcs, repo string) {
	n.Handle(path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `<meta name="go-import" content="%s %s %s">`, path, vcs, repo)
	}))
}

// sshWorld is a module git.test/simple whose page names a repository on an ssh
// server, and a Fetcher for which that is private.
type sshWorld struct {
	*modtest.Internet
	server *sshServer
	home   *sshHome
	repo   *modtest.Repo
}

func newSSHWorld(t *testing.T, url string, hostKey any) *sshWorld {
	t.Helper()
	repo := modtest.Ready(t, "simple")[0]
	w := &sshWorld{modtest.NewInternet(t), newSSHServer(t, hostKey), newSSHHome(t), repo}
	httpPage(w.Internet, "git.test/simple", "git", url)
	w.server.add("/team/simple", repo)
	w.home.reach("code.test", w.server)
	return w
}

func (w *sshWorld) fetcher(t *testing.T) *fetcher.Fetcher {
	return newFetcher(t, w.Internet, func(o *fetcher.Options) {
		o.SSHDir = w.home.dir
		o.Private = "*"
	})
}

// Whatever kind of key the host and the user have, they find each other.
func TestSSHKeys(t *testing.T) {
	for name, keys := range map[string]struct {
		host, user any
		file       string
	}{
		"ed25519": {newEd25519(t), newEd25519(t), "id_ed25519"},
		"ecdsa":   {newECDSA(t), newECDSA(t), "id_ecdsa"},
		"rsa":     {newRSA(t), newRSA(t), "id_rsa"},
		"mixed":   {newRSA(t), newECDSA(t), "id_ed25519"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, "ssh://git@code.test/team/simple", keys.host)
			w.server.allow(w.home.key(keys.file, keys.user, ""))
			got, err := modtest.FetchAll(t, w.fetcher(t), "git.test/simple", "v1.1.0")
			require.NoError(t, err)
			assert.Equal(t, "ssh://git@code.test/team/simple", got.Info.Origin.URL)
			want := "git git-upload-pack '/team/simple'"
			assert.Equal(t, []string{want, want}, w.server.sessions(), "one for the list, one for the pack")
			w.server.requireClosed(t)
		})
	}
}

// What comes by ssh is what the go command gets by ssh, history and all.
func TestSSHEqualsGo(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skipf("the go command needs ssh: %v", err)
	}
	w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
	w.server.allow(w.home.key("id_ed25519", newEd25519(t), ""))
	config := filepath.Join(w.home.dir, "config")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	w.home.write("config", string(text)+"Host *\n  IdentityFile "+w.home.dir+"/id_ed25519\n  UserKnownHostsFile "+w.home.dir+"/known_hosts\n  BatchMode yes\n")
	f := w.fetcher(t)
	for _, query := range []string{"v1.0.0", "v1.2.0", "latest", "main", w.repo.Hash("v1.0.0")[:12], "v9.0.0"} {
		goCmd := modtest.NewGo(t, w.Internet)
		goCmd.Set("GIT_SSH_COMMAND=" + program + " -F " + config)
		want := goCmd.Download("git.test/simple@" + query)[0]
		got, err := f.Resolve(t.Context(), "git.test/simple", query)
		if want.Error != "" {
			assert.Error(t, err, want.Error)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, want.Version, got.Version)
		assert.Equal(t, modtest.JSON(t, modtest.Info{Version: want.Version, Time: want.Stored.Time, Origin: want.Origin}), modtest.JSON(t, got))
		files, err := modtest.FetchAll(t, f, "git.test/simple", got.Version)
		require.NoError(t, err)
		assert.Equal(t, want.Sum, files.Sum)
	}
}

// The forms of URLs that mean ssh.
func TestSSHURLs(t *testing.T) {
	user := newEd25519(t)
	for name, c := range map[string]struct{ url, ssh, git, user, path string }{
		"git+ssh": {url: "git+ssh://git@code.test/team/simple", user: "git", path: "/team/simple"},
		"home":    {url: "ssh://me@code.test/~them/simple", user: "me", path: "~them/simple"},
		"user":    {url: "ssh://code.test/team/simple", ssh: "Host code.test\n User other\n", user: "other", path: "/team/simple"},
		"quoted":  {url: "ssh://git@code.test/it's%20!a", user: "git", path: `/it'\''s '\!'a`},
		"short":   {url: "https://x.test/simple", git: "[url \"git@code.test:\"]\n insteadOf = https://x.test/\n", user: "git", path: "simple"},
		"bracket": {url: "https://x.test/simple", git: "[url \"git@[code.test]:/\"]\n insteadOf = https://x.test/\n", user: "git", path: "/simple"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, c.url, newEd25519(t))
			w.server.allow(w.home.key("id_ed25519", user, ""))
			w.server.add(c.path, w.repo)
			w.home.write("config", string(read(t, w.home.dir, "config"))+c.ssh)
			f := newFetcher(t, w.Internet, func(o *fetcher.Options) {
				o.SSHDir, o.Private = w.home.dir, "*"
				o.GitConfig = w.home.write("gitconfig", c.git)
			})
			list, err := f.Versions(t.Context(), "git.test/simple")
			require.NoError(t, err)
			assert.Equal(t, []string{"v1.0.0", "v1.1.0", "v1.2.0"}, list)
			assert.Equal(t, []string{c.user + " git-upload-pack '" + c.path + "'"}, w.server.sessions())
		})
	}
}

// A path that ends in .git needs no page. What is not there by https is looked
// for by ssh, where the host is known.
func TestSSHProbe(t *testing.T) {
	w := newSSHWorld(t, "", newEd25519(t))
	w.server.allow(w.home.key("id_ed25519", newEd25519(t), ""))
	w.home.write("config", string(read(t, w.home.dir, "config"))+"  User git\n")
	list, err := w.fetcher(t).Versions(t.Context(), "code.test/team/simple.git")
	require.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0", "v1.1.0", "v1.2.0"}, list)
	assert.Equal(t, []string{"git git-upload-pack '/team/simple'"}, w.server.sessions())

	var missing *athens.MissingError
	_, err = w.fetcher(t).Versions(t.Context(), "code.test/team/other.git")
	require.ErrorAs(t, err, &missing, "no is the answer by both")
	_, err = w.fetcher(t).Versions(t.Context(), "unknown.test/team/other.git")
	require.ErrorAs(t, err, &missing, "a host that known_hosts does not know is not asked")
	w.server.dialed.Store(0)
	t.Setenv("SSH_AUTH_SOCK", "")
	require.NoError(t, os.Remove(filepath.Join(w.home.dir, "id_ed25519")))
	_, err = w.fetcher(t).Versions(t.Context(), "code.test/team/simple.git")
	requireOutage(t, err, "no key is available")
}

// What keys are offered: those of the agent, those in files; and what is said
// when none suffices. Always it is an outage.
func TestSSHLogin(t *testing.T) {
	good, bad, rsaKey := newEd25519(t), newEd25519(t), newRSA(t)
	many := []any{newECDSA(t), newECDSA(t), newECDSA(t), newECDSA(t), newECDSA(t), good}
	for name, c := range map[string]struct {
		setup func(t *testing.T, w *sshWorld)
		err   string
	}{
		"agent":     {setup: func(t *testing.T, _ *sshWorld) { startAgent(t, bad, good) }},
		"agent rsa": {setup: func(t *testing.T, w *sshWorld) { startAgent(t, rsaKey) }},
		"encrypted key in an agent": {setup: func(t *testing.T, w *sshWorld) {
			w.home.write("id_ed25519.pub", string(ssh.MarshalAuthorizedKey(w.home.key("id_ed25519", good, "secret"))))
			startAgent(t, many...)
		}},
		"identity file": {setup: func(t *testing.T, w *sshWorld) {
			w.home.key("other", good, "")
			w.home.write("config", string(read(t, w.home.dir, "config"))+"  IdentityFile "+w.home.dir+"/other\n")
		}},
		"identities only": {setup: func(t *testing.T, w *sshWorld) {
			w.home.write("other.pub", string(ssh.MarshalAuthorizedKey(public(t, good))))
			w.home.write("config", string(read(t, w.home.dir, "config"))+"  IdentitiesOnly yes\n  IdentityFile "+w.home.dir+"/other\n")
			startAgent(t, many...)
		}},
		"identity agent": {setup: func(t *testing.T, w *sshWorld) {
			socket := startAgent(t, good)
			t.Setenv("SSH_AUTH_SOCK", "/nowhere")
			w.home.write("config", string(read(t, w.home.dir, "config"))+"  IdentityAgent "+socket+"\n")
		}},
		"agent gone, but a file": {setup: func(t *testing.T, w *sshWorld) {
			t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "gone"))
			w.home.key("id_ed25519", good, "")
		}},
		"no key":      {setup: func(*testing.T, *sshWorld) {}, err: "no key is available"},
		"wrong key":   {setup: func(t *testing.T, w *sshWorld) { w.home.key("id_rsa", bad, "") }, err: "the only available key was rejected"},
		"agent gone":  {setup: func(t *testing.T, _ *sshWorld) { t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "gone")) }, err: "the ssh agent can't be reached"},
		"agent empty": {setup: func(t *testing.T, _ *sshWorld) { startAgent(t) }, err: "the ssh agent has no key"},
		"encrypted": {setup: func(t *testing.T, w *sshWorld) { w.home.key("id_ed25519", good, "secret") },
			err: "the key id_ed25519 is encrypted; add it to an ssh agent"},
		"garbage": {setup: func(_ *testing.T, w *sshWorld) { w.home.write("id_ed25519", "no key") }, err: "malformed or of an unsupported type"},
		"agent off": {setup: func(t *testing.T, w *sshWorld) {
			startAgent(t, good)
			w.home.write("config", string(read(t, w.home.dir, "config"))+"  IdentityAgent none\n")
		}, err: "no key is available"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
			w.server.allow(public(t, good))
			w.server.allow(public(t, rsaKey))
			c.setup(t, w)
			_, err := w.fetcher(t).Versions(t.Context(), "git.test/simple")
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			requireOutage(t, err, c.err)
			assert.NotContains(t, err.Error(), w.home.dir)
			w.server.requireClosed(t)
		})
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return data
}

// requireOutage checks that an error is none that a go command would take for
// "there is no such module".
func requireOutage(t *testing.T, err error, text string) {
	t.Helper()
	var outage *athens.UnavailableError
	require.ErrorAs(t, err, &outage)
	require.ErrorContains(t, err, text)
	assert.False(t, athens.Final(err))
}

// The host must be known, or nothing is said to it.
func TestSSHKnownHosts(t *testing.T) {
	host, user := newEd25519(t), newEd25519(t)
	for name, c := range map[string]struct {
		known  func(t *testing.T, w *sshWorld) string
		config string
		err    string
		dialed int64
	}{
		"hashed": {known: func(t *testing.T, w *sshWorld) string {
			return line(t, w, knownhosts.HashHostname(knownhosts.Normalize(w.server.addr)))
		}, dialed: 1},
		"wildcard": {known: func(t *testing.T, w *sshWorld) string { return line(t, w, "*") }, dialed: 1},
		"among others": {known: func(t *testing.T, w *sshWorld) string {
			return "# mine\n\n" + knownhosts.Line([]string{w.server.addr}, public(t, newRSA(t))) + "\n" + line(t, w, knownhosts.Normalize(w.server.addr))
		}, dialed: 1},
		"alias": {known: func(t *testing.T, w *sshWorld) string { return line(t, w, "alias.test") }, config: "  HostKeyAlias alias.test\n", dialed: 1},
		"unknown": {known: func(t *testing.T, w *sshWorld) string { return line(t, w, "other.test") },
			err: "its host key is not in known_hosts; compare the key's fingerprint"},
		"no file": {known: func(*testing.T, *sshWorld) string { return "" }, err: "its host key is not in known_hosts"},
		"wrong key": {known: func(t *testing.T, w *sshWorld) string {
			return knownhosts.Line([]string{w.server.addr}, public(t, newEd25519(t)))
		}, err: "is not the one in known_hosts", dialed: 1},
		"revoked": {known: func(t *testing.T, w *sshWorld) string {
			return line(t, w, knownhosts.Normalize(w.server.addr)) + "\n@revoked " + line(t, w, "*")
		}, err: "is revoked", dialed: 1},
		"broken": {known: func(t *testing.T, w *sshWorld) string { return "git.test ssh-ed25519 ???" }, err: "its host key is not in known_hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, "ssh://git@code.test/team/simple", host)
			w.server.allow(w.home.key("id_ed25519", user, ""))
			if text := c.known(t, w); text != "" {
				w.home.write("known_hosts", text+"\n")
			} else {
				require.NoError(t, os.Remove(filepath.Join(w.home.dir, "known_hosts")))
			}
			w.home.write("config", string(read(t, w.home.dir, "config"))+c.config)
			_, err := w.fetcher(t).Versions(t.Context(), "git.test/simple")
			if c.err == "" {
				require.NoError(t, err)
			} else {
				requireOutage(t, err, c.err)
			}
			assert.Equal(t, c.dialed, w.server.dialed.Load(), "connections")
		})
	}
}

func line(t *testing.T, w *sshWorld, host string) string {
	t.Helper()
	return host + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(w.server.key.PublicKey())))
}

// What goes wrong on the server or on the way is an outage that says so.
func TestSSHOutages(t *testing.T) {
	user := newEd25519(t)
	for name, c := range map[string]struct {
		setup func(t *testing.T, w *sshWorld)
		err   string
	}{
		"no repository": {func(_ *testing.T, w *sshWorld) { w.server.add("/team/simple", nil) }, "the server says: remote: ERROR: Repository not found. Please make sure you have the access rights."},
		"refused": {func(_ *testing.T, w *sshWorld) {
			w.home.write("config", "Host code.test\n HostName 127.0.0.1\n Port 1\n")
			w.home.write("known_hosts", "[127.0.0.1]:1 "+strings.SplitN(lineOf(w), " ", 2)[1])
		}, "refused"},
		"proxy jump": {func(t *testing.T, w *sshWorld) { w.home.write("config", "ProxyCommand x\n") }, "ProxyCommand for code.test, which is not supported"},
		"says nothing": {func(_ *testing.T, w *sshWorld) {
			w.server.run = func(ssh.Channel, *exec.Cmd) error { return nil }
		}, "the server ended the connection"},
		"garbage": {func(_ *testing.T, w *sshWorld) {
			w.server.run = func(ch ssh.Channel, _ *exec.Cmd) error {
				_, err := ch.Write([]byte("Welcome to my server!\r\n"))
				return err
			}
		}, "code.test"},
		"error line": {func(_ *testing.T, w *sshWorld) {
			w.server.run = func(ch ssh.Channel, _ *exec.Cmd) error {
				_, err := ch.Write([]byte("0011ERR go\x1b away\n"))
				return err
			}
		}, "the server says: go away"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
			w.server.allow(w.home.key("id_ed25519", user, ""))
			c.setup(t, w)
			_, err := w.fetcher(t).Versions(t.Context(), "git.test/simple")
			requireOutage(t, err, c.err)
		})
	}
	t.Run("off", func(t *testing.T) {
		n := modtest.NewInternet(t)
		httpPage(n, "git.test/simple", "git", "ssh://git@code.test/team/simple")
		_, err := newFetcher(t, n, func(o *fetcher.Options) { o.SSHDir = "none" }).Versions(t.Context(), "git.test/simple")
		requireOutage(t, err, "ssh is turned off by Options.SSHDir")
	})
}

func lineOf(w *sshWorld) string {
	return knownhosts.Line([]string{w.server.addr}, w.server.key.PublicKey())
}

// A server that answers nothing, at whatever point, holds nobody up for longer
// than the time allowed, and no connection stays.
func TestSSHHangs(t *testing.T) {
	user := newEd25519(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for name, setup := range map[string]func(t *testing.T, w *sshWorld){
		"no greeting": func(_ *testing.T, w *sshWorld) {
			_, port, _ := net.SplitHostPort(silent.Addr().String())
			w.home.write("config", "Host code.test\n HostName 127.0.0.1\n Port "+port+"\n")
			w.home.write("known_hosts", knownhosts.Line([]string{silent.Addr().String()}, w.server.key.PublicKey()))
		},
		"no list": func(_ *testing.T, w *sshWorld) {
			w.server.run = func(ch ssh.Channel, _ *exec.Cmd) error { _, err := ch.Read(make([]byte, 1)); return err }
		},
		"agent": func(t *testing.T, _ *sshWorld) {
			dir := socketDir(t)
			l, err := net.Listen("unix", filepath.Join(dir, "sock"))
			require.NoError(t, err)
			t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
			t.Setenv("SSH_AUTH_SOCK", l.Addr().String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
			w.server.allow(w.home.key("id_ed25519", user, ""))
			setup(t, w)
			f := newFetcher(t, w.Internet, func(o *fetcher.Options) {
				o.SSHDir, o.PageTimeout = w.home.dir, 300*time.Millisecond
				o.Private = "*"
			})
			_, err := f.Versions(t.Context(), "git.test/simple")
			requireOutage(t, err, "")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			w.server.requireClosed(t)
		})
	}
}

// A list without end, and a pack without end, are cut off.
func TestSSHEndless(t *testing.T) {
	w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
	w.server.allow(w.home.key("id_ed25519", newEd25519(t), ""))
	w.server.run = func(ch ssh.Channel, _ *exec.Cmd) error {
		for i := 0; ; i++ {
			ref := fmt.Sprintf("%040x refs/heads/b%09d\n", i+1, i)
			if i == 0 {
				ref = fmt.Sprintf("%040x refs/heads/b%09d\x00\n", i+1, i)
			}
			if _, err := fmt.Fprintf(ch, "%04x%s", len(ref)+4, ref); err != nil {
				return err
			}
		}
	}
	f := newFetcher(t, w.Internet, func(o *fetcher.Options) {
		o.SSHDir, o.MaxRefsBytes, o.Private = w.home.dir, 100_000, "*"
	})
	_, err := f.Versions(t.Context(), "git.test/simple")
	var invalid *athens.InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.ErrorContains(t, err, "too large")
}

// An agent's socket that is gone is fs.ErrNotExist, but no "not found".
func TestSSHAgentGoneIsNoMissing(t *testing.T) {
	w := newSSHWorld(t, "ssh://git@code.test/team/simple", newEd25519(t))
	t.Setenv("SSH_AUTH_SOCK", "/gone/agent.sock") // a socket's name must be short
	_, err := w.fetcher(t).Resolve(t.Context(), "git.test/simple", "latest")
	requireOutage(t, err, "no such file")
	assert.NotErrorIs(t, err, fs.ErrNotExist)
}
