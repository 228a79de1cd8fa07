package hostkeys_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
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

	"github.com/athens-go/athens/fetcher/internal/hostkeys"
)

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return s
}

func text(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }

func load(t *testing.T, content string) (db *hostkeys.DB, said []string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return hostkeys.Load(func(file string, err error) {
		assert.Equal(t, name, file)
		said = append(said, err.Error())
	}, name), said
}

// A line that can't be understood vouches for no host, and all others count.
func TestOddLines(t *testing.T) {
	good, other := newKey(t).PublicKey(), newKey(t).PublicKey()
	for name, c := range map[string]struct {
		odd   string
		known bool // odd.test
		said  string
	}{
		"first version":         {odd: "odd.test 1024 35 1234567890123456789", said: "line 2 is skipped: its key is not in base64"},
		"future type":           {odd: "odd.test ssh-falcon AAAACnNzaC1mYWxjb24AAAABAQ==", said: "line 2 is skipped: its key is of a type"},
		"unknown marker":        {odd: "@trusted odd.test " + text(good), said: "line 2 is skipped: its marker"},
		"two markers":           {odd: "@revoked @cert-authority odd.test " + text(good), said: "line 2 is skipped"},
		"broken base64":         {odd: "odd.test ssh-ed25519 ???", said: "line 2 is skipped: its key is not in base64"},
		"cut off":               {odd: "odd.test " + text(good)[:40], said: "line 2 is skipped"},
		"another type":          {odd: "odd.test " + strings.Replace(text(good), "ssh-ed25519", "ssh-rsa", 1), said: "another type"},
		"one word":              {odd: "odd.test", said: "line 2 is skipped: it lacks a key"},
		"only a marker":         {odd: "@revoked", said: "line 2 is skipped: it lacks a key"},
		"hash":                  {odd: "|1|AAAA|BBBB " + text(good), said: "line 2 is skipped: its hashed name"},
		"future hash":           {odd: "|2|AAAA|BBBB " + text(good), said: "line 2 is skipped: its hashed name"},
		"byte order mark":       {odd: "\ufeffodd.test " + text(good), said: "line 2 is skipped: it begins with a byte order mark"},
		"a line of a megabyte":  {odd: "odd.test " + text(good) + " " + strings.Repeat("x", 1<<20), said: "line 2 is skipped: it is longer"},
		"NUL before the key":    {odd: "odd.test \x00" + text(good), said: "line 2 is skipped: it lacks a key"},
		"NUL bytes":             {odd: "\x00\x00\x00"},
		"NUL in the comment":    {odd: "odd.test " + text(good) + " me\x00you", known: true},
		"not UTF-8":             {odd: "\xff\xfeodd.test ssh-rsa \xff", said: "line 2 is skipped"},
		"comment not UTF-8":     {odd: "odd.test " + text(good) + " \xff\xfe", known: true},
		"carriage return":       {odd: "odd.test " + text(good) + "\r", known: true},
		"empty with CR":         {odd: "\r"},
		"tabs and spaces":       {odd: " \t odd.test\t\t" + text(good) + "  me", known: true},
		"long comment":          {odd: "odd.test " + text(good) + " " + strings.Repeat("word ", 5000), known: true},
		"negation of nothing":   {odd: "!,odd.test " + text(good), known: true},
		"capitals":              {odd: "ODD.Test " + text(good), known: true},
		"port without brackets": {odd: "odd.test:2222 " + text(good)},
	} {
		t.Run(name, func(t *testing.T) {
			db, said := load(t, "before.test "+text(good)+"\n"+c.odd+"\nafter.test "+text(good)+"\n")
			for _, host := range []string{"before.test", "after.test"} {
				assert.NoError(t, db.Check(hostkeys.Host{Name: host}, good))
				assert.ErrorIs(t, db.Check(hostkeys.Host{Name: host}, other), hostkeys.ErrChanged)
			}
			odd := hostkeys.Host{Name: "odd.test"}
			assert.Equal(t, c.known, db.Knows(odd))
			if !c.known {
				assert.ErrorIs(t, db.Check(odd, good), hostkeys.ErrUnknown)
			}
			if c.said == "" {
				assert.Empty(t, said)
				return
			}
			require.Len(t, said, 1)
			assert.Contains(t, said[0], c.said)
			assert.Less(t, len(said[0]), 200)
		})
	}
	_, said := load(t, strings.Repeat("odd\n", 1000))
	require.Len(t, said, 1, "one warning for a file")
	assert.Contains(t, said[0], "line 10 is skipped: it lacks a key; and 990 more")
}

