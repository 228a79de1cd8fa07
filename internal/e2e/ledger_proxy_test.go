package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestLedgerBehindProxy puts proxies before a registry with a ledger. With private
// modules that are the registry's to serve, the proxy's line verifies all; with ones
// that are the proxy's own, the registry never hears of them.
func TestLedgerBehindProxy(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	b := newBooks(t, net)
	key := strings.TrimPrefix(b.Env[1], "GOSUMDB=")
	way := newRecordingProxy(t, b.URL)
	start := func(args ...string) *books {
		args = append([]string{"-upstream", way.URL, "-miss", "fetch", "-private", "corp.test", "-sumdb", key + " " + way.URL + "/sumdb/sum.corp.example"}, args...)
		return &books{startServer(t, net, "proxy", "proxy", args...), t, net}
	}

	covered := start("-private-upstream")
	assert.Equal(t, []string{"GOPROXY=" + covered.URL, "GOSUMDB=" + key, "GOPRIVATE=none"}, covered.Env)
	g := covered.client()
	for _, ref := range ledgerRefs {
		g.MustDownload(ref)
		assert.NotZero(t, way.Count("sumdb/sum.corp.example/lookup/"+ref), "%v", way.Requests(""))
	}
	// Other content than what the registry has recorded is noticed through the proxy.
	evil := modtest.NewVersion(t, "corp.test/secret/plans", "v1.1.0", map[string]string{"go.mod": "module corp.test/secret/plans\n", "m.go": "package m\n"})
	covered.Stop()
	covered.replaceZip(evil.Version, evil)
	covered.restart()
	covered.refused(covered.client(), ledgerRefs[1], "checksum mismatch", "SECURITY ERROR")

	other := newRecordingProxy(t, b.URL)
	way = other
	own := start()
	assert.Contains(t, own.Env, "GONOSUMDB=corp.test")
	own.client().MustDownload(ledgerRefs[1])
	status, _ := modtest.Get(t, own.URL+"/sumdb/sum.corp.example/lookup/"+ledgerRefs[1])
	assert.Equal(t, http.StatusForbidden, status)
	require.False(t, other.heard("secret"), "the registry hears of a private module")
}
