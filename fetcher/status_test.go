package fetcher_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// statusQuestions are all the questions that a Fetcher is asked.
var statusQuestions = map[string]func(context.Context, athens.Fetcher, string) error{
	"list": func(ctx context.Context, f athens.Fetcher, path string) error {
		_, err := f.Versions(ctx, path)
		return err
	},
	"latest": func(ctx context.Context, f athens.Fetcher, path string) error {
		_, err := f.Resolve(ctx, path, "latest")
		return err
	},
	"prefix": func(ctx context.Context, f athens.Fetcher, path string) error {
		_, err := f.Resolve(ctx, path, "v1")
		return err
	},
	"branch": func(ctx context.Context, f athens.Fetcher, path string) error {
		_, err := f.Resolve(ctx, path, "main")
		return err
	},
	"version": func(ctx context.Context, f athens.Fetcher, path string) error {
		return statusFetch(ctx, f, path, "v1.0.0")
	},
}

// statusFetch fetches all three files.
func statusFetch(ctx context.Context, f athens.Fetcher, path, version string) error {
	c, err := f.Fetch(ctx, module.Version{Path: path, Version: version})
	if err == nil {
		_, err = c.Info(ctx)
	}
	if err == nil {
		_, err = c.Mod(ctx)
	}
	if err == nil {
		err = c.Zip(ctx, io.Discard)
	}
	return err
}

// TestStatuses answers each request that a question needs with each status there
// is. Only what 404 and 410 say is definite, and a pack's not even that: its
// repository has just listed its references.
func TestStatuses(t *testing.T) {
	t.Parallel()
	list := statusPkt("# service=git-upload-pack\n") + "0000" + statusPkt(statusHash+" HEAD\x00side-band-64k shallow\n") +
		statusPkt(statusHash+" refs/heads/main\n") + statusPkt(statusHash+" refs/tags/v1.0.0\n") + "0000"
	const gitPage = `<meta name="go-import" content="corp.test/m git https://git.test/m">`
	const modPage = `<meta name="go-import" content="corp.test/m mod https://goproxy.test">`
	for name, c := range map[string]struct {
		path, page string
		fails      string // the request's path ends so
		questions  string
		pack       bool
	}{
		"page":             {"corp.test/m", gitPage, "corp.test/m", "", false},
		"page of the root": {"corp.test/m/sub", gitPage, "corp.test/m", "", false},
		"references":       {"corp.test/m", gitPage, "/info/refs", "", false},
		"a known host":     {"github.com/corp/m", "", "/info/refs", "", false},
		"suffix":           {"git.test/m.git", "", "/info/refs", "", false},
		"pack":             {"corp.test/m", gitPage, "/git-upload-pack", "latest prefix branch version", true},
		"pack of a host":   {"github.com/corp/m", "", "/git-upload-pack", "latest prefix branch version", true},
		"mod list":         {"corp.test/m", modPage, "/@v/list", "list prefix", false},
		"mod latest":       {"corp.test/m", modPage, "/@latest", "", false},
		"mod branch":       {"corp.test/m", modPage, "/main.info", "branch", false},
		"mod info":         {"corp.test/m", modPage, "/v1.0.0.info", "version", false},
		"mod mod":          {"corp.test/m", modPage, "/v1.0.0.mod", "version", false},
		"mod zip":          {"corp.test/m", modPage, "/v1.0.0.zip", "version", false},
	} {
		if c.fails == "/@latest" {
			continue // where it is missing, the list is asked
		}
		for question, ask := range statusQuestions {
			if c.questions != "" && !strings.Contains(c.questions, question) {
				continue
			}
			t.Run(name+"/"+question, func(t *testing.T) {
				t.Parallel()
				modtest.Statuses(t, !c.pack, func(t *testing.T, status int) error {
					met := false
					f := newStatusFetcher(t, func(r *http.Request) (int, string) {
						switch url := r.URL.Host + r.URL.Path; {
						case strings.HasSuffix(url, c.fails):
							met = true
							return status, modtest.SignIn
						case r.URL.Query().Has("go-get"):
							return 200, c.page
						case strings.HasSuffix(url, "/info/refs"):
							return 200, list
						case strings.HasSuffix(url, "/list"):
							return 200, "v1.0.0\n"
						case strings.HasSuffix(url, ".info"):
							return 200, `{"Version":"v1.0.0"}`
						case strings.HasSuffix(url, ".mod"):
							return 200, "module corp.test/m\n"
						}
						return 404, ""
					})
					err := ask(t.Context(), f, c.path)
					assert.True(t, met, "the request that fails was made")
					return err
				})
			})
		}
	}
}

const statusHash = "0123456789abcdef0123456789abcdef01234567"

func statusPkt(line string) string {
	const digits = "0123456789abcdef"
	n := len(line) + 4
	return string([]byte{digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15]}) + line
}

