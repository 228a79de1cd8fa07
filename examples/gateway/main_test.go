package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/auth"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

const annsLogin = "GATEWAY_LOGIN=ann:correct-horse"

// sample is a version whose zip takes several writes.
func sample(t *testing.T) *modtest.Version {
	noise := &strings.Builder{}
	for random := rand.New(rand.NewPCG(1, 2)); noise.Len() < 300_000; {
		fmt.Fprintf(noise, "// %x\n", random.Uint64())
	}
	return modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{
		"go.mod": "module up.test/m\n", "m.go": "package m\n" + noise.String(),
	})
}

// start starts the gateway in a fresh folder.
func start(t *testing.T, net *modtest.Internet, args ...string) (*modtest.Process, string) {
	t.Helper()
	g := modtest.NewGo(t, net)
	g.Set(annsLogin)
	dir := t.TempDir()
	return modtest.Start(t, modtest.Build(t, "./examples/gateway"), append([]string{"-addr", "127.0.0.1:0", "-dir", dir}, args...), g.Env()), dir
}

// variable returns what the first line exports by that name.
func variable(t *testing.T, p *modtest.Process, name string) string {
	t.Helper()
	for _, e := range p.Env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	t.Fatalf("%s is not among %q", name, p.Env)
	return ""
}

// ask asks a URL as user ann, or as nobody, and follows no redirect.
func ask(t *testing.T, p *modtest.Process, path, password string) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if strings.HasPrefix(p.URL, "https:") {
		cert, err := os.ReadFile(variable(t, p, "SSL_CERT_FILE"))
		require.NoError(t, err)
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(cert))
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimSuffix(p.URL, "/go")+path, nil)
	require.NoError(t, err)
	if password != "" {
		req.SetBasicAuth("ann", password)
	}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	return resp, string(b)
}

// TestLogin asks with the right login, with a wrong one, and without.
func TestLogin(t *testing.T) {
	t.Parallel()
	up := modtest.NewGoProxy(t, sample(t))
	p, _ := start(t, nil, "-upstream", up.URL)
	for _, path := range []string{"/", "/go/up.test/m/@v/list", "/go/nonsense", "/nosuch"} {
		for _, password := range []string{"", "wrong"} {
			resp, body := ask(t, p, path, password)
			assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, path)
			assert.Contains(t, resp.Header.Get("WWW-Authenticate"), "Basic")
			assert.NotContains(t, body, "v1.0.0")
		}
	}
	assert.Zero(t, up.Count(""), "nothing is looked up for strangers")
	for path, want := range map[string]int{"/": 200, "/go/up.test/m/@v/list": 200, "/go/nonsense": 404, "/nosuch": 404, "/up.test/m/@v/list": 404} {
		resp, body := ask(t, p, path, "correct-horse")
		assert.Equal(t, want, resp.StatusCode, "%s: %s", path, body)
	}
	assert.NotContains(t, p.Log(), "correct-horse")
	p.AwaitLog("msg=access method=GET path=/go/up.test/m/@v/list user=ann status=200")
}

// TestTokens has the real go command present tokens: from a netrc file, and by GOAUTH.
func TestTokens(t *testing.T) {
	t.Parallel()
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	secret, line, err := auth.NewToken("ci", "up.test", auth.Read)
	require.NoError(t, err)
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(line+"\n"), 0o600))
	p, _ := start(t, nil, "-upstream", up.URL, "-tokens", tokens)
	host := strings.TrimSuffix(strings.TrimPrefix(p.URL, "https://"), "/go")
	base := []string{"GOPROXY=" + p.URL, "GONOSUMDB=*", "GONOPROXY=none", "SSL_CERT_FILE=" + variable(t, p, "SSL_CERT_FILE")}

	g := modtest.NewGo(t, nil)
	g.Set(base...)
	assert.Contains(t, g.Download("up.test/m@v1.0.0")[0].Error, "log in")
	g.Netrc(host, "anybody", secret)
	g.MustDownload("up.test/m@v1.0.0")
	assert.Contains(t, g.Download("other.test/m@v1.0.0")[0].Error, "the token ci has no right to read other.test/m")

	g = modtest.NewGo(t, nil)
	g.Set(base...)
	script := filepath.Join(t.TempDir(), "goauth")
	require.NoError(t, os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nprintf '%%s\\n\\nAuthorization: Bearer %%s\\n\\n' '%s' '%s'\n", "https://"+host, secret), 0o700))
	g.Set("GOAUTH=" + script)
	g.MustDownload("up.test/m@v1.0.0")
	p.AwaitLog("user=ci")
	assert.NotContains(t, p.Log(), secret)
	resp, _ := ask(t, p, "/healthz", "")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	resp, _ = ask(t, p, "/go/up.test/m/@v/list", "correct-horse")
	assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
}

