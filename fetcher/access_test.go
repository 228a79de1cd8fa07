package fetcher_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/cgi"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// gitConfig writes a file with git's configuration.
func gitConfig(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "gitconfig")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// The same configuration leads a Fetcher and the go command to the same place,
// and leaves the same trace of it: none.
func TestInsteadOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, asked string }{
		"mirror": {"[url \"http://mirror.test/them/\"]\n insteadOf = http://git.test/\n", "mirror.test/them/simple"},
		"longest": {"[url \"http://no.test/\"]\n insteadOf = http://\n[url \"http://mirror.test/them/simple\"]\n insteadOf = http://git.test/simple\n" +
			"[url \"http://no.test/\"]\n insteadOf = http://git.test/\n", "mirror.test/them/simple"},
		"login": {"[url \"http://ada:s3cret@locked.test/\"]\n insteadOf = http://git.test/\n", "locked.test/simple"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := modtest.Ready(t, "simple")[0]
			n := modtest.NewInternet(t)
			httpPage(n, "git.test/simple", "git", "http://git.test/simple")
			n.Handle("mirror.test/them/simple", at(repo))
			n.Handle("locked.test/simple", modtest.BasicAuth("ada", "s3cret")(at(repo)))
			config := gitConfig(t, c.config)
			goCmd := modtest.NewGo(t, n)
			goCmd.Set("GIT_CONFIG_GLOBAL=" + config)
			want := goCmd.MustDownload("git.test/simple@v1.1.0")
			require.NotZero(t, n.Count(c.asked))
			n.Reset()
			got, err := modtest.FetchAll(t, newFetcher(t, n, func(o *fetcher.Options) { o.GitConfig = config }), "git.test/simple", "v1.1.0")
			require.NoError(t, err)
			assert.Equal(t, want.Sum, got.Sum)
			assert.Equal(t, modtest.JSON(t, want.Origin), modtest.JSON(t, got.Info.Origin))
			assert.NotZero(t, n.Count(c.asked))
			assert.Zero(t, n.Count("no.test"))
		})
	}
}

// at serves a repository under another name.
func at(repo *modtest.Repo) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.URL.Path, "/simple")
		r = r.Clone(r.Context())
		r.URL.Path = rest
		out, err := exec.Command("git", "--exec-path").Output()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		(&cgi.Handler{
			Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Root: "/",
			Env: []string{"GIT_PROJECT_ROOT=" + repo.Dir(), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
				"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol")},
		}).ServeHTTP(w, r)
	})
}

// What git's configuration names and is no server is refused, and not shown.
func TestInsteadOfNonsense(t *testing.T) {
	n := modtest.NewInternet(t)
	httpPage(n, "git.test/simple", "git", "https://git.test/simple")
	for _, base := range []string{
		"file:///srv/s3cret/", "/srv/s3cret/", "ext::sh -c s3cret ", "s3cret", "-oProxyCommand=s3cret:", "ssh://-oProxyCommand=s3cret/",
		"https://%zz s3cret/", "ssh:///s3cret", "ftp://s3cret/", "ssh://git@host.test/s3cret%0a", "git@-host:s3cret",
	} {
		f := newFetcher(t, n, func(o *fetcher.Options) {
			o.GitConfig, o.SSHDir = gitConfig(t, "[url \""+base+"\"]\n insteadOf = https://git.test/\n"), t.TempDir()
		})
		_, err := f.Versions(t.Context(), "git.test/simple")
		var invalid *athens.InvalidError
		require.ErrorAs(t, err, &invalid, base)
		assert.ErrorContains(t, err, "the URL that git's configuration replaces https://git.test/simple with", base)
		assert.NotContains(t, err.Error(), "s3cret", base)
	}
	bad := newFetcher(t, n, func(o *fetcher.Options) { o.GitConfig = gitConfig(t, "[url \"s3cret") })
	_, err := bad.Versions(t.Context(), "git.test/simple")
	requireOutage(t, err, "gitconfig: line 1")
	assert.NotContains(t, err.Error(), "s3cret")

	// A go-import page may name no file, nor use git's short form.
	for _, u := range []string{"file:///srv/x", "git@git.test:x", "/srv/x", "x:y"} {
		httpPage(n, "bad.test/x", "git", u)
		_, err := newFetcher(t, n, nil).Versions(t.Context(), "bad.test/x")
		assert.ErrorAs(t, err, new(*athens.MissingError), "as the go command refuses %s", u)
	}
	httpPage(n, "odd.test/x", "git", "ftp://git.test/x")
	_, err = newFetcher(t, n, nil).Versions(t.Context(), "odd.test/x")
	assert.ErrorIs(t, err, errors.ErrUnsupported)
}

