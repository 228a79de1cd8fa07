package e2e_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// outageClient is a client before a server whose source will go down.
type outageClient struct {
	t   *testing.T
	net *modtest.Internet
	url string // of the server
}

// machine returns a go command that has fetched nothing. It may go around the
// server where that says 404 or 410, and nowhere else.
func (o outageClient) machine() *modtest.Go {
	g := modtest.NewGo(o.t, o.net)
	g.Set("GOPROXY="+o.url+",direct", "GONOPROXY=none", "GOPRIVATE=")
	return g
}

// leaks returns how often go commands, which have no login at the internet's
// proxy, asked version control themselves.
func (o outageClient) leaks() int {
	n := 0
	for _, r := range o.net.Requests("") {
		if _, _, ok := proxyLogin(&http.Request{Header: r.Header}); !ok {
			n++
		}
	}
	return n
}

// served checks that what is held, and what was said, is served as before.
func (o outageClient) served(held, list, latest string) {
	o.t.Helper()
	g := o.machine()
	path, _, _ := strings.Cut(held, "@")
	assert.Empty(o.t, g.Download(held)[0].Error)
	stdout, stderr, err := g.Run("list", "-m", "-versions", path)
	require.NoError(o.t, err, stderr)
	assert.Equal(o.t, list, strings.TrimSpace(stdout))
	stdout, stderr, err = g.Run("list", "-m", path+"@latest")
	require.NoError(o.t, err, stderr)
	assert.Equal(o.t, latest, strings.TrimSpace(stdout))
	assert.Zero(o.t, o.leaks(), "go commands went around the server")
}

// missed checks that a miss is told from "there is no such version", and says
// why it failed.
func (o outageClient) missed(ref string, why ...string) {
	o.t.Helper()
	path, version, _ := strings.Cut(ref, "@")
	target := o.url + "/" + path + "/@v/" + version + ".info"
	if version == "" {
		target = o.url + "/" + path + "/@v/list"
	}
	status, body := modtest.Get(o.t, target)
	if status == http.StatusFound {
		resp, err := http.Get(target)
		require.NoError(o.t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(o.t, errors.Join(err, resp.Body.Close()))
		status, body = resp.StatusCode, string(b)
	}
	assert.Contains(o.t, []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status, body)
	_, stderr, err := o.machine().Run("mod", "download", ref)
	require.Error(o.t, err)
	for _, text := range append(why, path) {
		assert.Contains(o.t, body, text)
		assert.Contains(o.t, stderr, text, "what the user is told")
	}
	assert.NotContains(o.t, stderr, "404 Not Found")
	assert.Zero(o.t, o.leaks(), "go commands went around the server")
}

func TestRegistryDown(t *testing.T) {
	t.Parallel()
	for _, miss := range []string{"redirect", "fetch"} {
		t.Run(miss, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, modtest.Ready(t, "simple", "vanity", "private")...)
			registry := startServer(t, net, "registry", "registry")
			proxy := startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-miss", miss, "-fill-after", "0", "-private", "corp.test")
			o := outageClient{t, net, proxy.URL}
			o.served("git.test/simple@v1.0.0", "git.test/simple v1.0.0 v1.1.0 v1.2.0", "git.test/simple v1.2.0")
			proxy.settle()

			registry.Kill()
			o.served("git.test/simple@v1.0.0", "git.test/simple v1.0.0 v1.1.0 v1.2.0", "git.test/simple v1.2.0")
			// The first client may still be sent to the registry: nobody knows
			// yet. Its fill finds out, and stays pending.
			target := proxy.URL + "/git.test/simple/@v/v1.1.0.zip"
			modtest.Eventually(t, "the proxy knows", func() bool {
				status, _ := modtest.Get(t, target)
				require.NotEqual(t, http.StatusNotFound, status)
				return status == http.StatusServiceUnavailable
			})
			o.missed("git.test/simple@v1.1.0", "upstream", "connection refused")
			o.missed("example.test/vanity@v1.0.0", "upstream", "connection refused")
			private := o.machine().Download("corp.test/secret/plans@v1.0.0")
			assert.Empty(t, private[0].Error, "private modules need no registry")

			// What only the memory knew is gone with it; what is held is not, nor
			// what is to be filled.
			proxy.Kill()
			proxy.restart()
			assert.Empty(t, o.machine().Download("git.test/simple@v1.0.0")[0].Error)
			status, list := modtest.Get(t, proxy.URL+"/git.test/simple/@v/list")
			assert.Equal(t, http.StatusOK, status)
			assert.Contains(t, list, "v1.0.0\n")
			if miss == "redirect" {
				modtest.Eventually(t, "a fill was tried in vain", func() bool {
					pending := proxy.fills().Pending // none while it runs
					return len(pending) > 0 && pending[0].Reason != ""
				})
			}

			registry.restart()
			if miss == "redirect" { // nobody asks again
				var done []string
				for _, fill := range proxy.settle().Done {
					if fill.Path != "corp.test/secret/plans" { // the kill may have come before its end
						done = append(done, fill.Path+"@"+fill.Version)
					}
				}
				assert.Equal(t, []string{"git.test/simple@v1.1.0"}, done)
				registry.Kill()
				registry.restart()
			}
			d := o.machine().Download("git.test/simple@v1.1.0")
			assert.Empty(t, d[0].Error)
		})
	}
}

func TestVersionControlDown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct {
		modtest.Fault
		why string
	}{
		"refuses": {modtest.Status(http.StatusServiceUnavailable), "503"},
		"cuts":    {modtest.Cut(), "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
			registry := startServer(t, net, "registry", "registry")
			proxy := startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-fill-after", "0", "-private", "corp.test")
			direct, near := outageClient{t, net, registry.URL}, outageClient{t, net, proxy.URL}
			for _, o := range []outageClient{direct, near} {
				o.served("git.test/simple@v1.0.0", "git.test/simple v1.0.0 v1.1.0 v1.2.0", "git.test/simple v1.2.0")
			}
			near.machine().MustDownload("corp.test/secret/plans@v1.0.0")
			proxy.settle()

			// A fresh memory, and repositories that are fetched no more.
			for _, n := range []*server{registry, proxy} {
				n.Stop()
				require.NoError(t, os.RemoveAll(n.dir+"/.git-cache"))
				n.restart()
			}
			mend := net.Break("", fault.Fault)
			for _, o := range []outageClient{direct, near} {
				assert.Empty(t, o.machine().Download("git.test/simple@v1.0.0")[0].Error)
				o.missed("git.test/simple@v1.1.0", fault.why)
				o.missed("git.test/simple@main", fault.why)
			}
			assert.Empty(t, near.machine().Download("corp.test/secret/plans@v1.0.0")[0].Error)
			near.missed("corp.test/secret/plans@v1.1.0", fault.why)

			require.NotZero(t, proxy.fills().Counts.Pending+proxy.fills().Counts.Running, "of git.test/simple@v1.1.0")
			mend()
			for _, e := range proxy.settle().Done { // nobody asks again
				assert.Equal(t, "git.test/simple v1.1.0", e.Path+" "+e.Version)
			}
			registry.Kill()
			for _, file := range []string{"list", "v1.1.0.info", "v1.1.0.mod", "v1.0.0.zip"} {
				status, body := modtest.Get(t, near.url+"/git.test/simple/@v/"+file)
				assert.Equal(t, http.StatusOK, status, "%s: %s", file, body)
			}
		})
	}
}
