package fetcher_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// TestProxyOfGit compares what http.proxy of git's configuration does where the
// environment names no proxy.
func TestProxyOfGit(t *testing.T) {
	const path = "git.test/simple.git"
	net := modtest.NewInternet(t, modtest.NewRepo(t, `# A module whose path says where its repository is.
repo git.test/simple
write go.mod "module git.test/simple.git\n"
commit 2021-01-01T10:00:00Z a
tag v1.0.0
`))
	proxy := net.ProxyURL().String()
	for name, c := range map[string]struct {
		config, exempt string
		ok             bool
	}{
		"all":            {config: "[http]\nproxy = " + proxy, ok: true},
		"without scheme": {config: "[http]\nproxy = " + net.ProxyURL().Host, ok: true},
		"one host":       {config: "[http \"http://git.test\"]\nproxy = " + proxy, ok: true},
		"another host":   {config: "[http \"http://other.test\"]\nproxy = " + proxy},
		"none":           {config: "[http]\nproxy = " + proxy + "\n[http \"http://git.test\"]\nproxy ="},
		"exempt":         {config: "[http]\nproxy = " + proxy, exempt: "corp.test,.test"},
		"not exempt":     {config: "[http]\nproxy = " + proxy, exempt: "it.test,git.test.corp.test", ok: true},
		"no address":     {config: "[http]\nproxy = http://ada:s3cret@"},
		"odd scheme":     {config: "[http]\nproxy = ftp://" + net.ProxyURL().Host, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY"} {
				t.Setenv(variable, "")
			}
			t.Setenv("no_proxy", c.exempt)
			file := filepath.Join(t.TempDir(), "config")
			require.NoError(t, os.WriteFile(file, []byte(c.config+"\n"), 0o600))
			private := "none"
			if strings.HasPrefix(name, "a") { // with and without
				private = "*"
			}
			goCmd := modtest.NewGo(t, net)
			goCmd.Set("HTTP_PROXY=", "HTTPS_PROXY=", "http_proxy=", "https_proxy=", "NO_PROXY=", "no_proxy="+c.exempt, "GIT_CONFIG_GLOBAL="+file)
			direct := goCmd.Download(path + "@v1.0.0")[0]
			require.Equal(t, c.ok, direct.Error == "", direct.Error)

			f, err := fetcher.New(t.TempDir(), &fetcher.Options{Insecure: modtest.Insecure, Netrc: "none", GitConfig: file, SSHDir: "none",
				Private: private})
			require.NoError(t, err)
			defer f.Close()
			got, err := modtest.FetchAll(t, f, path, "v1.0.0")
			if !c.ok {
				require.Error(t, err)
				assert.NotContains(t, err.Error(), "s3cret")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, direct.Sum, got.Sum)
		})
	}
}
