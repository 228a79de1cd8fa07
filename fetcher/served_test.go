package fetcher_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
)

// compareServed compares what a handler answers to queries with what the go command
// said: with an empty store, and when it holds all versions that the queries mean,
// each with the Origin of the version rather than of a query.
func compareServed(t *testing.T, net *modtest.Internet, answers []modtest.Answer) {
	store := athenstest.NewStore(t)
	for _, state := range []string{"empty store", "all versions held"} {
		f := newFetcher(t, net, nil) // what it fetched for others it has
		h := newHandler(t, store, f)
		for _, want := range answers {
			m, target := queryTarget(want.Ref)
			if target == "" {
				continue
			}
			got, status := askInfo(t, h, target)
			if want.Refused {
				// The .zip and .mod may be what the go command refuses.
				if status == http.StatusOK && m.Version != got.Version {
					_, err := modtest.FetchAll(t, f, m.Path, got.Version)
					assert.Error(t, err, "%s, %s: the go command refuses it", want.Ref, state)
				}
				assert.Less(t, status, 500, "%s, %s", want.Ref, state)
				continue
			}
			require.Equal(t, http.StatusOK, status, "%s, %s", want.Ref, state)
			assert.Equal(t, modtest.JSON(t, modtest.Info{Version: want.Version, Time: want.Time, Origin: want.Origin}), modtest.JSON(t, got), "%s, %s", want.Ref, state)
			target, err := athensPath(module.Version{Path: m.Path, Version: got.Version})
			require.NoError(t, err)
			_, status = askInfo(t, h, target)
			require.Equal(t, http.StatusOK, status, target)
		}
	}
}

func newHandler(t testing.TB, store athens.Storage, f athens.Fetcher) *athens.Handler {
	t.Helper()
	h, err := athens.NewHandler(store, &athens.Options{Fetcher: f, Private: "*"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Shutdown(context.WithoutCancel(t.Context()))) })
	return h
}

// queryTarget returns what a client asks a server for to resolve a reference, or ""
// for what clients resolve themselves, or do not ask for.
func queryTarget(ref string) (module.Version, string) {
	m := splitRef(ref)
	if m.Version == "latest" {
		path, err := module.EscapePath(m.Path)
		if err != nil {
			return m, ""
		}
		return m, "/" + path + "/@latest"
	}
	if m.Version == module.CanonicalVersion(m.Version) && module.Check(m.Path, m.Version) == nil {
		return m, ""
	}
	target, err := athensPath(m)
	if err != nil {
		return m, ""
	}
	return m, target
}

// athensPath is the path of the .info of a version or a query.
func athensPath(m module.Version) (string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	return "/" + path + "/@v/" + version + ".info", err
}

func askInfo(t testing.TB, h http.Handler, target string) (*athens.Info, int) {
	t.Helper()
	w, cut := athenstest.Ask(t.Context(), h, target)
	require.False(t, cut, target)
	if w.Code != http.StatusOK {
		return nil, w.Code
	}
	var info athens.Info
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &info), target)
	return &info, w.Code
}

// TestHeldVersionsThatAreRetracted asks a handler that holds versions which the latest
// one retracts, as that one does itself: while their repository answers, after a
// restart while it does not, and when it has vanished.
func TestHeldVersionsThatAreRetracted(t *testing.T) {
	repo := modtest.NewRepo(t, `# All of v1.1, and the latest version, are retracted.
repo git.test/taken
write go.mod "module git.test/taken\n"
commit 2021-01-01T10:00:00Z a
tag v1.0.0
write a b
commit 2021-01-02T10:00:00Z b
tag v1.1.0
write a c
commit 2021-01-03T10:00:00Z c
tag v1.1.1
write a d
commit 2021-01-04T10:00:00Z d
tag v1.2.0
write go.mod "module git.test/taken\n\nretract (\n\t[v1.1.0, v1.1.1]\n\tv1.3.0\n)\n"
commit 2021-01-05T10:00:00Z e
tag v1.3.0
`)
	net, store := modtest.NewInternet(t, repo), athenstest.NewStore(t)
	h := newHandler(t, store, newFetcher(t, net, nil))
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.1.1", "v1.2.0", "v1.3.0"} {
		_, status := askInfo(t, h, "/git.test/taken/@v/"+v+".info")
		require.Equal(t, http.StatusOK, status)
	}
	for _, state := range []string{"up", "down", "vanished"} {
		switch state {
		case "down":
			mend := net.Break("", modtest.Cut())
			defer mend()
		case "vanished":
			net = modtest.NewInternet(t)
		}
		h := newHandler(t, store, newFetcher(t, net, nil))
		_, status := askInfo(t, h, "/git.test/taken/@v/v1.1.info")
		assert.GreaterOrEqual(t, status, 400, state)
		assert.Equal(t, state == "down", status >= 500, state)
		for _, target := range []string{"@latest", "@v/v1.info", "@v/v1.2.info"} {
			got, status := askInfo(t, h, "/git.test/taken/"+target)
			if assert.Equal(t, http.StatusOK, status, "%s, %s", target, state) {
				assert.Equal(t, "v1.2.0", got.Version, "%s, %s", target, state)
			}
		}
		got, status := askInfo(t, h, "/git.test/taken/@v/v1.1.1.info")
		require.Equal(t, http.StatusOK, status, state)
		assert.Equal(t, "v1.1.1", got.Version)
	}
}