// TestOperate has an operator take a version back below /go/, with a token that may.
func TestOperate(t *testing.T) {
	t.Parallel()
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	reader, line, err := auth.NewToken("ci", "*", auth.Read)
	require.NoError(t, err)
	admin, more, err := auth.NewToken("ops", "up.test", auth.Admin)
	require.NoError(t, err)
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(line+"\n"+more+"\n"), 0o600))
	p, _ := start(t, nil, "-plain", "-upstream", up.URL, "-tokens", tokens)
	do := func(method, path, token, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		return resp.StatusCode, string(b)
	}
	const order = `{"module":"up.test/m","version":"v1.0.0","reason":"leaks a key"}`
	for token, want := range map[string]int{"": http.StatusUnauthorized, "ops.wrong": http.StatusUnauthorized, reader: http.StatusForbidden} {
		status, body := do(http.MethodPost, "/remove", token, order)
		assert.Equal(t, want, status, body)
	}
	status, body := do(http.MethodPost, "/remove", admin, order)
	assert.Equal(t, http.StatusOK, status, body)
	status, body = do(http.MethodGet, "/up.test/m/@v/v1.0.0.mod", reader, "")
	assert.Equal(t, http.StatusGone, status)
	assert.Contains(t, body, "leaks a key")
	status, body = do(http.MethodPost, "/restore", admin, `{"module":"up.test/m","version":"v1.0.0"}`)
	assert.Equal(t, http.StatusOK, status, body)
	status, body = do(http.MethodPost, "/refresh", admin, `{"module":"up.test/m"}`)
	assert.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, "v1.0.0")
	status, _ = do(http.MethodGet, "/up.test/m/@v/v1.0.0.mod", reader, "")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, p.Log(), "user=ops")
}

// TestGoCommand pastes the line that the gateway prints into a shell. The
// upstream has plain http, so that a client of https can't be sent there.
func TestGoCommand(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "private")...)
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	p, dir := start(t, net, "-upstream", up.URL, "-private", "corp.test")
	for _, file := range []string{variable(t, p, "NETRC"), filepath.Join(dir, ".gateway", "key.pem")} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
	}
	for _, ref := range []string{"up.test/m@v1.0.0", "corp.test/secret/plans@v1.0.0"} {
		g := modtest.NewGo(t, net)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "export "+strings.Join(p.Env, " ")+"; go mod download -json "+ref)
		cmd.Dir, cmd.Env = g.Dir, g.Env()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		if strings.HasPrefix(ref, v.Path) {
			assert.Contains(t, string(out), v.Sum)
		}
	}
	p.AwaitLog("outcome=fetch source=upstream")
	assert.NotContains(t, p.Log(), "outcome=redirect")
	stranger := modtest.NewGo(t, net)
	stranger.Set("GOPROXY="+p.URL, "SSL_CERT_FILE="+variable(t, p, "SSL_CERT_FILE"))
	assert.Contains(t, stranger.Download("up.test/m@v1.0.0")[0].Error, "401")

	// What is in the store's folder beside the modules can't be asked for.
	for _, path := range []string{"/go/.gateway/netrc", "/go/.gateway/@v/list", "/go/.git-cache/@v/list"} {
		resp, _ := ask(t, p, path, "correct-horse")
		assert.Contains(t, []int{400, 404}, resp.StatusCode, path)
	}
}

// TestRedirect has an upstream with https, where clients are sent to.
func TestRedirect(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	net.Secure("registry.test")
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	net.Handle("registry.test", up)
	p, _ := start(t, net, "-upstream", "https://registry.test")
	resp, _ := ask(t, p, "/go/up.test/m/@v/v1.0.0.info", "correct-horse")
	assert.Equal(t, http.StatusFound, resp.StatusCode)
	assert.Equal(t, "https://registry.test/up.test/m/@v/v1.0.0.info", resp.Header.Get("Location"))

	g := modtest.NewGo(t, net)
	for _, e := range net.Env() { // the system's certificates, for this client
		if file, ok := strings.CutPrefix(e, "SSL_CERT_FILE="); ok {
			g.Set("SSL_CERT_DIR=" + filepath.Dir(file))
		}
	}
	g.Set(p.Env...)
	assert.Equal(t, v.Sum, g.MustDownload("up.test/m@v1.0.0").Sum)
	for _, r := range net.Requests("registry.test") {
		assert.Empty(t, r.Header.Get("Authorization"), "the login is for the gateway alone")
	}
	p.AwaitLog("file=zip outcome=redirect")
}