// GIT_ALLOW_PROTOCOL is git's own list of schemes.
func TestAllowProtocol(t *testing.T) {
	t.Setenv("GIT_ALLOW_PROTOCOL", "https:ssh")
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	_, err := newFetcher(t, n, nil).Versions(t.Context(), "git.test/simple")
	assert.ErrorAs(t, err, new(*athens.InvalidError))
	assert.ErrorContains(t, err, "GIT_ALLOW_PROTOCOL does not allow http")
}

// Headers of git's configuration go to the repository they are for: not with
// requests for pages, not to where it redirects, not without TLS.
func TestExtraHeader(t *testing.T) {
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	n.Secure("git.test", "moved.test", "other.test")
	httpPage(n, "other.test/simple", "git", "https://git.test/simple")
	n.Handle("moved.test/simple", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://git.test"+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
	}))
	config := gitConfig(t, `
[http]
	extraHeader = X-All: 1
	extraHeader = "not a header"
	extraHeader = "X Bad: 1"
	extraHeader = "X-Split: a\nX-Smuggled: b"
[http "https://git.test/"]
	extraHeader = X-Git: 1
	extraHeader = X-Git: 2
	extraHeader = AUTHORIZATION: bearer config
[http "https://moved.test/"]
	extraHeader = X-Moved: 1
`)
	f := newFetcher(t, n, func(o *fetcher.Options) { o.GitConfig = config })
	_, err := modtest.FetchAll(t, f, "git.test/simple", "v1.0.0")
	require.NoError(t, err)
	for _, r := range n.Requests("git.test") {
		switch {
		case r.Method == http.MethodConnect:
		case strings.Contains(r.Query, "go-get=1"):
			assert.Empty(t, r.Header.Get("X-All")+r.Header.Get("X-Git")+r.Header.Get("Authorization"), "%s", r)
		default:
			assert.Equal(t, []string{"1"}, r.Header.Values("X-All"), "%s", r)
			assert.Equal(t, []string{"1", "2"}, r.Header.Values("X-Git"), "%s", r)
			assert.Equal(t, []string{"bearer config"}, r.Header.Values("Authorization"), "%s", r)
			assert.Empty(t, r.Header.Get("X-Smuggled")+r.Header.Get("X-Split"), "%s", r)
		}
	}

	httpPage(n, "other.test/simple", "git", "https://moved.test/simple")
	n.Reset()
	_, err = f.Versions(t.Context(), "other.test/simple")
	require.NoError(t, err)
	require.NotZero(t, n.Count("git.test/simple/info/refs"))
	for _, r := range n.Requests("git.test/simple") {
		assert.Empty(t, r.Header.Get("X-Moved")+r.Header.Get("X-All")+r.Header.Get("Authorization"), "%s", r)
	}
	for _, r := range n.Requests("moved.test/simple") {
		assert.Equal(t, "1", r.Header.Get("X-Moved"))
	}

	// The Credentials option wins over the configuration, that over netrc.
	name := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(name, []byte("machine git.test login a password b"), 0o600))
	for want, hook := range map[string]http.Header{"bearer config": nil, "bearer hook": {"Authorization": {"bearer hook"}}} {
		n.Reset()
		f := newFetcher(t, n, func(o *fetcher.Options) {
			o.GitConfig, o.Netrc = config, name
			o.Credentials = func(context.Context, *url.URL) (http.Header, error) { return hook, nil }
		})
		_, err := f.Versions(t.Context(), "git.test/simple")
		require.NoError(t, err)
		for _, r := range n.Requests("git.test/simple/info/refs") {
			assert.Equal(t, []string{want}, r.Header.Values("Authorization"))
		}
	}

	plain := newFetcher(t, modtest.NewInternet(t, modtest.Ready(t, "simple")...), func(o *fetcher.Options) {
		o.GitConfig, o.Insecure = config, "none"
	})
	_, err = plain.Versions(t.Context(), "git.test/simple")
	assert.Error(t, err)
}

