package gocmd_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/fetchertest"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

const kitScript = `# Two versions, and a commit after them.
repo corp.test/tagged
write go.mod "module corp.test/tagged\n"
commit 2022-01-01T10:00:00Z Begin
tag v1.0.0
write a.go "package tagged\n"
commit 2022-01-02T10:00:00Z a
tag v1.1.0
write b.go "package tagged\n"
commit 2022-01-03T10:00:00Z b
`

func TestKit(t *testing.T) {
	repo := modtest.NewRepo(t, kitScript)
	net := modtest.NewInternet(t, repo, modtest.NewRepo(t, "# No tags.\nrepo corp.test/untagged\nwrite a.go \"package untagged\\n\"\ncommit 2022-02-01T10:00:00Z Begin\n"))
	content := func(path, query string) fetchertest.Content {
		d := modtest.NewGo(t, net).MustDownload(path + "@" + query)
		return fetchertest.Content{Version: d.Version, Time: d.Stored.Time, Mod: readFile(t, d.GoMod), Sum: d.Sum}
	}
	tip, only := content("corp.test/tagged", "main"), content("corp.test/untagged", "latest")
	open := func(net *modtest.Internet) func() (athens.Fetcher, error) {
		env := modtest.NewGo(t, net).Env()
		return func() (athens.Fetcher, error) {
			f, err := gocmd.New(&gocmd.Options{Dir: t.TempDir(), Env: env})
			if err == nil {
				t.Cleanup(func() { require.NoError(t, f.Close()) })
			}
			return f, err
		}
	}
	dead := modtest.NewInternet(t)
	dead.Break("", modtest.Cut())
	fetchertest.Run(t, fetchertest.Harness{
		New:  open(net),
		Down: open(dead),
		Modules: []fetchertest.Module{
			{
				Path: "corp.test/tagged", Versions: []string{"v1.0.0", "v1.1.0"},
				Queries:  map[string]string{"v1.0": "v1.0.0", "main": tip.Version},
				Contents: []fetchertest.Content{tip},
			},
			{Path: "corp.test/untagged", Queries: map[string]string{"latest": only.Version}},
		},
		Missing: []module.Version{
			{Path: "corp.test/nosuch"}, {Path: "corp.test/tagged/sub"}, {Path: "corp.test/tagged", Version: "v9.9.9"}, {Path: "corp.test/tagged", Version: "nosuch"},
		},
		Hold: func() func() {
			release := make(chan struct{})
			mend := net.Break("", modtest.Hang(release))
			return func() { mend(); close(release) }
		},
		Asked: func() int { return net.Count("") },
		// Each question starts several processes.
		Patience: 3 * time.Minute,
	})
}
