package fetcher_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/netguard"
)

// setting is what a refusal names: an option, an environment variable or a setting of git
// or ssh.
var setting = regexp.MustCompile(`Options\.[A-Z]\w+|\bGO[A-Z]{3,}\b|\bGIT_[A-Z_]+\b|insteadOf|known_hosts|StrictHostKeyChecking|ProxyJump`)

// TestEveryRefusalNamesASetting makes the Fetcher refuse for each reason that is its own,
// and not the server's. Each error names a setting that changes it.
func TestEveryRefusalNamesASetting(t *testing.T) {
	file := func(t *testing.T, text string) string {
		name := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	git := func(url string) string { return `<meta name="go-import" content="corp.test/m ` + url + `">` }
	list := statusPkt("# service=git-upload-pack\n") + "0000" + statusPkt(statusHash+" HEAD\x00side-band-64k shallow\n") +
		statusPkt(statusHash+" refs/heads/"+strings.Repeat("long", 50)+"\n") + "0000"
	for name, c := range map[string]struct {
		page   string
		status int // of what the page names
		body   string
		change func(*testing.T, *fetcher.Options)
		names  string // the setting
	}{
		"scheme":             {page: git("git ftp://git.test/m"), names: "Options.GitConfig"},
		"scheme of a server": {page: git("mod http://git.test/m"), names: "GOINSECURE"},
		"page":               {page: strings.Repeat(" ", 2000), change: func(_ *testing.T, o *fetcher.Options) { o.MaxPageBytes = 1000 }, names: "Options.MaxPageBytes"},
		"references":         {page: git("git https://git.test/m"), body: list, change: func(_ *testing.T, o *fetcher.Options) { o.MaxRefsBytes = 100 }, names: "Options.MaxRefsBytes"},
		"list of a server":   {page: git("mod https://git.test/m"), body: strings.Repeat("v1.0.0\n", 9), change: func(_ *testing.T, o *fetcher.Options) { o.MaxModBytes = 9 }, names: "Options.MaxModBytes"},
		"redirects":          {page: "redirect", change: func(_ *testing.T, o *fetcher.Options) { o.MaxRedirects = 3 }, names: "Options.MaxRedirects"},
		"redirect to http":   {page: "downgrade", names: "Options.Insecure"},
		"a missing login":    {page: git("git https://git.test/m"), status: 401, names: "Options.Credentials"},
		"a withheld login": {page: git("git http://git.test/m"), status: 401, names: "GOINSECURE", change: func(t *testing.T, o *fetcher.Options) {
			o.Netrc = file(t, "machine git.test login ada password s3cret")
		}},
		"GOVCS":       {page: git("git https://git.test/m"), change: func(_ *testing.T, o *fetcher.Options) { o.GOVCS = "*:off" }, names: "Options.GOVCS"},
		"ssh":         {page: git("git ssh://git@git.test/m"), names: "Options.SSHDir"},
		"an ssh host": {page: git("git ssh://git@git.test/m"), change: func(t *testing.T, o *fetcher.Options) { o.SSHDir = t.TempDir() }, names: "StrictHostKeyChecking"},
		"a proxy command": {page: git("git ssh://git@git.test/m"), names: "ProxyJump", change: func(t *testing.T, o *fetcher.Options) {
			o.SSHDir = t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(o.SSHDir, "config"), []byte("Host *\n  ProxyCommand nc %h\n"), 0o600))
		}},
		"a protocol": {page: git("git https://git.test/m"), names: "GIT_ALLOW_PROTOCOL", change: func(t *testing.T, _ *fetcher.Options) { t.Setenv("GIT_ALLOW_PROTOCOL", "ssh") }},
		"insteadOf": {page: git("git https://git.test/m"), names: "insteadOf", change: func(t *testing.T, o *fetcher.Options) {
			o.GitConfig = file(t, "[url \"odd:://x\"]\n\tinsteadOf = https://git.test/\n")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			opts := &fetcher.Options{Netrc: "none", GitConfig: "none", SSHDir: "none", Insecure: "none", GOVCS: "none"}
			if c.change != nil {
				c.change(t, opts)
			}
			opts.Transport = answering(func(r *http.Request) (int, string) {
				switch {
				case r.URL.Query().Has("go-get"):
					return 200, c.page
				case c.status != 0:
					return c.status, ""
				}
				return 200, c.body
			})
			f, err := fetcher.New(t.TempDir(), opts)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, f.Close()) })
			_, err = f.Versions(t.Context(), "corp.test/m")
			require.Error(t, err)
			assert.Regexp(t, setting, err.Error())
			assert.ErrorContains(t, err, c.names)
		})
	}
	assert.Regexp(t, setting, netguard.Forbidden{Host: "x"}.Error())
}

// A pack that needs more than a limit is refused with the limit's name.
func TestRefusedPacksNameTheirLimit(t *testing.T) {
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	for name, change := range map[string]func(*fetcher.Options){
		"MaxFetchBytes": func(o *fetcher.Options) { o.MaxFetchBytes = 100 },
		"MaxWorkBytes":  func(o *fetcher.Options) { o.MaxWorkBytes = 100 },
		"MaxModBytes":   func(o *fetcher.Options) { o.MaxModBytes = 3 },
	} {
		_, err := modtest.FetchAll(t, newFetcher(t, n, change), "git.test/simple", "v1.0.0")
		assert.ErrorContains(t, err, "Options."+name, name)
	}
}

// answering is a transport that answers as the function says. The words "redirect" and
// "downgrade" of a page redirect to the page itself, or to http.
func answering(answer func(*http.Request) (int, string)) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		status, body := answer(r)
		header := http.Header{}
		switch {
		case body == "redirect":
			status = http.StatusFound
			header.Set("Location", r.URL.String())
		case body == "downgrade":
			status = http.StatusFound
			header.Set("Location", strings.Replace(r.URL.String(), "https:", "http:", 1))
		case strings.HasPrefix(body, "00"):
			header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
		}
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: header, Request: r, ContentLength: -1}, nil
	}
}
