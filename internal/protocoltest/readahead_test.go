package protocoltest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// requireChain makes modules that require each the next one.
func requireChain(t *testing.T, goVersion string, n int) []*modtest.Version {
	var versions []*modtest.Version
	for i := range n {
		mod := fmt.Sprintf("module example.com/m%d\n%s\n", i, goVersion)
		if i+1 < n {
			mod += fmt.Sprintf("require example.com/m%d v1.0.0\n", i+1)
		}
		versions = append(versions, modtest.NewVersion(t, fmt.Sprintf("example.com/m%d", i), "v1.0.0", map[string]string{"go.mod": mod}))
	}
	return versions
}

// startPrefetchingProxy is a fetching proxy, asked in this process.
func startPrefetchingProxy(t *testing.T, up *modtest.GoProxy, route func(context.Context, module.Version) (athens.Route, error)) (get func(path string) int, end func()) {
	source, err := redirect.New(up.URL, nil)
	require.NoError(t, err)
	h, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Upstream: source, MissFetch: true, Route: route})
	require.NoError(t, err)
	get = func(path string) int {
		w := &discardWriter{header: http.Header{}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		require.NoError(t, err)
		h.ServeHTTP(w, r)
		return w.status
	}
	return get, func() { require.NoError(t, h.Shutdown(t.Context())) }
}

type discardWriter struct {
	header http.Header
	status int
}

func (d *discardWriter) Header() http.Header         { return d.header }
func (d *discardWriter) WriteHeader(status int)      { d.status = status }
func (d *discardWriter) Write(p []byte) (int, error) { return len(p), nil }

func TestReadAheadFollowsRequirements(t *testing.T) {
	up := modtest.NewGoProxy(t, requireChain(t, "", 40)...)
	get, end := startPrefetchingProxy(t, up, nil)
	assert.Equal(t, http.StatusOK, get("/example.com/m0/@v/v1.0.0.mod"))
	up.Await("", 2)
	assert.Equal(t, 2, up.Count(""), "who asks for one version causes no other fetch")
	assert.Equal(t, http.StatusOK, get("/example.com/m1/@v/v1.0.0.mod"))
	for i := 2; i < 40; i++ {
		up.Await(fmt.Sprintf("example.com/m%d/@v/v1.0.0.mod", min(i+8, 39)), 1)
		get(fmt.Sprintf("/example.com/m%d/@v/v1.0.0.mod", i))
	}
	end()
	assert.Equal(t, 40, up.Count("*.mod"))
	assert.Equal(t, 40, up.Count("*.info"))
	assert.Zero(t, up.Count("*.zip"))
}

// A client could make up a graph of any size: what is fetched ahead of it is in
// proportion to what it asked for itself.
func TestReadAheadIsInProportion(t *testing.T) {
	const versions = 120
	wide := "module example.com/wide\nrequire (\n"
	var all []*modtest.Version
	for i := range versions {
		wide += fmt.Sprintf("example.com/r%d v1.0.0\n", i)
		all = append(all, modtest.NewVersion(t, fmt.Sprintf("example.com/r%d", i), "v1.0.0", nil))
	}
	all = append(all, modtest.NewVersion(t, "example.com/wide", "v1.0.0", map[string]string{"go.mod": wide + ")\n"}))
	up := modtest.NewGoProxy(t, all...)
	get, end := startPrefetchingProxy(t, up, nil)
	get("/example.com/wide/@v/v1.0.0.mod")
	for i := range 10 { // the same two again and again are no more
		get(fmt.Sprintf("/example.com/r%d/@v/v1.0.0.mod", i%2))
		get("/example.com/wide/@v/v1.0.0.mod")
	}
	up.Await("*.mod", 1+8+4*3) // some of those that were asked for may be among what was fetched ahead
	end()
	assert.LessOrEqual(t, up.Count("*.mod"), 3+8+4*3, "three versions were asked for")
}

func TestReadAheadDoubtsPrunedGraphs(t *testing.T) {
	up := modtest.NewGoProxy(t, requireChain(t, "go 1.21", 40)...)
	get, end := startPrefetchingProxy(t, up, nil)
	get("/example.com/m0/@v/v1.0.0.mod")
	for i := range 5 {
		get(fmt.Sprintf("/example.com/m%d/@v/v1.0.0.mod", i+1))
		up.Await(fmt.Sprintf("example.com/m%d/@v/v1.0.0.mod", i+2), 1)
	}
	end()
	assert.Equal(t, 7, up.Count("*.mod"), "a guess is not followed before it came true")
}