// A token that expires between two questions, or between the list and the pack,
// is asked for once more, and the hook is told why.
func TestTokensExpire(t *testing.T) {
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	n.Secure("git.test")
	var valid, held, renewed, asked atomic.Int64 // generations of the token
	n.Break("git.test", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != fmt.Sprint("token", valid.Load()) {
				http.Error(w, "token expired", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	f := newFetcher(t, n, func(o *fetcher.Options) {
		o.RefsTTL = 1
		o.Credentials = func(ctx context.Context, _ *url.URL) (http.Header, error) {
			asked.Add(1)
			if fetcher.Refused(ctx) {
				renewed.Add(1)
				held.Store(valid.Load())
			}
			return fetcher.BasicAuth("x-access-token", fmt.Sprint("token", held.Load())), nil
		}
	})
	valid.Store(1)
	_, err := f.Versions(t.Context(), "git.test/simple")
	require.NoError(t, err)
	assert.EqualValues(t, 1, renewed.Load(), "at the page")
	valid.Store(2)
	_, err = f.Versions(t.Context(), "git.test/simple")
	require.NoError(t, err)
	assert.EqualValues(t, 2, renewed.Load(), "at the list")

	n.Break("git.test/simple/git-upload-pack", modtest.AtPack(modtest.First(1, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			valid.Store(3)
			http.Error(w, "token expired", http.StatusUnauthorized)
		})
	})))
	_, err = modtest.FetchAll(t, f, "git.test/simple", "v1.0.0")
	require.NoError(t, err)
	assert.EqualValues(t, 3, renewed.Load(), "at the pack")

	// A login that stays refused is asked for twice, and is an outage.
	refuse := newFetcher(t, n, func(o *fetcher.Options) {
		o.Credentials = func(context.Context, *url.URL) (http.Header, error) {
			asked.Add(1)
			return fetcher.BasicAuth("x", "never"), nil
		}
	})
	asked.Store(0)
	n.Reset()
	_, err = refuse.Versions(t.Context(), "git.test/simple")
	requireOutage(t, err, "credentials")
	assert.EqualValues(t, 2, asked.Load())
	assert.Equal(t, 1, n.Count("git.test/simple"), "the same login is not sent twice")
}

