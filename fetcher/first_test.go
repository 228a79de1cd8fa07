package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// stub is a Fetcher that says one thing.
type stub struct {
	err   error
	asked *int
}

func (s stub) Versions(context.Context, string) ([]string, error) {
	*s.asked++
	return []string{"v1.0.0"}, s.err
}

func (s stub) Resolve(context.Context, string, string) (*athens.Info, error) {
	*s.asked++
	return &athens.Info{Version: "v1.0.0"}, s.err
}

func (s stub) Fetch(context.Context, module.Version) (athens.Content, error) {
	*s.asked++
	return nil, s.err
}

func TestFirst(t *testing.T) {
	unable := &athens.InvalidError{Err: fmt.Errorf("a hg repository: %w", errors.ErrUnsupported)}
	for name, c := range map[string]struct {
		errs  []error
		asked []int
	}{
		"the first answers":        {[]error{nil, nil}, []int{3, 0}},
		"the first can't":          {[]error{unable, nil}, []int{3, 3}},
		"only the third can":       {[]error{unable, unable, nil}, []int{3, 3, 3}},
		"missing is an answer":     {[]error{&athens.MissingError{}, nil}, []int{3, 0}},
		"an outage is an answer":   {[]error{&athens.UnavailableError{}, nil}, []int{3, 0}},
		"blocked is an answer":     {[]error{&athens.BlockedError{}, nil}, []int{3, 0}},
		"broken is an answer":      {[]error{&athens.InvalidError{Err: errors.New("a broken pack")}, nil}, []int{3, 0}},
		"nobody can":               {[]error{unable, unable}, []int{3, 3}},
		"the second's is the last": {[]error{unable, &athens.MissingError{}}, []int{3, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make([]int, len(c.errs))
			var all []athens.Fetcher
			var want error
			for i, err := range c.errs {
				all = append(all, stub{err, &asked[i]})
				if c.asked[i] > 0 {
					want = err
				}
			}
			f := fetcher.First(all[0], all[1:]...)
			clear(all[1:]) // First has its own copy
			_, err := f.Versions(t.Context(), "corp.test/m")
			assert.Equal(t, want, err)
			_, err = f.Resolve(t.Context(), "corp.test/m", "latest")
			assert.Equal(t, want, err)
			_, err = f.Fetch(t.Context(), module.Version{Path: "corp.test/m", Version: "v1.0.0"})
			assert.Equal(t, want, err)
			assert.Equal(t, c.asked, asked)
		})
	}
}

// TestFirstWithGoCommand puts a Fetcher and one that asks a go command together:
// the one can't read a repository with SHA-256 hashes, or Mercurial's.
func TestFirstWithGoCommand(t *testing.T) {
	t.Parallel()
	tagged := modtest.NewRepo(t, kitTagged)
	net := modtest.NewInternet(t, tagged)
	serveSHA256(t, net)
	httpPage(net, "corp.test/hg", "hg", "http://nosuch.test/hg")
	serveFiles(t, net, modtest.NewRepo(t, strings.ReplaceAll(kitTagged, "corp.test/tagged", "corp.test/dumb")))
	goCmd, err := gocmd.New(&gocmd.Options{Dir: t.TempDir(), Env: modtest.NewGo(t, net).Env()})
	require.NoError(t, err)
	defer goCmd.Close()
	git := newFetcher(t, net, nil)
	f := fetcher.First(git, goCmd)

	_, err = git.Resolve(t.Context(), "corp.test/sha256", "latest")
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = git.Resolve(t.Context(), "corp.test/dumb", "latest")
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	list, err := f.Versions(t.Context(), "corp.test/sha256")
	assert.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0"}, list)
	for _, path := range []string{"corp.test/sha256", "corp.test/dumb", "corp.test/tagged"} {
		info, err := f.Resolve(t.Context(), path, "latest")
		require.NoError(t, err, path)
		want := modtest.NewGo(t, net).MustDownload(path + "@" + info.Version)
		got, err := modtest.FetchAll(t, f, path, info.Version)
		require.NoError(t, err, path)
		assert.Equal(t, modtest.JSON(t, modtest.Info{Version: want.Version, Time: want.Stored.Time, Origin: want.Origin}), modtest.JSON(t, got.Info), path)
		assert.Equal(t, want.Sum, got.Sum, path)
	}
	// Without a second opinion this would be "not supported". With hg on the
	// machine there is no repository, without it there is no answer.
	_, err = f.Resolve(t.Context(), "corp.test/hg", "latest")
	assert.NotErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "hg")
	_, err = f.Resolve(t.Context(), "corp.test/nosuch", "latest")
	var missing *athens.MissingError
	assert.ErrorAs(t, err, &missing)
}

