package gocmd_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// refused is a repository with versions that the go command refuses, each for
// another reason.
const refused = `# Versions that are none.
repo corp.test/odd
write go.mod "module corp.test/odd\n"
write a.go "package odd\n"
commit 2022-01-01T10:00:00Z Begin
tag v1.0.0
write "bad\"name" "x"
commit 2022-01-02T10:00:00Z A name that no zip may have
tag v1.1.0
rm "bad\"name"
write A.go "package odd\n"
commit 2022-01-03T10:00:00Z Two names that some systems take for one
tag v1.2.0
rm A.go
write go.mod "module corp.test/odd\n\ngo 1.999\n"
commit 2022-01-04T10:00:00Z The future
tag v1.3.0
write go.mod "module corp.test/odd/v2\n"
commit 2022-01-05T10:00:00Z Another major version
tag v1.6.0
write go.mod "// nothing\n"
commit 2022-01-06T10:00:00Z No module path
tag v1.7.0
write go.mod "module corp.test/odd/v2\n"
write v2/go.mod "module corp.test/odd/v2\n"
commit 2022-01-07T10:00:00Z Two modules of one path
tag v2.0.0
write sub/go.mod "module corp.test/other/v3\n"
commit 2022-01-08T10:00:00Z Not here
tag sub/v1.0.0
`

// TestMissing asks for what the go command definitely refuses.
func TestMissing(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, refused)
	net := modtest.NewInternet(t, repo, modtest.Ready(t, "empty")[0])
	pages(net, map[string]string{
		"corp.test/none": "", "corp.test/other": "corp.test/elsewhere git http://corp.test/odd", "corp.test/file": "corp.test/file git file:///etc",
		"corp.test/two": `corp.test/two git http://corp.test/odd"><meta name="go-import" content="corp.test/two git http://corp.test/even`,
		"corp.test/cvs": "corp.test/cvs cvs http://corp.test/odd", "corp.test/norepo": "corp.test/norepo git http://corp.test/nosuch",
		"corp.test/lies/sub": "corp.test/lies git http://corp.test/odd", "corp.test/lies": "corp.test/lies git http://corp.test/even",
		"corp.test/proxied": "corp.test/proxied mod http://corp.test/noproxy",
		"corp.test/dash":    "corp.test/dash git http://corp.test/odd -x",
	})
	f := newFetcher(t, net, nil)
	begin, future := repo.Hash("v1.0.0")[:12], repo.Hash("v1.3.0")[:12]
	for _, ref := range []string{
		"corp.test/odd@v9.9.9", "corp.test/odd@v9", "corp.test/odd@nosuch", "corp.test/odd@ffffffffffff", "git.test/empty@latest",
		"corp.test/odd@v1.6.0", "corp.test/odd@v1.7.0", "corp.test/odd@v2.0.0", "corp.test/odd/v2@v2.0.0", "corp.test/odd/v2@v2.9.9",
		"corp.test/odd/v2@v1.0.0", "corp.test/odd/v3@latest", "corp.test/odd/sub@v1.0.0", "corp.test/odd/deep@latest", "corp.test/odd@v1.0.0+incompatible",
		"corp.test/odd@v0.0.0-20220101100000-ffffffffffff",               // no such commit
		"corp.test/odd@v0.0.0-20220101100001-" + begin,                   // another time
		"corp.test/odd@v1.0.1-0.20220101100000-" + begin,                 // the tag itself
		"corp.test/odd@v1.9.1-0.20220104100000-" + future,                // no such tag
		"corp.test/odd@v1.6.1-0.20220104100000-" + future,                // a later tag
		"corp.test/odd@v1.0.0-20220104100000-" + future,                  // no base
		"corp.test/odd@v0.0.0-20220101100000-" + repo.Hash("v1.0.0")[:8], // too short
		"corp.test/nosuch@latest", "corp.test/none@latest", "corp.test/other@latest", "corp.test/file@latest", "corp.test/two@latest",
		"corp.test/cvs@latest", "corp.test/norepo@latest", "corp.test/lies/sub@latest", "corp.test/dash@latest", "corp.test/proxied@latest", "corp.test/proxied@v1.0.0",
		"github.com/x@latest",
	} {
		path, query, _ := strings.Cut(ref, "@")
		info, err := f.Resolve(t.Context(), path, query)
		var missing *athens.MissingError
		if assert.ErrorAs(t, err, &missing, "%s: %v", ref, info) {
			assert.Equal(t, module.Version{Path: path, Version: query}, module.Version{Path: missing.Path, Version: missing.Query})
		}
		if module.Check(path, query) == nil {
			_, err = f.Fetch(t.Context(), module.Version{Path: path, Version: query})
			assert.ErrorAs(t, err, &missing, ref)
		}
	}
	list, err := f.Versions(t.Context(), "git.test/empty")
	assert.NoError(t, err)
	assert.Empty(t, list)
	_, err = f.Versions(t.Context(), "corp.test/norepo")
	assert.ErrorAs(t, err, new(*athens.MissingError))
}