// Secrets of every kind that can be held, in every kind of failure there is:
// none of them is in an error, a log or an .info.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	const secret = "s3cretTokenValue"
	hidden := []string{secret, base64.StdEncoding.EncodeToString([]byte("ada:" + secret)), base64.StdEncoding.EncodeToString([]byte(secret + ":"))}
	netrcFile := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(netrcFile, []byte("machine git.test login ada password "+secret), 0o600))
	repos := modtest.Ready(t, "simple")
	ways := map[string]func(o *fetcher.Options){
		"netrc": func(o *fetcher.Options) { o.Netrc = netrcFile },
		"header": func(o *fetcher.Options) {
			o.GitConfig = gitConfig(t, "[http]\n extraHeader = Authorization: Bearer "+secret+"\n")
		},
		"url": func(o *fetcher.Options) {
			o.GitConfig = gitConfig(t, "[url \"https://ada:"+secret+"@git.test/\"]\n insteadOf = https://git.test/\n")
		},
		"user": func(o *fetcher.Options) {
			o.GitConfig = gitConfig(t, "[url \"https://"+secret+"@git.test/\"]\n insteadOf = https://git.test/\n")
		},
		"hook": func(o *fetcher.Options) {
			o.Credentials = func(context.Context, *url.URL) (http.Header, error) { return fetcher.BasicAuth("ada", secret), nil }
		},
	}
	echo := func(code int) modtest.Fault {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "you sent "+r.Header.Get("Authorization")+" "+secret, code)
			})
		}
	}
	failures := map[string]func(n *modtest.Internet){
		"none":     func(*modtest.Internet) {},
		"refused":  func(n *modtest.Internet) { n.Break("git.test/simple/info", echo(401)) },
		"denied":   func(n *modtest.Internet) { n.Break("git.test/simple/info", echo(403)) },
		"missing":  func(n *modtest.Internet) { n.Break("git.test/simple/info", echo(404)) },
		"down":     func(n *modtest.Internet) { n.Break("git.test/simple/info", echo(500)) },
		"pack":     func(n *modtest.Internet) { n.Break("git.test/simple/git-upload-pack", modtest.AtPack(echo(401))) },
		"pack 500": func(n *modtest.Internet) { n.Break("git.test/simple/git-upload-pack", modtest.AtPack(echo(500))) },
		"cut":      func(n *modtest.Internet) { n.Break("git.test", modtest.Cut()) },
		"garbage":  func(n *modtest.Internet) { n.Break("git.test/simple/info", modtest.Body("0000 "+secret)) },
		"redirect": func(n *modtest.Internet) {
			n.Break("git.test/simple/info", func(http.Handler) http.Handler {
				return http.RedirectHandler("https://"+secret+":"+secret+"@else.test/x?y", http.StatusFound)
			})
		},
	}
	for name, set := range ways {
		for failure, fail := range failures {
			t.Run(name+" "+failure, func(t *testing.T) {
				n := modtest.NewInternet(t, repos...)
				n.Secure("git.test", "else.test")
				fail(n)
				var out bytes.Buffer
				f := newFetcher(t, n, func(o *fetcher.Options) {
					set(o)
					o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
				got, err := modtest.FetchAll(t, f, "git.test/simple", "v1.1.0")
				assert.Equal(t, failure == "none", err == nil, "%v", err)
				for e := err; e != nil; e = errors.Unwrap(e) {
					fmt.Fprintf(&out, "%v %+v %q\n", e, e, e)
				}
				_, err = f.Resolve(t.Context(), "git.test/simple", "latest")
				_, err2 := f.Versions(t.Context(), "git.test/simple")
				fmt.Fprintln(&out, modtest.JSON(t, got.Info), err, err2)
				for _, text := range hidden {
					assert.NotContains(t, out.String(), text)
				}
			})
		}
	}
}

// Git's own protocol, where a go-import page says so.
func TestGitProtocol(t *testing.T) {
	repo := modtest.Ready(t, "simple")[0]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var work sync.WaitGroup
	lines := make(chan string, 10)
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				var length int
				head := make([]byte, 4)
				if _, err := conn.Read(head); err != nil {
					return
				}
				_, _ = fmt.Sscanf(string(head), "%04x", &length)
				body := make([]byte, length-4)
				if _, err := conn.Read(body); err != nil {
					return
				}
				lines <- string(body)
				cmd := exec.Command("git", "upload-pack", repo.Dir())
				cmd.Stdin, cmd.Stdout = conn, conn
				_ = cmd.Run()
			})
		}
	})
	defer work.Wait()
	defer l.Close()
	n := modtest.NewInternet(t)
	httpPage(n, "git.test/simple", "git", "git://"+l.Addr().String()+"/some/repo")
	f := newFetcher(t, n, func(o *fetcher.Options) { o.Private = "*" })
	got, err := modtest.FetchAll(t, f, "git.test/simple", "v1.1.0")
	require.NoError(t, err)
	assert.Equal(t, "git://"+l.Addr().String()+"/some/repo", got.Info.Origin.URL)
	assert.Equal(t, "git-upload-pack /some/repo\x00host="+l.Addr().String()+"\x00\x00version=2\x00", <-lines, "as git asks for version 2")
}

// The variables that say which requests take a proxy. Go reads them once a
// process, so this asks a process of its own.
func TestProxyVariables(t *testing.T) {
	if os.Getenv("FETCHER_CHILD") != "" {
		f, err := fetcher.New(t.TempDir(), &fetcher.Options{Netrc: "none", GitConfig: "none", SSHDir: "none"})
		require.NoError(t, err)
		for _, path := range []string{"git.test/simple", "direct.test/simple"} {
			list, err := f.Versions(t.Context(), path)
			fmt.Println(path, list, err != nil)
		}
		require.NoError(t, f.Close())
		return
	}
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	n.Secure("git.test", "direct.test")
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxyVariables$", "-test.v")
	cmd.Env = append(append(os.Environ(), n.Env()...), "FETCHER_CHILD=1", "GOINSECURE=", "NO_PROXY=direct.test", "no_proxy=direct.test")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "git.test/simple [v1.0.0 v1.1.0 v1.2.0] false")
	assert.Contains(t, string(out), "direct.test/simple [] true")
	assert.NotZero(t, n.Count("git.test/simple/info/refs"))
	assert.Zero(t, n.Count("direct.test*"))
}