// Names are matched as ssh-keygen -F matches them.
func TestNamesAsOpenSSH(t *testing.T) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skipf("there is no ssh-keygen to compare with: %v", err)
	}
	key := newKey(t).PublicKey()
	hosts := []hostkeys.Host{
		{Name: "git.test"}, {Name: "git.test", Port: "22"}, {Name: "git.test", Port: "2222"}, {Name: "Git.Test"}, {Name: "a.git.test"},
		{Name: "127.0.0.1"}, {Name: "::1"}, {Name: "::1", Port: "2222"}, {Name: "other.test"},
	}
	for _, pattern := range []string{
		"git.test", "GIT.test", "[git.test]:2222", "[git.test]:22", "git.test:2222", "*", "*.test", "*.test,!git.test", "!git.test,*.test",
		"!git.test", "g?t.test", "[*]:2222", "[git.*]:*", "127.0.0.1,::1", "[::1]:2222", "other.test,,git.test", "*git*", "",
		knownhosts.HashHostname("git.test"), knownhosts.HashHostname("[git.test]:2222"), knownhosts.HashHostname("GIT.test"), "|1|x|y",
	} {
		name := filepath.Join(t.TempDir(), "known_hosts")
		require.NoError(t, os.WriteFile(name, []byte(pattern+" "+text(key)+"\n"), 0o600))
		db := hostkeys.Load(nil, name)
		for _, h := range hosts {
			find := func(h hostkeys.Host) bool {
				out, _ := exec.Command(program, "-F", h.String(), "-f", name).Output()
				return strings.Contains(string(out), "found")
			}
			// Like ssh, a DB falls back to the name without the port.
			want := find(h) || find(hostkeys.Host{Name: h.Name})
			assert.Equal(t, want, db.Knows(h), "%q for %s", pattern, h)
			assert.Equal(t, want, db.Check(h, key) == nil, "%q for %s", pattern, h)
		}
	}
}

