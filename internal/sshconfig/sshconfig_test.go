package sshconfig_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/sshconfig"
)

// configs are configurations, as a file of the user.
var configs = []string{
	"",
	"Host git.test\n  HostName real.test\n  Port 2222\n  User git\n",
	"host=git.test\nHOSTNAME = \"real.test\" # why\nport=2222\n",
	"User first\nHost git.test\n  User second\n  Port 1\nHost *\n  Port 2\n",
	"Host *.test !git.test\n  User a\nHost ?it.test\n  User b\n",
	"Host other.test git.*\n  HostName %h.corp.test\nMatch host git.test.corp.test\n  User corp\nMatch host git.test\n  Port 5\n",
	"Match originalhost git.test,x user me\n  Port 7\n",
	"Match originalhost git.test !user me\n  Port 7\n",
	"Match all\n  Port 8\n",
	"Match !originalhost other.test\n  Port 9\n",
	"Include extra\nPort 3\n",
	"Host other.test\n  Include extra\nHost *\n  Port 3\n",
	"Include missing extra*\n",
	"IdentityFile ~/.ssh/one\nIdentityFile /keys/%h-%r\nIdentitiesOnly yes\nHostName real.test\nUser git\n",
	"HostKeyAlias alias.test\nUserKnownHostsFile /a /b\nGlobalKnownHostsFile /c\n",
	"ProxyJump jump.test\n",
	"ProxyCommand none\nProxyJump jump.test\n",
	"ProxyJump me@a.test:2222,b.test\nProxyCommand nc %h\n",
	"ProxyCommand nc -X 5 x:1\n",
	"ProxyJump none\n",
	"StrictHostKeyChecking accept-new\nHashKnownHosts yes\nCertificateFile /keys/id-cert.pub\nCertificateFile /keys/other-cert.pub\n",
	"StrictHostKeyChecking no\nHashKnownHosts no\n",
	"Host x\nStrictHostKeyChecking no\nHost git.test\nStrictHostKeyChecking yes\n",
	"IdentityAgent /run/agent\n",
}

// What Lookup finds is what ssh finds.
func TestLookupAsSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skipf("there is no ssh to compare with: %v", err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	write("extra", "User extra\nHost *.test\n  Port 4\n")
	me := strings.TrimSpace(run(t, "id", "-un"))
	home := strings.TrimSpace(run(t, "sh", "-c", "echo ~"+me))
	for _, text := range configs {
		// Ssh looks for what is included by a relative name in ~/.ssh.
		text = strings.ReplaceAll(text, "extra", filepath.Join(dir, "extra"))
		text = strings.ReplaceAll(text, "user me", "user "+me)
		name := write("config", text)
		want := make(map[string][]string)
		for line := range strings.Lines(run(t, "ssh", "-G", "-F", name, "git.test")) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			want[key] = append(want[key], value)
		}
		h, err := sshconfig.Lookup(sshconfig.Question{Host: "git.test", LocalUser: me, Home: home}, sshconfig.File{Name: name, Dir: dir})
		require.NoError(t, err)
		one := func(key, got, unset string) {
			if got == "" {
				got = unset
			}
			assert.Equal(t, strings.Join(want[key], "|"), got, "%s of\n%s", key, text)
		}
		one("hostname", h.HostName, "")
		one("port", h.Port, "22")
		one("user", h.User, me)
		one("hostkeyalias", h.HostKeyAlias, "")
		one("identitiesonly", map[bool]string{true: "yes", false: "no"}[h.IdentitiesOnly], "")
		one("identityagent", h.IdentityAgent, "")
		one("proxyjump", h.ProxyJump, "")
		one("proxycommand", h.ProxyCommand, "")
		one("certificatefile", strings.Join(h.Certificates, "|"), "")
		one("hashknownhosts", map[bool]string{true: "yes", false: "no"}[h.HashKnownHosts], "")
		strict := map[string]string{"": "ask", "yes": "true", "no": "false", "off": "false"}
		if s, ok := strict[h.StrictHostKeys]; ok {
			h.StrictHostKeys = s
		}
		one("stricthostkeychecking", h.StrictHostKeys, "")
		if h.UserKnownHosts != nil {
			one("userknownhostsfile", strings.Join(h.UserKnownHosts, " "), "")
			one("globalknownhostsfile", strings.Join(h.GlobalKnown, " "), "")
		}
		if h.IdentityFiles != nil {
			files := strings.ReplaceAll(strings.Join(want["identityfile"], "|"), "~", home)
			files = strings.NewReplacer("%h", "real.test", "%r", "git").Replace(files)
			assert.Equal(t, files, strings.Join(h.IdentityFiles, "|"))
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	require.NoError(t, err)
	return string(out)
}

func TestLookupErrors(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "config")
	for text, want := range map[string]string{
		"Host \"git.test\n": "line 1",
		"Include config\n":  "include each other",
		"Include [\n":       "Include",
		"Include " + strings.Repeat("config ", 200): "files",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		_, err := sshconfig.Lookup(sshconfig.Question{Host: "git.test"}, sshconfig.File{Name: name, Dir: dir})
		assert.ErrorContains(t, err, want)
	}
	h, err := sshconfig.Lookup(sshconfig.Question{Host: "Git.Test", User: "me"}, sshconfig.File{Name: filepath.Join(dir, "missing"), Dir: dir})
	require.NoError(t, err)
	assert.Equal(t, &sshconfig.Host{HostName: "git.test", User: "me"}, h)
}

// A file that can't be read is reported and otherwise absent, also one that another
// includes.
func TestLookupWarns(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "config")
	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, []byte(strings.Repeat("#", sshconfig.MaxSize+1)), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for text, want := range map[string]string{
		"Include folder\nPort 2222\n":  filepath.Join(dir, "folder"),
		"Include large\nPort 2222\n":   large,
		"Include missing\nPort 2222\n": "",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		said := ""
		warn := func(file string, err error) { assert.Error(t, err); said += file }
		h, err := sshconfig.Lookup(sshconfig.Question{Host: "git.test", Warn: warn}, sshconfig.File{Name: name, Dir: dir})
		require.NoError(t, err)
		assert.Equal(t, "2222", h.Port)
		assert.Equal(t, want, said)
	}
}

func FuzzLookup(f *testing.F) {
	for _, text := range configs {
		f.Add(text, "git.test")
	}
	f.Add("Host ****************a\nUser x\n", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
	f.Fuzz(func(t *testing.T, text, host string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return // would read what is outside of the test
		}
		dir := t.TempDir()
		name := filepath.Join(dir, "config")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := sshconfig.Lookup(sshconfig.Question{Host: host}, sshconfig.File{Name: name, Dir: dir})
		if (h == nil) == (err == nil) {
			t.Errorf("%v, %v", h, err)
		}
	})
}