// newStatusFetcher is one whose requests answer says.
func newStatusFetcher(t *testing.T, answer func(*http.Request) (status int, body string)) *fetcher.Fetcher {
	f, err := fetcher.New(t.TempDir(), &fetcher.Options{
		Netrc: "none", GitConfig: "none", SSHDir: "none", Insecure: "none",
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Body != nil {
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
			status, body := answer(r)
			header := http.Header{}
			if strings.HasSuffix(r.URL.Path, "/info/refs") && strings.HasPrefix(body, "00") {
				header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
			}
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: header, Request: r, ContentLength: -1}, nil
		}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A request that is redirected to where one signs in is an outage, whatever that
// host answers.
func TestSentToSignIn(t *testing.T) {
	for _, status := range []int{200, 401, 403, 404, 410, 500} {
		for name, c := range map[string]struct{ path, page, fails string }{
			"page":       {"corp.test/m", "", "corp.test/m"},
			"references": {"corp.test/m", `<meta name="go-import" content="corp.test/m git https://git.test/m">`, "git.test/m/info/refs"},
			"mod":        {"corp.test/m", `<meta name="go-import" content="corp.test/m mod https://git.test">`, "/v1.0.0.info"},
		} {
			t.Run(name, func(t *testing.T) {
				n := modtest.NewInternet(t)
				n.Handle("corp.test/m", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if c.page == "" {
						http.Redirect(w, r, "http://login.test/", http.StatusFound)
						return
					}
					_, _ = io.WriteString(w, c.page)
				}))
				n.Secure("git.test", "login.test")
				n.Handle("git.test", http.RedirectHandler("https://login.test/", http.StatusFound))
				n.Handle("login.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, modtest.SignIn)
				}))
				requireOutage(t, statusFetch(t.Context(), newFetcher(t, n, nil), c.path, "v1.0.0"), "")
			})
		}
	}
}

// A repository, or a page, that asks for a login or says Retry-After is not asked by
// every question, and its neighbour is.
func TestOutagesAreRemembered(t *testing.T) {
	for name, c := range map[string]struct {
		fails  string
		status int
		after  string
	}{
		"a login": {"/simple/info/refs", 401, ""}, "refused": {"/simple/info/refs", 403, ""},
		"too many": {"/simple/info/refs", 429, "120"}, "busy": {"/simple/info/refs", 503, "120"},
		"broken": {"/simple/info/refs", 500, ""}, "cut off": {"/simple/info/refs", 0, ""},
		"a broken page": {"/simple", 502, ""}, "a page that is cut off": {"/simple", 0, ""}, "a page to sign in at": {"/simple", 200, ""},
		"a login at the page": {"/simple", 401, ""}, "a page that is busy": {"/simple", 503, "120"},
	} {
		t.Run(name, func(t *testing.T) {
			n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
			n.Add(modtest.NewRepo(t, "# A neighbour.\nrepo git.test/other\nwrite go.mod \"module git.test/other\\n\"\ncommit 2022-01-01T10:00:00Z One\n"))
			n.Break("git.test"+c.fails, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if c.after != "" {
						w.Header().Set("Retry-After", c.after)
					}
					if c.status == 0 {
						panic(http.ErrAbortHandler)
					}
					w.WriteHeader(c.status)
				})
			})
			f := newFetcher(t, n, func(o *fetcher.Options) { o.DownTTL = time.Hour })
			for range 100 {
				_, err := f.Versions(t.Context(), "git.test/simple")
				requireOutage(t, err, "")
				var outage *athens.UnavailableError
				require.ErrorAs(t, err, &outage)
				assert.Equal(t, c.after != "", outage.RetryAfter > time.Minute, "%v", outage.RetryAfter)
				assert.LessOrEqual(t, outage.RetryAfter, 2*time.Minute)
			}
			most := 1
			if c.status == 0 {
				most = 2 // net/http repeats a request on a connection that it had kept
			}
			assert.LessOrEqual(t, n.Count("git.test"+c.fails), most, "%v", n.Requests(""))
			_, err := f.Versions(t.Context(), "git.test/other")
			assert.NoError(t, err)
		})
	}
}

// The module of go's releases is on the GOPROXY server that its page names.
func TestToolchain(t *testing.T) {
	const version = "v0.0.1-go1.99.0.linux-amd64"
	f := newStatusFetcher(t, func(r *http.Request) (int, string) {
		switch {
		case r.URL.Query().Has("go-get"):
			return 200, `<meta name="go-import" content="golang.org/toolchain mod https://dl.test">`
		case strings.HasSuffix(r.URL.Path, "/"+version+".info"):
			return 200, `{"Version":"` + version + `"}`
		}
		return 404, ""
	})
	c, err := f.Fetch(t.Context(), module.Version{Path: "golang.org/toolchain", Version: version})
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, version, info.Version)
}

// A folder in the place of netrc, or below a file, is no reason to ask nobody.
func TestNetrcIsUnreadable(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, name := range []string{folder, filepath.Join(file, "netrc")} {
		t.Setenv("NETRC", name)
		var out bytes.Buffer
		n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
		f := newFetcher(t, n, func(o *fetcher.Options) {
			o.Netrc, o.Logger = "", slog.New(slog.NewTextHandler(&out, nil))
		})
		_, err := modtest.FetchAll(t, f, "git.test/simple", "v1.0.0")
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(out.String(), "netrc can't be read"), out.String())
	}
}
