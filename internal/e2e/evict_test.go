package e2e_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens/internal/modtest"
)

// TestMaxBytes bounds the store of a proxy: it fetches what it has evicted again, and never
// evicts what is private.
func TestMaxBytes(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "private")...)
	up := modtest.NewGoProxy(t)
	var refs []string
	for n := range 12 {
		path := fmt.Sprintf("up.test/m%d", n)
		up.Add(modtest.NewVersion(t, path, "v1.0.0", map[string]string{"go.mod": "module " + path + "\n", "m.go": "package m\n"}))
		refs = append(refs, path+"@v1.0.0")
	}
	p := startServer(t, net, "proxy", "proxy", "-upstream", up.URL, "-miss", "fetch", "-private", "corp.test", "-max-bytes", fmt.Sprint(5*12<<10))
	g := modtest.NewGo(t, net)
	g.Set(p.Env...)
	g.Set("GONOSUMDB=*")
	g.MustDownload("corp.test/secret/plans@v1.0.0")
	for _, ref := range refs {
		g.MustDownload(ref)
	}
	_, metrics := modtest.Get(t, p.ops+"/metrics")
	assert.Contains(t, metrics, `athens_operation_duration_seconds_count{op="evict",source="store",outcome="done"}`)
	g.Clean()
	asked, private := up.Count("up.test/m0"), len(net.Requests("corp.test"))
	g.MustDownload(refs[0])
	assert.Greater(t, up.Count("up.test/m0"), asked, "it was evicted, and is fetched again")
	g.MustDownload("corp.test/secret/plans@v1.0.0")
	assert.Len(t, net.Requests("corp.test"), private, "it is still stored")
}
