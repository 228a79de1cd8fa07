package fetcher_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// A refusal of ours names the setting that changes it, and no secret.
func TestRefusalsNameTheirSetting(t *testing.T) {
	netrc := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(netrc, []byte("machine code.test login ada password s3cret"), 0o600))
	for name, c := range map[string]struct {
		repo   string
		change func(*fetcher.Options)
		want   []string
	}{
		"withheld login": {"http://code.test/simple", func(o *fetcher.Options) { o.Netrc = netrc },
			[]string{"a login for code.test is known, but is not sent over plain http", "Options.Insecure (GOINSECURE)"}},
		"withheld header": {"http://code.test/simple", func(o *fetcher.Options) {
			o.GitConfig = gitConfig(t, "[http]\n extraHeader = Authorization: Bearer s3cret\n")
		}, []string{"a login for code.test is known", "GOINSECURE"}},
		"GOVCS": {"http://code.test/simple", func(o *fetcher.Options) { o.GOVCS = "*:off" }, []string{"Options.GOVCS"}},
		"insteadOf": {"http://code.test/simple", func(o *fetcher.Options) {
			o.GitConfig = gitConfig(t, "[url \"strange://s3cret@x/\"]\n insteadOf = http://\n")
		}, []string{"insteadOf"}},
		"address":  {"ssh://git@code.test/simple", func(o *fetcher.Options) { o.SSHDir, o.Private = jumpless(t), "none.test" }, []string{"GOPRIVATE", "Options.Private"}},
		"ssh host": {"ssh://git@code.test/simple", func(o *fetcher.Options) { o.SSHDir = t.TempDir() }, []string{"known_hosts", "StrictHostKeyChecking accept-new"}},
		"ssh off":  {"ssh://git@code.test/simple", nil, []string{"SSHDir"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := modtest.NewInternet(t)
			n.Secure("git.test")
			httpPage(n, "git.test/m", "git", c.repo)
			n.Handle("code.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Empty(t, r.Header.Get("Authorization"))
				w.WriteHeader(http.StatusUnauthorized)
			}))
			f := newFetcher(t, n, func(o *fetcher.Options) {
				o.Insecure = "none"
				if c.change != nil {
					c.change(o)
				}
			})
			_, err := f.Versions(t.Context(), "git.test/m")
			require.Error(t, err)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "s3cret")
			assert.NotContains(t, err.Error(), "127.0.0.1")
		})
	}
}

// jumpless is an ssh folder that reaches code.test at a loopback address.
func jumpless(t *testing.T) string {
	home := newSSHHome(t)
	home.reach("code.test", newSSHServer(t, newEd25519(t)))
	return home.dir
}