// TestPlain is the gateway behind something that ends TLS. A zip that is held
// goes from the disk to the network inside the kernel.
func TestPlain(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	v := sample(t)
	up := modtest.NewGoProxy(t, v)
	g := modtest.NewGo(t, net)
	g.Set(annsLogin)
	bin, dir := modtest.Build(t, "./examples/gateway"), t.TempDir()
	args := []string{"-plain", "-addr", "127.0.0.1:0", "-dir", dir, "-upstream", up.URL}
	trace := filepath.Join(t.TempDir(), "trace")
	strace, err := exec.LookPath("strace")
	if err == nil { // -D: the program keeps its own process
		args = append([]string{"-D", "-f", "--seccomp-bpf", "-qq", "-o", trace, "-e", "trace=sendfile,splice", bin}, args...)
		bin = strace
	}
	p := modtest.Start(t, bin, args, g.Env())
	assert.True(t, strings.HasPrefix(p.URL, "http://"), p.URL)
	resp, _ := ask(t, p, "/go/up.test/m/@v/v1.0.0.zip", "")
	assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	resp, _ = ask(t, p, "/go/up.test/m/@v/v1.0.0.zip", "correct-horse")
	require.Equal(t, http.StatusFound, resp.StatusCode, "http may lead to http")
	p.AwaitLog("msg=fill module=up.test/m version=v1.0.0 zip=true")

	resp, body := ask(t, p, "/go/up.test/m/@v/v1.0.0.zip", "correct-horse")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.True(t, body == string(v.Zip), "%d bytes", len(body))
	p.Stop()
	if strace != "" {
		calls, err := os.ReadFile(trace)
		require.NoError(t, err)
		var sent int
		for line := range strings.Lines(string(calls)) {
			if at := strings.LastIndex(line, " = "); at > 0 && strings.Contains(line, "sendfile") {
				var n int
				if _, err := fmt.Sscan(line[at+3:], &n); err == nil {
					sent += max(n, 0)
				}
			}
		}
		assert.GreaterOrEqual(t, sent, len(v.Zip)-512, "what sendfile has sent\n%s", calls)
	}
}

// TestCertificate looks when a certificate is made anew.
func TestCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func(addr string) []byte {
		certFile, _, err := certificate(dir, addr)
		require.NoError(t, err)
		b, err := os.ReadFile(certFile)
		require.NoError(t, err)
		return b
	}
	first := read("127.0.0.1:3002")
	assert.Equal(t, first, read("127.0.0.1:0"))
	assert.Equal(t, first, read(":3002"))
	other := read("modules.corp.test:443")
	assert.NotEqual(t, first, other)
	assert.Equal(t, other, read("localhost:443"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), nil, 0o600))
	assert.NotEqual(t, other, read("localhost:443"))
	_, _, err := certificate(dir, "nonsense")
	assert.Error(t, err)
}

func TestBadFlags(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for want, args := range map[string][]string{
		"gateway takes flags only": {"serve"},
		"missing port in address":  {"-addr", "127.0.0.1"},
		"ftp":                      {"-upstream", "ftp://up.test"},
	} {
		var said bytes.Buffer
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "off", "-private", ""}, args...), io.Discard, &said)
		assert.ErrorContains(t, err, want, "%v", args)
	}
	for _, bad := range []string{"", "ann", ":secret", "ann:two words"} {
		t.Setenv("GATEWAY_LOGIN", bad)
		err := run(ctx, []string{"-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "off", "-private", ""}, io.Discard, io.Discard)
		assert.ErrorContains(t, err, "GATEWAY_LOGIN", "%q", bad)
	}
}

// TestMadeUpLogin starts without a login of the environment.
func TestMadeUpLogin(t *testing.T) {
	t.Parallel()
	g := modtest.NewGo(t, nil)
	p := modtest.Start(t, modtest.Build(t, "./examples/gateway"), []string{"-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-upstream", "off"}, g.Env())
	netrc, err := os.ReadFile(variable(t, p, "NETRC"))
	require.NoError(t, err)
	fields := strings.Fields(string(netrc))
	require.Len(t, fields, 6)
	u, err := url.Parse(p.URL)
	require.NoError(t, err)
	assert.Contains(t, []string{u.Host, u.Hostname()}, fields[1])
	assert.GreaterOrEqual(t, len(fields[5]), 26)
	assert.NotContains(t, p.Log(), fields[5])
}
