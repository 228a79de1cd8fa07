package fetcher_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fetcher/fetchertest"
	"github.com/athens-go/athens/internal/modtest"
)

// kitRepos are the repositories that the kit's questions are about.
const (
	kitTagged = `# A tagged module.
repo corp.test/tagged
write go.mod "module corp.test/tagged\n"
commit 2022-01-01T10:00:00Z Begin
tag v1.0.0
write a.go "package tagged\n"
commit 2022-01-02T10:00:00Z a
tag v1.1.0-rc.1
write b.go "package tagged\n"
commit 2022-01-03T10:00:00Z b
tag v1.1.0
write c.go "package tagged\n"
commit 2022-01-04T10:00:00Z c
`
	kitUntagged = `# A module without tags and without go.mod.
repo corp.test/untagged
write a.go "package untagged\n"
commit 2022-02-01T10:00:00Z Begin
`
)

func TestKit(t *testing.T) {
	tagged, untagged := modtest.NewRepo(t, kitTagged), modtest.NewRepo(t, kitUntagged)
	net := modtest.NewInternet(t, tagged, untagged)
	tip := pseudo(tagged, "v1.1.0", "main")
	only := pseudo(untagged, "v0.none", "main")
	contents := func(path string, versions ...string) []fetchertest.Content {
		var list []fetchertest.Content
		for _, v := range versions {
			d := modtest.NewGo(t, net).MustDownload(path + "@" + v)
			mod, err := os.ReadFile(d.GoMod)
			require.NoError(t, err)
			list = append(list, fetchertest.Content{Version: v, Time: d.Stored.Time, Mod: string(mod), Sum: d.Sum})
		}
		return list
	}
	modules := []fetchertest.Module{
		{
			Path: "corp.test/tagged", Versions: []string{"v1.0.0", "v1.1.0-rc.1", "v1.1.0"},
			Queries: map[string]string{
				"latest": "v1.1.0", "v1": "v1.1.0", "v1.0": "v1.0.0", "main": tip, "HEAD": tip,
				tagged.Hash("main"): tip, tagged.Hash("v1.0.0")[:12]: "v1.0.0",
			},
			Contents: contents("corp.test/tagged", "v1.0.0", "v1.1.0", tip),
		},
		{
			Path: "corp.test/untagged", Queries: map[string]string{"latest": only, "main": only},
			Contents: contents("corp.test/untagged", only),
		},
	}
	opts := &fetcher.Options{Transport: net.Transport(), Insecure: modtest.Insecure, Netrc: "none"}
	open := func(opts *fetcher.Options) func() (athens.Fetcher, error) {
		return func() (athens.Fetcher, error) {
			f, err := fetcher.New(t.TempDir(), opts)
			if err == nil {
				t.Cleanup(func() { f.Close() })
			}
			return f, err
		}
	}
	dead := modtest.NewInternet(t)
	dead.Break("", modtest.Cut())
	down := *opts
	down.Transport, down.PageTimeout = dead.Transport(), 10*time.Second
	fetchertest.Run(t, fetchertest.Harness{
		New:     open(opts),
		Down:    open(&down),
		Modules: modules,
		Missing: []module.Version{
			{Path: "corp.test/nosuch"}, {Path: "corp.test/tagged/sub"}, {Path: "corp.test/tagged", Version: "v9.9.9"},
			{Path: "corp.test/tagged", Version: "nosuch"}, {Path: "corp.test/tagged", Version: "v0.0.0-20220101100000-ffffffffffff"},
			{Path: "corp.test/untagged", Version: "v1.0.0"},
		},
		Hold: func() func() {
			release := make(chan struct{})
			mend := net.Break("", modtest.Hang(release))
			return func() { mend(); close(release) }
		},
		Asked: func() int { return net.Count("") },
	})
}