// TestFirstWithGoCommandForZips asks for files in encodings that a Fetcher does
// not know: git keeps the text where it does not know it either.
func TestFirstWithGoCommandForZips(t *testing.T) {
	t.Parallel()
	repo := modtest.NewRepo(t, `# Encodings.
repo corp.test/encoded
write .git/info/attributes "* !working-tree-encoding\n"
write go.mod "module corp.test/encoded\n"
write a.txt "caf\u00e9\n"
write .gitattributes "a.txt working-tree-encoding=UTF-7\n"
commit 2022-01-01T10:00:00Z "One that a Fetcher does not know"
tag v1.0.0
write .gitattributes "a.txt working-tree-encoding=NO-SUCH-1\n"
commit 2022-01-02T10:00:00Z "One that nobody knows"
tag v1.1.0
`)
	net := modtest.NewInternet(t, repo)
	goCmd, err := gocmd.New(&gocmd.Options{Dir: t.TempDir(), Env: modtest.NewGo(t, net).Env()})
	require.NoError(t, err)
	defer goCmd.Close()
	git := newFetcher(t, net, nil)
	for _, version := range []string{"v1.0.0", "v1.1.0"} {
		_, err := modtest.FetchAll(t, git, "corp.test/encoded", version)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		got, err := modtest.FetchAll(t, fetcher.First(git, goCmd), "corp.test/encoded", version)
		require.NoError(t, err)
		want := modtest.NewGo(t, net).MustDownload("corp.test/encoded@" + version)
		assert.Equal(t, want.Sum, got.Sum, version)
		assert.Equal(t, repo.Hash(version), got.Info.Origin.Hash)
	}
	// Another source that has another commit does not complete a version.
	other := stubContent{info: athens.Info{Version: "v1.0.0"}}
	_, err = modtest.FetchAll(t, fetcher.First(git, other), "corp.test/encoded", "v1.0.0")
	assert.ErrorContains(t, err, "do not agree")
	assert.ErrorAs(t, err, new(*athens.InvalidError))
}

// stubContent is a Fetcher whose versions all have one .info.
type stubContent struct {
	athens.Fetcher
	athens.Content
	info athens.Info
}

func (s stubContent) Fetch(context.Context, module.Version) (athens.Content, error) { return s, nil }

func (s stubContent) Info(context.Context) (*athens.Info, error) { return &s.info, nil }

// serveFiles serves a repository, as corp.test/dumb, by a web server that knows
// nothing of git.
func serveFiles(t *testing.T, net *modtest.Internet, repo *modtest.Repo) {
	t.Helper()
	out, err := exec.Command("git", "-C", repo.Dir(), "update-server-info").CombinedOutput()
	require.NoError(t, err, "%s", out)
	net.Handle("files.test", http.FileServer(http.Dir(repo.Dir())))
	httpPage(net, "corp.test/dumb", "git", "http://files.test/")
}

// serveSHA256 serves corp.test/sha256, whose hashes are of the new kind, and as
// corp.test/oldsha256 the same by version 0 of git's protocol.
func serveSHA256(t *testing.T, net *modtest.Internet) {
	t.Helper()
	repo := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(repo, "go.mod"), []byte("module corp.test/sha256\n"), 0o666))
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", "--object-format=sha256"}, {"add", "."}, {"commit", "-q", "-m", "Begin"}, {"tag", "v1.0.0"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@corp.test",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@corp.test", "GIT_AUTHOR_DATE=2024-05-01T12:00:00Z", "GIT_COMMITTER_DATE=2024-05-01T12:00:00Z")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	net.Handle("new.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		modtest.ServeGit(t, w, r, strings.TrimPrefix(r.URL.Path, "/repo"), filepath.Join(repo, ".git"), "sha256")
	}))
	net.Handle("old.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Del("Git-Protocol")
		modtest.ServeGit(t, w, r, strings.TrimPrefix(r.URL.Path, "/repo"), filepath.Join(repo, ".git"), "sha256")
	}))
	httpPage(net, "corp.test/sha256", "git", "http://new.test/repo")
	httpPage(net, "corp.test/oldsha256", "git", "http://old.test/repo")
}
