package fetcher_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// TestGOVCS compares what a GOVCS setting allows with the go command: a public
// path, a private one, and one whose form says where its repository is.
func TestGOVCS(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	for _, setting := range []string{
		"*:git", "*:off", "public:off", "private:off,*:all", "private:hg|git,public:off", "git.test:off", "git.test/other:off", " git.test : hg | git ",
		"git.test/simple.git:off", "git.test:hg,*:git", "GIT.TEST:off", "public:hg", "corp.test/*:off",
		"git", "git.test:", ":git", "a:git,,b:git", "./x:git", "a:git,a:hg", "a:git|",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			goCmd := modtest.NewGo(t, net)
			goCmd.Set("GOVCS="+setting, "GOPRIVATE=corp.test")
			paths := []string{"git.test/simple", "corp.test/secret/plans", "git.test/simple.git"}
			f, err := fetcher.New(t.TempDir(), &fetcher.Options{Transport: net.Transport(), Insecure: modtest.Insecure, Netrc: "none",
				GitConfig: "none", SSHDir: "none", GOVCS: setting, Private: "corp.test"})
			if err == nil {
				defer f.Close()
			}
			for i, want := range goCmd.Download(paths[0]+"@v1.0.0", paths[1]+"@v1.0.0", paths[2]+"@v1.0.0") {
				got := err
				if got == nil {
					_, got = f.Fetch(t.Context(), module.Version{Path: paths[i], Version: "v1.0.0"})
				}
				if strings.Contains(want.Error, "GOVCS") {
					require.Error(t, got, want.Error)
					if err == nil {
						assert.ErrorAs(t, got, new(*athens.BlockedError), want.Error)
					}
				} else {
					assert.NotErrorAs(t, got, new(*athens.BlockedError), "%s: %s", paths[i], want.Error)
				}
			}
		})
	}
}
