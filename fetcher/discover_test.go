package fetcher_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// libRepo is what the pages of this file point at.
const libRepo = `# A module whose path is elsewhere.
repo git.test/lib
import none
write go.mod "module corp.test/lib\n"
write in/go.mod "module corp.test/lib/in\n"
write in/in.go "package in\n"
write lib.go "package lib\n"
commit 2022-01-01T10:00:00Z Begin
tag v1.0.0
tag in/v1.0.0
`

func tag(content string) string {
	return fmt.Sprintf(`<html><head><meta name="go-import" content="%s"></head></html>`, content)
}

const libTag = `corp.test/lib git http://git.test/lib`

// A pageCase is what a host answers about a module path, by the path asked.
type pageCase struct {
	name   string
	path   string
	pages  map[string]string // by path; one that begins with "!NNN " has that status, or is cut off for 999; "->" redirects
	ok     bool              // for the reader; the go command decides
	outage bool              // the refusal is no definite one
}

var pageCases = []pageCase{
	{name: "plain", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag)}, ok: true},
	{name: "none", path: "corp.test/lib", pages: map[string]string{"/lib": "<html></html>"}, outage: true},
	{name: "empty", path: "corp.test/lib", pages: map[string]string{"/lib": ""}, outage: true},
	{name: "404", path: "corp.test/lib", pages: map[string]string{}},
	{name: "404 with a tag", path: "corp.test/lib", pages: map[string]string{"/lib": "!404 " + tag(libTag)}, ok: true},
	{name: "500 with a tag", path: "corp.test/lib", pages: map[string]string{"/lib": "!500 " + tag(libTag)}, ok: true},
	{name: "500", path: "corp.test/lib", pages: map[string]string{"/lib": "!500 oops"}, outage: true},
	{name: "403", path: "corp.test/lib", pages: map[string]string{"/lib": "!403 no"}, outage: true},
	{name: "410", path: "corp.test/lib", pages: map[string]string{"/lib": "!410 gone"}},
	{name: "redirect", path: "corp.test/lib", pages: map[string]string{"/lib": "->/other", "/other": tag(libTag)}, ok: true},
	{name: "redirects for ever", path: "corp.test/lib", pages: map[string]string{"/lib": "->/lib"}, outage: true},
	{name: "sub-path", path: "corp.test/lib/in", pages: map[string]string{"/lib": tag(libTag), "/lib/in": tag(libTag)}, ok: true},
	{name: "sub-path without root", path: "corp.test/lib/in", pages: map[string]string{"/lib/in": tag(libTag)}},
	{name: "sub-path and root disagree", path: "corp.test/lib/in", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test/other"), "/lib/in": tag(libTag)}},
	{name: "sub-path of its own", path: "corp.test/lib/in", pages: map[string]string{"/lib/in": tag("corp.test/lib/in git http://git.test/lib")}, ok: true},
	{name: "another prefix", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/li git http://git.test/lib")}},
	{name: "example.net", path: "example.net/lib", pages: nil},
	{name: "several, one fits", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/a git http://git.test/a") + tag(libTag)}},
	{name: "several in one head", path: "corp.test/lib", pages: map[string]string{"/lib": `<head><meta name="go-import" content="corp.test/a git http://git.test/a"><meta name="go-import" content="` + libTag + `">`}, ok: true},
	{name: "two fit", path: "corp.test/lib", pages: map[string]string{"/lib": `<head><meta name="go-import" content="corp.test git http://git.test/a"><meta name="go-import" content="` + libTag + `">`}},
	{name: "in the body", path: "corp.test/lib", pages: map[string]string{"/lib": `<head></head><body><meta name="go-import" content="` + libTag + `">`}, outage: true},
	{name: "no head", path: "corp.test/lib", pages: map[string]string{"/lib": `<meta name="go-import" content="` + libTag + `">`}, ok: true},
	{name: "not well-formed", path: "corp.test/lib", pages: map[string]string{"/lib": `<!DOCTYPE html><head><link rel=x><br><META NAME="go-import" CONTENT="` + libTag + `"><p></head>`}, ok: true},
	{name: "a name in capitals", path: "corp.test/lib", pages: map[string]string{"/lib": `<meta name="GO-IMPORT" content="` + libTag + `">`}, outage: true},
	{name: "broken before", path: "corp.test/lib", pages: map[string]string{"/lib": `<a <b <meta name="go-import" content="` + libTag + `">`}, outage: true},
	{name: "charset", path: "corp.test/lib", pages: map[string]string{"/lib": `<?xml version="1.0" encoding="ISO-8859-1"?>` + tag(libTag)}, outage: true},
	{name: "entities", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test&#47;lib git http://git.test/lib")}, ok: true},
	{name: "two words", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git")}, outage: true},
	{name: "five words", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " a b")}, outage: true},
	{name: "a folder", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " in")}, ok: true},
	{name: "a folder that is absolute", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " /in")}},
	{name: "a folder above", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " ../x")}},
	{name: "no scheme", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git git.test/lib")}},
	{name: "file scheme", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git file:///git.test/lib")}},
	{name: "unknown system", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib cvs http://git.test/lib")}},
	{name: "no repository there", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test/none")}},
	{name: "mod wins", path: "corp.test/lib", pages: map[string]string{"/lib": `<head><meta name="go-import" content="` + libTag + `"><meta name="go-import" content="corp.test/lib mod http://goproxy.test/x">`}},
	{name: "mod", path: "corp.test/pm", pages: map[string]string{"/pm": tag("corp.test/pm mod http://goproxy.test")}, ok: true},
	{name: "the host alone", path: "corp.test", pages: map[string]string{"/": tag("corp.test git http://git.test/lib")}, ok: true},
	{name: "a folder that is the root", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " .")}},
	{name: "a folder that is not clean", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " in/../in//")}, ok: true},
	{name: "a folder that is a pattern", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " i*")}},
	{name: "a folder that is not there", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + " nowhere")}},
	{name: "a folder for a sub-path", path: "corp.test/lib/x", pages: map[string]string{"/lib": tag(libTag + " in"), "/lib/x": tag(libTag + " in")}},
	{name: "a slash after the prefix", path: "corp.test/lib/in", pages: map[string]string{"/lib/": tag("corp.test/lib/ git http://git.test/lib"), "/lib": tag("corp.test/lib/ git http://git.test/lib"), "/lib/in": tag("corp.test/lib/ git http://git.test/lib")}, ok: true},
	{name: "a slash after the URL", path: "corp.test/lib", pages: map[string]string{"/lib": tag(libTag + "/")}, ok: true},
	{name: "a URL in capitals", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git HTTP://git.test/lib")}},
	{name: "a host in capitals", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://GIT.test/lib")}, ok: true},
	{name: "a URL with escapes", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test/li%62")}, ok: true},
	{name: "a URL with a port", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test:80/lib")}, ok: true},
	{name: "a URL with two slashes", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test//lib")}},
	{name: "a URL with dots", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test/x/../lib")}, ok: true},
	{name: "a URL with a query", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test/lib?a=b")}},
	{name: "a URL with a fragment", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test/lib#a")}},
	{name: "a URL without a path", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib git http://git.test")}},
	{name: "system in capitals", path: "corp.test/lib", pages: map[string]string{"/lib": tag("corp.test/lib Git http://git.test/lib")}},
	{name: "a prefix in capitals", path: "corp.test/lib", pages: map[string]string{"/lib": tag("Corp.test/lib git http://git.test/lib")}},
	{name: "mod with a folder", path: "corp.test/pm", pages: map[string]string{"/pm": tag("corp.test/pm mod http://goproxy.test in")}, ok: true},
	{name: "mod with a slash", path: "corp.test/pm", pages: map[string]string{"/pm": tag("corp.test/pm mod http://goproxy.test/")}, ok: true},
	{name: "mod of a root", path: "corp.test/pm", pages: map[string]string{"/pm": tag("corp.test mod http://goproxy.test"), "/": tag("corp.test mod http://goproxy.test")}, ok: true},
	{name: "cut off after the tag", path: "corp.test/lib", pages: map[string]string{"/lib": "!999 " + tag(libTag)}, ok: true},
	{name: "cut off before the tag", path: "corp.test/lib", pages: map[string]string{"/lib": "!999 <html>"}, outage: true},
	{name: "cut off at the root", path: "corp.test/lib/in", pages: map[string]string{"/lib": "!999 " + tag(libTag), "/lib/in": tag(libTag)}, ok: true},
	{name: "no dot", path: "corp/lib", pages: map[string]string{}},
}

func (c pageCase) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, ok := c.pages[r.URL.Path]
	status := http.StatusOK
	if !ok {
		status = http.StatusNotFound
	}
	if to, redirects := strings.CutPrefix(page, "->"); redirects {
		http.Redirect(w, r, to+"?go-get=1", http.StatusFound)
		return
	}
	if rest, coded := strings.CutPrefix(page, "!"); coded {
		_, err := fmt.Sscanf(rest[:3], "%d", &status)
		if err != nil {
			panic(err)
		}
		page = rest[4:]
	}
	if status == 999 {
		w.Header().Set("Content-Length", "100000") // which never come
		status = http.StatusOK
	}
	w.WriteHeader(status)
	fmt.Fprint(w, page)
}

// TestPages compares what becomes of go-import pages with the go command.
func TestPages(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, libRepo)
	for _, c := range pageCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, repo)
			net.Handle("corp.test", c)
			proxy := modtest.NewGoProxy(t, modtest.NewVersion(t, "corp.test/pm", "v1.0.0", map[string]string{"go.mod": "module corp.test/pm\n"}))
			net.Handle("goproxy.test", proxy)
			f := newFetcher(t, net, nil)

			direct := modtest.NewGo(t, net).Download(c.path + "@v1.0.0")[0]
			got, err := modtest.FetchAll(t, f, c.path, "v1.0.0")
			assert.Equal(t, c.ok, direct.Error == "", "the go command says %q", direct.Error)
			if direct.Error == "" {
				require.NoError(t, err)
				assert.Equal(t, direct.Sum, got.Sum)
				assert.Equal(t, modtest.JSON(t, direct.Origin), modtest.JSON(t, got.Info.Origin))
				latest, err := f.Resolve(t.Context(), c.path, "latest")
				require.NoError(t, err)
				assert.Equal(t, "v1.0.0", latest.Version)
				list, err := f.Versions(t.Context(), c.path)
				require.NoError(t, err)
				assert.Equal(t, []string{"v1.0.0"}, list)
				return
			}
			require.Error(t, err, "the go command says %q", direct.Error)
			if c.outage {
				assert.ErrorAs(t, err, new(*athens.UnavailableError))
			} else {
				assert.ErrorAs(t, err, new(*athens.MissingError))
			}
		})
	}
}

func TestOtherVersionControlIsNotMissing(t *testing.T) {
	net := modtest.NewInternet(t)
	net.Handle("corp.test", pageCase{pages: map[string]string{"/lib": tag("corp.test/lib hg http://hg.test/lib")}})
	f := newFetcher(t, net, nil)
	for _, path := range []string{"corp.test/lib", "code.test/x.svn/sub", "chiselapp.com/user/a/repository/b"} {
		_, err := f.Versions(t.Context(), path)
		assert.ErrorAs(t, err, new(*athens.InvalidError), path)
		assert.ErrorContains(t, err, "repository: unsupported", path)
	}
}

func TestWithoutInsecureNothingIsAskedOverHTTP(t *testing.T) {
	net := modtest.NewInternet(t, modtest.NewRepo(t, libRepo))
	net.Handle("corp.test", pageCase{pages: map[string]string{"/lib": tag(libTag)}})
	f := newFetcher(t, net, func(o *fetcher.Options) { o.Insecure = "none" })
	_, err := f.Versions(t.Context(), "corp.test/lib")
	assert.ErrorAs(t, err, new(*athens.UnavailableError))
	_, err = f.Versions(t.Context(), "git.test/lib.git")
	assert.ErrorAs(t, err, new(*athens.UnavailableError))
	for _, r := range net.Requests("") {
		assert.Equal(t, http.MethodConnect, r.Method, "%s", r)
	}
}

func TestRedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	net := modtest.NewInternet(t, modtest.NewRepo(t, libRepo))
	net.Secure("corp.test")
	net.Handle("corp.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://plain.test/lib?go-get=1", http.StatusFound)
	}))
	net.Handle("plain.test", pageCase{pages: map[string]string{"/lib": tag(libTag)}})
	f := newFetcher(t, net, func(o *fetcher.Options) { o.Insecure = "none" })
	_, err := f.Versions(t.Context(), "corp.test/lib")
	assert.ErrorAs(t, err, new(*athens.UnavailableError))
	assert.ErrorContains(t, err, "redirected from https")
	assert.Zero(t, net.Count("plain.test"))

	// Where the path may do without TLS, it is followed, as the go command does.
	_, err = newFetcher(t, net, nil).Versions(t.Context(), "corp.test/lib")
	assert.NoError(t, err)
	assert.Empty(t, modtest.NewGo(t, net).Download("corp.test/lib@v1.0.0")[0].Error)
}
