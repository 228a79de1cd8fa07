package main

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// as sends a request through a trusted proxy, for a client at an address.
func as(t *testing.T, client, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	require.NoError(t, err)
	req.Header.Set("X-Forwarded-For", client)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

// TestLimits has a hostile client and the real go command share a proxy. Each has its own
// limits, what is held costs nothing, and the go command shows which setting refused it.
func TestLimits(t *testing.T) {
	t.Parallel()
	var versions []*modtest.Version
	for i := range 6 {
		v := "v1." + strconv.Itoa(i) + ".0"
		versions = append(versions, modtest.NewVersion(t, "up.test/m", v, map[string]string{"go.mod": "module up.test/m\n"}))
	}
	up := modtest.NewGoProxy(t, versions...)
	for _, miss := range []string{"fetch", "redirect"} {
		p := start(t, nil, nil, "-upstream", up.URL, "-miss", miss, "-fill-after", "0", "-trusted-proxy", "127.0.0.1",
			"-limit-requests", "0.001:40", "-limit-fetches", "0.001:4")
		refused := 0
		for i := range 10 {
			resp := as(t, "198.51.100.66", fmt.Sprintf("%s/up.test/m/@v/v0.0.%d.info", p.URL, i))
			if resp.StatusCode == http.StatusTooManyRequests {
				refused++
				assert.NotEmpty(t, resp.Header.Get("Retry-After"))
			}
		}
		assert.Equal(t, 6, refused, "fetches")
		p.AwaitLog("outcome=blocked")
		p.AwaitLog("client=198.51.100.66")
		for i := range 40 {
			resp := as(t, "198.51.100.66, 127.0.0.1", p.URL+"/nonsense")
			assert.Equal(t, i >= 30, resp.StatusCode == http.StatusTooManyRequests, "request %d: %d", i, resp.StatusCode)
		}

		g := modtest.NewGo(t, nil)
		g.Set("GOPROXY="+p.URL, "GONOSUMDB=*")
		g.MustDownload("up.test/m@v1.0.0")
		if miss == "redirect" {
			p.AwaitLog("msg=fill module=up.test/m version=v1.0.0 zip=true")
		}
		var failure string
		for _, v := range versions[1:] { // each costs one fetch, or two
			failure = g.Download("up.test/m@" + v.Version.Version)[0].Error
		}
		assert.Contains(t, failure, "429 Too Many Requests")
		assert.Contains(t, failure, "(limit-fetches)")
		g.Clean()
		g.MustDownload("up.test/m@v1.0.0")
	}
}

func TestBadLimits(t *testing.T) {
	for _, args := range [][]string{
		{"-limit-requests", "many"}, {"-limit-requests", "-1"}, {"-limit-fetches", "1:0"}, {"-limit-fetches", "NaN"}, {"-trusted-proxy", "example.com"},
	} {
		assert.Error(t, run(t.Context(), append(args, "-dir", t.TempDir(), "-upstream", "off"), t.Output(), t.Output()), args)
	}
}