func TestReadAheadBeginsZipsAtTheFirst(t *testing.T) {
	up := modtest.NewGoProxy(t, requireChain(t, "", 2)...)
	get, end := startPrefetchingProxy(t, up, nil)
	get("/example.com/m0/@v/v1.0.0.mod")
	get("/example.com/m0/@v/v1.0.0.info")
	assert.Zero(t, up.Count("*.zip"), "a client that looks for versions asks so, too")
	get("/example.com/m1/@v/v1.0.0.mod")
	get("/example.com/m1/@v/v1.0.0.info")
	assert.Zero(t, up.Count("*.zip"), "and so does one that lists a module graph")
	get("/example.com/m0/@v/v1.0.0.zip")
	up.Await("example.com/m1/@v/v1.0.0.zip", 1)
	end()
	assert.Equal(t, 2, up.Count("*.zip"))
}

func TestReadAheadKeepsOffPrivateAndBlocked(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\nrequire (\n example.com/asked v1.0.0\n corp.test/secret v1.0.0\n example.com/bad v1.0.0\n example.com/good v1.0.0\n)\n"})
	up := modtest.NewGoProxy(t, v)
	get, end := startPrefetchingProxy(t, up, func(_ context.Context, m module.Version) (athens.Route, error) {
		if m.Path == "example.com/bad" {
			return athens.Route{Blocked: "bad"}, nil
		}
		return athens.Route{Private: strings.HasPrefix(m.Path, "corp.test/")}, nil
	})
	get("/example.com/m/@v/v1.0.0.mod")
	get("/example.com/asked/@v/v1.0.0.mod")
	up.Await("example.com/good/@v/v1.0.0.mod", 1)
	end()
	assert.Zero(t, up.Count("corp.test*"))
	assert.Zero(t, up.Count("example.com/bad"))
}

// What a guess leads to is not fetched before somebody asked for it, however old its
// go.mod is; what an old module leads to is all read, by new ones, too.
func TestReadAheadReadsAsTheGoCommandDoes(t *testing.T) {
	var all []*modtest.Version
	for _, m := range []string{
		"root 1.21 new", "new 1.21 guess", "guess 1.16 behind", "behind 1.16 far", "far 1.16",
		"old 1.16 younger", "younger 1.21 youngest", "youngest 1.21 last", "last 1.21",
	} {
		f := strings.Fields(m)
		mod := "module example.com/" + f[0] + "\ngo " + f[1] + "\n"
		for _, r := range f[2:] {
			mod += "require example.com/" + r + " v1.0.0\n"
		}
		all = append(all, modtest.NewVersion(t, "example.com/"+f[0], "v1.0.0", map[string]string{"go.mod": mod}))
	}
	up := modtest.NewGoProxy(t, all...)
	get, end := startPrefetchingProxy(t, up, nil)
	get("/example.com/root/@v/v1.0.0.mod")
	get("/example.com/new/@v/v1.0.0.mod")
	get("/example.com/old/@v/v1.0.0.mod")
	for _, m := range []string{"guess", "last"} {
		up.Await("example.com/"+m+"/@v/v1.0.0.mod", 1)
		up.Await("example.com/"+m+"/@v/v1.0.0.info", 1)
	}
	assert.Zero(t, up.Count("example.com/behind"))
	get("/example.com/guess/@v/v1.0.0.mod")
	up.Await("example.com/behind/@v/v1.0.0.mod", 1)
	end()
	assert.Equal(t, len(all)-1, up.Count("*.mod"), "far may not be wanted either")
}

// What there was no credit to guess is known all the same: where a client reads it, it
// may read it for itself alone, as "go list -m all" does.
func TestReadAheadRemembersWhatItDidNotGuess(t *testing.T) {
	wide := "module example.com/wide\ngo 1.21\nrequire (\n"
	var all []*modtest.Version
	for i := range 10 {
		wide += fmt.Sprintf("example.com/r%d v1.0.0\n", i)
		all = append(all, modtest.NewVersion(t, fmt.Sprintf("example.com/r%d", i), "v1.0.0", map[string]string{
			"go.mod": fmt.Sprintf("module example.com/r%d\nrequire example.com/b%d v1.0.0\n", i, i)}),
			modtest.NewVersion(t, fmt.Sprintf("example.com/b%d", i), "v1.0.0", nil))
	}
	up := modtest.NewGoProxy(t, append(all, modtest.NewVersion(t, "example.com/wide", "v1.0.0", map[string]string{"go.mod": wide + ")\n"}))...)
	get, end := startPrefetchingProxy(t, up, nil)
	get("/example.com/wide/@v/v1.0.0.mod")
	for i := 9; i >= 0; i-- {
		assert.Equal(t, http.StatusOK, get(fmt.Sprintf("/example.com/r%d/@v/v1.0.0.mod", i)))
	}
	end()
	assert.Equal(t, 10, up.Count("example.com/r*.mod"))
	assert.LessOrEqual(t, up.Count("example.com/b*.mod"), 3)
}