// pages makes go-import pages with those contents; one that is empty makes a
// page without.
func pages(net *modtest.Internet, contents map[string]string) {
	for path, content := range contents {
		net.Handle(path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			page := "<html>nothing</html>"
			if content != "" {
				page = `<meta name="go-import" content="` + content + `">`
			}
			_, _ = w.Write([]byte(page))
		}))
	}
}

// TestInvalid asks for versions whose .info and .mod are there but no zip.
func TestInvalid(t *testing.T) {
	t.Parallel()
	f := newFetcher(t, modtest.NewInternet(t, modtest.NewRepo(t, refused)), nil)
	for _, version := range []string{"v1.1.0", "v1.2.0", "v1.3.0"} {
		c, err := f.Fetch(t.Context(), module.Version{Path: "corp.test/odd", Version: version})
		require.NoError(t, err)
		_, err = c.Mod(t.Context())
		assert.NoError(t, err)
		var zip bytes.Buffer
		err = c.Zip(t.Context(), &zip)
		assert.Zero(t, zip.Len())
		var invalid *athens.InvalidError
		assert.ErrorAs(t, err, &invalid, version)
		assert.True(t, athens.Final(err), "a client is not told to try again: %v", err)
		if version == "v1.3.0" {
			assert.ErrorContains(t, err, "the go command on this server is too old")
		}
	}
}

// TestOutage breaks the server in several ways: never is that a refusal.
func TestOutage(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, refused)
	for name, c := range map[string]struct {
		what  string
		fault modtest.Fault
	}{
		"page cut":               {"site.test/odd", modtest.Cut()},
		"page 500":               {"site.test/odd", modtest.Status(http.StatusInternalServerError)},
		"page 401":               {"site.test/odd", modtest.Status(http.StatusUnauthorized)},
		"page 429":               {"site.test/odd", modtest.Status(http.StatusTooManyRequests)},
		"repository cut":         {"corp.test/odd/info/refs", modtest.Cut()},
		"repository 500":         {"corp.test/odd/info/refs", modtest.Status(http.StatusInternalServerError)},
		"repository 401":         {"corp.test/odd/info/refs", modtest.Status(http.StatusUnauthorized)},
		"repository 403":         {"corp.test/odd/info/refs", modtest.Status(http.StatusForbidden)},
		"repository of nonsense": {"corp.test/odd/info/refs", modtest.Body("unknown revision v1.0.0\n")},
		"pack cut":               {"corp.test/odd/git-upload-pack", modtest.Truncate(100)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := modtest.NewInternet(t, repo)
			pages(net, map[string]string{"site.test/odd": "site.test/odd git http://corp.test/odd"})
			net.Break(c.what, c.fault)
			f := newFetcher(t, net, nil)
			_, err := f.Resolve(t.Context(), "site.test/odd", "v1.0.0")
			var outage *athens.UnavailableError
			assert.ErrorAs(t, err, &outage)
			assert.NotZero(t, net.Count(""))
			if c.what != "corp.test/odd/git-upload-pack" {
				_, err = f.Versions(t.Context(), "site.test/odd")
				assert.ErrorAs(t, err, &outage)
			}
		})
	}
}

// TestNoSecrets looks for a password that a go-import page names, and one of
// the environment, in all that comes out.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.NewRepo(t, refused))
	pages(net, map[string]string{
		"corp.test/login": "corp.test/login git http://ada:s3cret@corp.test/odd",
		"corp.test/gone":  "corp.test/gone git http://ada:s3cret@corp.test/nosuch",
	})
	f := newFetcher(t, net, func(o *gocmd.Options) { o.Env = append(o.Env, "HTTP_TOKEN=s3cret") })
	_, err := f.Resolve(t.Context(), "corp.test/login", "main")
	assert.Error(t, err, "its go.mod names another path")
	assert.NotContains(t, err.Error(), "s3cret")
	info, err := f.Resolve(t.Context(), "corp.test/login", "v1.0.0")
	require.NoError(t, err)
	assert.Equal(t, "http://corp.test/odd", info.Origin.URL)
	_, err = f.Versions(t.Context(), "corp.test/gone")
	assert.Error(t, err)
	assert.NotContains(t, err.Error(), "s3cret")
	net.Break("corp.test/odd/info/refs", modtest.Status(http.StatusBadGateway))
	_, err = f.Versions(t.Context(), "corp.test/login")
	assert.Error(t, err)
	assert.NotContains(t, err.Error(), "s3cret")
}
