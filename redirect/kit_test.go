package redirect_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/fetchertest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
)

// An Upstream is a Fetcher too.
func TestKit(t *testing.T) {
	const pseudo = "v0.0.0-20240102030405-abcdefabcdef"
	version := func(path, version string) *modtest.Version {
		return modtest.NewVersion(t, path, version, map[string]string{"go.mod": "module " + path + "\n", "a.go": "package a\n"})
	}
	contents := func(versions ...*modtest.Version) []fetchertest.Content {
		var list []fetchertest.Content
		for _, v := range versions {
			var info athens.Info
			require.NoError(t, json.Unmarshal(v.Info, &info))
			list = append(list, fetchertest.Content{Version: v.Version.Version, Time: info.Time, Mod: string(v.Mod), Sum: v.Sum})
		}
		return list
	}
	first, rc, second := version("corp.test/Tagged", "v1.0.0"), version("corp.test/Tagged", "v1.1.0-rc.1"), version("corp.test/Tagged", "v1.1.0")
	bare := version("corp.test/bare", pseudo)
	p := modtest.NewGoProxy(t, first, rc, second, bare)
	p.Alias(second, "main")
	p.Alias(bare, "main")

	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	fetchertest.Run(t, fetchertest.Harness{
		New: func() (athens.Fetcher, error) { return redirect.New(p.URL, nil) },
		Down: func() (athens.Fetcher, error) {
			return redirect.New(dead.URL, &redirect.Options{RetryDelay: time.Millisecond})
		},
		Modules: []fetchertest.Module{
			{
				Path: first.Path, Versions: []string{"v1.0.0", "v1.1.0-rc.1", "v1.1.0"},
				Queries:  map[string]string{"latest": "v1.1.0", "v1": "v1.1.0", "v1.0": "v1.0.0", "main": "v1.1.0"},
				Contents: contents(first, rc, second),
			},
			{Path: bare.Path, Queries: map[string]string{"latest": pseudo, "main": pseudo}, Contents: contents(bare)},
		},
		Missing: []module.Version{
			{Path: "corp.test/nosuch"}, {Path: first.Path, Version: "v9.9.9"}, {Path: first.Path, Version: "nosuch"}, {Path: bare.Path, Version: "v1.0.0"},
		},
		Hold: func() func() {
			release := make(chan struct{})
			mend := p.Break("", modtest.Hang(release))
			return func() { mend(); close(release) }
		},
		Asked: func() int { return p.Count("") },
	})
}