// A certificate is good if an authority for the host has signed it, for this host and
// this time.
func TestCertificates(t *testing.T) {
	authority, stranger, host := newKey(t), newKey(t), newKey(t)
	now := uint64(time.Now().Unix())
	for name, c := range map[string]struct {
		lines  string
		change func(*ssh.Certificate)
		signer ssh.Signer
		err    string
	}{
		"good":                {lines: "@cert-authority *.test " + text(authority.PublicKey())},
		"any host":            {lines: "@cert-authority *.test " + text(authority.PublicKey()), change: func(c *ssh.Certificate) { c.ValidPrincipals = nil }},
		"another host":        {lines: "@cert-authority *.test " + text(authority.PublicKey()), change: func(c *ssh.Certificate) { c.ValidPrincipals = []string{"x.test"} }, err: "principal"},
		"expired":             {lines: "@cert-authority *.test " + text(authority.PublicKey()), change: func(c *ssh.Certificate) { c.ValidBefore = now - 60 }, err: "expired"},
		"user's":              {lines: "@cert-authority *.test " + text(authority.PublicKey()), change: func(c *ssh.Certificate) { c.CertType = ssh.UserCert }, err: "type"},
		"authority elsewhere": {lines: "@cert-authority *.corp " + text(authority.PublicKey()), err: "not in known_hosts"},
		"stranger":            {lines: "@cert-authority *.test " + text(authority.PublicKey()), signer: stranger, err: "not in known_hosts"},
		"no authority":        {lines: "[git.test]:2222 " + text(authority.PublicKey()), err: "not the one"},
		"known key":           {lines: "git.test " + text(host.PublicKey()), signer: stranger},
		"revoked key":         {lines: "@cert-authority * " + text(authority.PublicKey()) + "\n@revoked * " + text(host.PublicKey()), err: "revoked"},
		"revoked authority":   {lines: "@cert-authority * " + text(authority.PublicKey()) + "\n@revoked * " + text(authority.PublicKey()), err: "revoked"},
		"with a port":         {lines: "@cert-authority [git.test]:2222 " + text(authority.PublicKey())},
	} {
		t.Run(name, func(t *testing.T) {
			cert := &ssh.Certificate{Key: host.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"git.test"}, ValidAfter: now - 3600, ValidBefore: now + 3600}
			if c.change != nil {
				c.change(cert)
			}
			if c.signer == nil {
				c.signer = authority
			}
			require.NoError(t, cert.SignCert(rand.Reader, c.signer))
			db, said := load(t, c.lines)
			assert.Empty(t, said)
			err := db.Check(hostkeys.Host{Name: "git.test", Port: "2222"}, cert)
			if c.err == "" {
				assert.NoError(t, err)
				algorithms := db.Algorithms(hostkeys.Host{Name: "git.test", Port: "2222"}, false)
				assert.Equal(t, strings.HasPrefix(c.lines, "@cert"), strings.Contains(algorithms[0], "-cert-"))
				return
			}
			assert.ErrorContains(t, err, c.err)
		})
	}
}

// What Append writes is read again, by OpenSSH too, and what was there stays.
func TestAppend(t *testing.T) {
	key, other := newKey(t).PublicKey(), newKey(t).PublicKey()
	for _, hashed := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), ".ssh", "known_hosts")
		before, host := hostkeys.Host{Name: "before.test"}, hostkeys.Host{Name: "Git.test", Port: "2222"}
		require.NoError(t, hostkeys.Append(name, before, other, hashed))
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, []byte(strings.TrimSpace(string(data))), 0o600), "a last line without an end")
		require.NoError(t, hostkeys.Append(name, host, key, hashed))
		db := hostkeys.Load(func(_ string, err error) { t.Error(err) }, name)
		assert.NoError(t, db.Check(host, key))
		assert.NoError(t, db.Check(before, other))
		data, err = os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, !hashed, strings.Contains(string(data), "[git.test]:2222 "))
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode())
		if program, err := exec.LookPath("ssh-keygen"); err == nil {
			out, _ := exec.Command(program, "-F", "[git.test]:2222", "-f", name).Output()
			assert.Contains(t, string(out), "found")
		}
	}
}

// The algorithms of the keys that are known are negotiated, so that a host with
// several keys shows one of these.
func TestAlgorithms(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	key, err := ssh.NewPublicKey(&private.PublicKey)
	require.NoError(t, err)
	db, _ := load(t, fmt.Sprintf("git.test %s\n", text(key)))
	want := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	assert.Equal(t, want, db.Algorithms(hostkeys.Host{Name: "git.test"}, false))
	assert.Equal(t, want, db.Algorithms(hostkeys.Host{Name: "git.test"}, true), "a known host may not come with another type")
	assert.Empty(t, db.Algorithms(hostkeys.Host{Name: "new.test"}, false))
	assert.Contains(t, db.Algorithms(hostkeys.Host{Name: "new.test"}, true), ssh.KeyAlgoED25519)
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("git.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"))
	f.Add([]byte("@revoked |1|x|y ssh-rsa AAAA\n@x\n\xff\x00"))
	f.Add([]byte("**********a ssh-rsa\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		good := newKey(t).PublicKey()
		content := string(data) + "\nfuzz.test " + text(good) + "\n"
		name := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := hostkeys.Load(nil, name).Check(hostkeys.Host{Name: "fuzz.test"}, good); err != nil {
			t.Error(err)
		}
	})
}
