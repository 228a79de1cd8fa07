package e2e_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/redirect/rules"
	"github.com/athens-go/athens/storage"
)

// secrets are words of which each private path of the privacy tests has one, and
// nothing else has.
var secrets = []string{"quuxcorp", "zanzibar", "xylophon", "yttrium"}

// privateRules make the paths private that have a secret in them.
const privateRules = `private quuxcorp.test,*.quuxcorp.test
private public.test/zanzibar
private gitlab.test/Xylophone
private mixed.test
public  mixed.test/open
`

// findSecret returns the secret that a text tells: raw, in any case, with the protocol's
// or a URL's escapes.
func findSecret(text string) string {
	plain := strings.ToLower(strings.ReplaceAll(text, "!", ""))
	for range 3 {
		for _, s := range secrets {
			if strings.Contains(plain, s) {
				return s
			}
		}
		plain = strings.ToLower(unescapePercent(plain))
	}
	return ""
}

// unescapePercent undoes a URL's escapes, as far as they are any.
func unescapePercent(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// newRecordingServer starts a server on loopback that keeps every byte it receives.
func newRecordingServer(t testing.TB, h http.Handler) *recordingProxy {
	d := &recordingProxy{}
	s := httptest.NewUnstartedServer(h)
	s.Listener = &recordingListener{s.Listener, d}
	s.Start()
	t.Cleanup(s.Close)
	d.URL = s.URL
	return d
}

// said returns all that came in.
func (d *recordingProxy) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.received.String()
}

// namedNetwork lead to hosts by their names, as DNS and a network would. They note each
// name that was asked for.
type namedNetwork struct {
	mu    sync.Mutex
	to    map[string]*recordingProxy // by host
	cut   map[string]bool            // hosts that can't be reached
	names []string                   // that were dialed
}

// dial is that of a transport. Whatever leads to loopback here has a public
// address, as far as its connection tells.
func (w *namedNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.names = append(w.names, host)
	to := w.to[host]
	if w.cut[host] || port != "80" {
		to = nil
	}
	w.mu.Unlock()
	if to == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(to.URL, "http://"))
	return &farConn{conn}, err
}

// reached returns the names that were dialed, each once.
func (w *namedNetwork) reached() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(w.names)))
}

// farConn is a connection that seems to lead to the internet at large.
type farConn struct{ net.Conn }

// RemoteAddr is an address of nobody's here.
func (c *farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 80} }

// privacyEnv is a server under test with all that it could tell a secret to.
type privacyEnv struct {
	*namedNetwork
	t        *testing.T
	registry *recordingProxy // of public modules; it carries the checksum database, too
	sums     *recordingProxy // the checksum database
	outside  *recordingProxy // a public host that private ones lead to
	inside   *modtest.Internet
	fills    *fill.Queue
	handler  *athens.Handler
	server   *httptest.Server
	log      modtest.Log
}

// privateRepos are what there is of private modules.
func privateRepos(t testing.TB) []*modtest.Repo {
	var repos []*modtest.Repo
	for _, path := range []string{"quuxcorp.test/zanzibar", "git.quuxcorp.test/Xylophone", "gitlab.test/Xylophone/tool", "public.test/zanzibar", "mixed.test/zanzibar"} {
		repos = append(repos, modtest.NewRepo(t, fmt.Sprintf("# A private one.\nrepo %[1]s\nwrite go.mod \"module %[1]s\\n\\nrequire public.test/lib v1.0.0\\n\"\ncommit 2022-01-01T10:00:00Z Begin\ntag v1.0.0\nwrite a.go \"package a\\n\"\ncommit 2022-01-02T10:00:00Z Go on\ntag v1.1.0\n", path)))
	}
	return repos
}

// publicVersions are what the registry has. One requires what is private.
func publicVersions(t testing.TB) []*modtest.Version {
	return []*modtest.Version{
		modtest.NewVersion(t, "public.test/app", "v1.0.0", map[string]string{
			"go.mod": "module public.test/app\nrequire (\n quuxcorp.test/zanzibar v1.0.0\n Quuxcorp.test/zanzibar v1.1.0\n public.test/zanzibar v1.0.0\n gitlab.test/xylophone/tool v1.0.0\n public.test/lib v1.0.0\n public.test/more v1.0.0\n)\n", "a.go": "package a\n",
		}),
		modtest.NewVersion(t, "public.test/lib", "v1.0.0", map[string]string{"go.mod": "module public.test/lib\n", "l.go": "package lib\n"}),
		modtest.NewVersion(t, "public.test/lib", "v1.1.0", map[string]string{"go.mod": "module public.test/lib\nrequire quuxcorp.test/zanzibar v1.1.0\n", "l.go": "package lib\n"}),
		modtest.NewVersion(t, "public.test/more", "v1.0.0", map[string]string{"go.mod": "module public.test/more\nrequire mixed.test/zanzibar v1.0.0\n"}),
		modtest.NewVersion(t, "mixed.test/open/m", "v1.0.0", map[string]string{"go.mod": "module mixed.test/open/m\n"}),
	}
}

