package e2e_test

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens/internal/modtest"
)

// sumDBEnv is an upstream that carries a checksum database, which grows by what
// others look up.
type sumDBEnv struct {
	*modtest.Tap
	t      *testing.T
	server *httptest.Server
	key    string
	refs   []string // what there is to download
	db     *sumdb.TestServer
	others int
}

func newSumDBEnv(t *testing.T) *sumDBEnv {
	w := &sumDBEnv{t: t}
	sums := map[string]string{}
	var versions []*modtest.Version
	for i := range 9 {
		path, version := fmt.Sprintf("example.test/M%d", i), fmt.Sprintf("v1.%d.0", i)
		mod := "module " + path + "\n"
		if i > 6 {
			mod += fmt.Sprintf("require example.test/M%d v1.%d.0\n", i-7, i-7)
		}
		v := modtest.NewVersion(t, path, version, map[string]string{"go.mod": mod, "a.go": "package a\n"})
		versions, w.refs = append(versions, v), append(w.refs, path+"@"+version)
		sums[v.Version.String()] = fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", path, version, v.Sum, path, version, v.GoModSum)
	}
	signer, key, err := note.GenerateKey(rand.Reader, "sum.test")
	require.NoError(t, err)
	w.key = key
	w.db = sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		if text, ok := sums[path+"@"+version]; ok {
			return []byte(text), nil
		}
		if strings.HasPrefix(path, "others.test/") {
			return fmt.Appendf(nil, "%s %s h1:x=\n", path, version), nil
		}
		return nil, errNoRecord
	})
	mux := http.NewServeMux()
	mux.Handle("/", modtest.NewGoProxy(t, versions...))
	mux.HandleFunc("/sumdb/sum.test/supported", func(http.ResponseWriter, *http.Request) {})
	database := http.StripPrefix("/sumdb/sum.test", sumdb.NewServer(w.db))
	mux.HandleFunc("/sumdb/sum.test/", func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/lookup/") {
			w.grow(37) // between any two lookups
		}
		database.ServeHTTP(rw, r)
	})
	w.Tap = modtest.NewTap(t, mux)
	w.server = httptest.NewServer(w.Tap)
	t.Cleanup(w.server.Close)
	return w
}

// grow adds records of what others look up.
func (w *sumDBEnv) grow(n int) {
	for range n {
		w.others++
		_, err := w.db.Lookup(w.t.Context(), module.Version{Path: fmt.Sprintf("others.test/m%d", w.others), Version: "v1.0.0"})
		assert.NoError(w.t, err)
	}
}

// machine returns a go command that has fetched nothing and verifies all.
func (w *sumDBEnv) machine(proxy string) *modtest.Go {
	g := modtest.NewGo(w.t, nil)
	g.Set("GOPROXY="+proxy, "GONOPROXY=none", "GOSUMDB="+w.key)
	return g
}

// verifies checks that a machine downloads and verifies everything, in an order
// of its own.
func (w *sumDBEnv) verifies(g *modtest.Go, random *mrand.Rand) {
	w.t.Helper()
	random.Shuffle(len(w.refs), func(i, j int) { w.refs[i], w.refs[j] = w.refs[j], w.refs[i] })
	for i := 0; i < len(w.refs); i += 3 { // alone and together
		for _, d := range g.Download(w.refs[i : i+3]...) {
			require.Empty(w.t, d.Error)
			require.NotEmpty(w.t, d.Sum)
		}
	}
}

// asked returns how often the upstream was asked for records and tiles.
func (w *sumDBEnv) asked() int {
	return w.Count("sumdb/sum.test/lookup") + w.Count("sumdb/sum.test/tile")
}

// TestSumDBOutage: once one client has verified a build, others do so without
// any call to the database, and while the upstream is down, across restarts.
func TestSumDBOutage(t *testing.T) {
	t.Parallel()
	for _, miss := range []string{"redirect", "fetch"} {
		t.Run(miss, func(t *testing.T) {
			keyed := miss == "fetch"
			t.Parallel()
			random := mrand.New(mrand.NewPCG(1, 2))
			w := newSumDBEnv(t)
			args := []string{"-upstream", w.server.URL, "-miss", miss, "-fill-after", "0", "-fill", "whole"}
			if keyed {
				args = append(args, "-sumdb", w.key+" "+w.server.URL+"/sumdb/sum.test")
			}
			net := modtest.NewInternet(t)
			proxy := startServer(t, net, "proxy", "proxy", args...)
			first := w.machine(proxy.URL)
			w.verifies(first, random)
			assert.NotZero(t, w.asked())
			proxy.settle()
			w.verifies(w.machine(proxy.URL), random) // read-ahead may have been slow
			proxy.settle()
			if !keyed { // else the server asks for its own sake, too
				w.Reset()
				w.verifies(w.machine(proxy.URL), random)
				assert.Zero(t, w.asked(), "%v", w.Requests("sumdb"))
			}
			w.grow(1000)

			w.server.Close()
			proxy.Kill()
			proxy.restart()
			w.verifies(w.machine(proxy.URL), random)
			first.Clean()
			w.verifies(first, random) // knows an earlier tree
			_, stderr, err := w.machine(proxy.URL).Run("mod", "download", "others.test/m1@v1.0.0")
			require.Error(t, err)
			assert.NotContains(t, stderr, "404 Not Found")

			proxy.Kill()
			proxy.args[1] = "off"
			if miss == "fetch" {
				proxy.args[3] = "redirect"
			}
			proxy.restart()
			w.verifies(w.machine(proxy.URL), random)
		})
	}
}

// A go command that is told another key, or whose module was changed on the way,
// refuses: what is kept does not stand between it and the truth.
func TestSumDBStillProtects(t *testing.T) {
	t.Parallel()
	w := newSumDBEnv(t)
	proxy := startServer(t, modtest.NewInternet(t), "proxy", "proxy", "-upstream", w.server.URL, "-miss", "fetch")
	w.verifies(w.machine(proxy.URL), mrand.New(mrand.NewPCG(1, 2)))
	g := w.machine(proxy.URL)
	_, other, err := note.GenerateKey(rand.Reader, "sum.test")
	require.NoError(t, err)
	g.Set("GOSUMDB=" + other)
	assert.Contains(t, g.Download(w.refs[0])[0].Error, "reading tree note")
}