// redirectPrivateHosts makes private places lead to public ones: a page that sends to a login, and
// a repository that has moved.
func redirectPrivateHosts(inside *modtest.Internet) {
	inside.Handle("quuxcorp.test/sso", http.RedirectHandler("http://login.test/?go-get=1", http.StatusFound))
	inside.Handle("quuxcorp.test/moved", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			http.Redirect(w, r, "http://login.test/away.git/info/refs?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		root := r.Host + strings.TrimSuffix(r.URL.Path, "/")
		fmt.Fprintf(w, `<html><head><meta name="go-import" content="%s git http://%s/zanzibar.git"></head></html>`, root, root)
	}))
}

// newPrivacyEnv starts a proxy that fetches misses, or redirects.
func newPrivacyEnv(t *testing.T, through bool) *privacyEnv {
	p := &privacyEnv{t: t, namedNetwork: &namedNetwork{to: map[string]*recordingProxy{}, cut: map[string]bool{}}}
	versions := publicVersions(t)
	signer, verifier, err := note.GenerateKey(rand.Reader, "sum.test")
	require.NoError(t, err)
	database := newChecksumServer(signer, versions)
	registry := http.NewServeMux()
	registry.Handle("/", modtest.NewGoProxy(t, versions...))
	registry.HandleFunc("/sumdb/sum.test/supported", func(http.ResponseWriter, *http.Request) {})
	registry.Handle("/sumdb/sum.test/", http.StripPrefix("/sumdb/sum.test", database))
	p.registry, p.sums, p.outside = newRecordingServer(t, registry), newRecordingServer(t, database), newRecordingServer(t, http.NotFoundHandler())
	p.inside = modtest.NewInternet(t, privateRepos(t)...)
	redirectPrivateHosts(p.inside)
	inside := newRecordingServer(t, p.inside)
	for host, to := range map[string]*recordingProxy{
		"registry.test": p.registry, "sum.test": p.sums, "login.test": p.outside,
		"public.test": inside, "quuxcorp.test": inside, "git.quuxcorp.test": inside, "gitlab.test": inside, "mixed.test": inside,
	} {
		p.to[host] = to
	}
	transport := &http.Transport{DialContext: p.dial}
	policy, err := rules.Parse("rules", strings.NewReader(privateRules))
	require.NoError(t, err)
	p.fills, err = fill.New(&fill.Options{MinRetryDelay: time.Hour})
	require.NoError(t, err)
	vcs, err := fetcher.New(t.TempDir(), &fetcher.Options{
		Transport: transport, Insecure: "*.test", Netrc: "none", GitConfig: "none", SSHDir: "none",
		Private: "none", // the handler says
	})
	require.NoError(t, err)
	store, err := storage.NewDisk(t.TempDir(), nil)
	require.NoError(t, err)
	asking := &redirect.Options{Transport: transport, Tries: 1}
	sums, err := redirect.NewChecksums(verifier+" http://sum.test", asking)
	require.NoError(t, err)
	opts := &athens.Options{
		Fetcher: vcs, Fills: p.fills, Route: policy.Route, Checksums: sums, MissFetch: through, FillAfter: -1, FillWhole: !through,
		Logger: slog.New(slog.NewTextHandler(&p.log, nil)),
	}
	opts.Upstream, err = redirect.New("http://registry.test", asking)
	require.NoError(t, err)
	p.handler, err = athens.NewHandler(store, opts)
	require.NoError(t, err)
	p.server = httptest.NewServer(p.handler)
	ctx, stop := context.WithCancel(context.Background())
	filled := make(chan error, 1)
	go func() { filled <- p.fills.Run(ctx, p.handler.Fill) }()
	t.Cleanup(func() {
		p.server.Close()
		stop()
		require.NoError(t, errors.Join(<-filled, p.handler.Shutdown(context.Background()), vcs.Close()))
		transport.CloseIdleConnections()
	})
	return p
}

// newChecksumServer is a checksum database of versions.
func newChecksumServer(signer string, versions []*modtest.Version) http.Handler {
	return sumdb.NewServer(sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		for _, v := range versions {
			if v.Path == path && v.Version.Version == version {
				return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, v.Sum, path, version, v.GoModSum), nil
			}
		}
		return nil, fmt.Errorf("%s@%s: %w", path, version, errNoRecord)
	}))
}

var errNoRecord = errors.New("no record")

// privateRequest is one to the server under test.
type privateRequest struct {
	kind, method, target, host string
	header                     []string // lines
	public                     bool     // it asks for nothing private, but may say so
}

// send makes a request, byte for byte, and returns the answer.
func (p *privacyEnv) send(r privateRequest) (status int, head http.Header, body string, err error) {
	conn, err := net.Dial("tcp", p.server.Listener.Addr().String())
	if err != nil {
		return 0, nil, "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, nil, "", err
	}
	lines := append([]string{r.method + " " + r.target + " HTTP/1.1", "Host: " + r.host, "Connection: close"}, r.header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return 0, nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}
