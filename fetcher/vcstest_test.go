package fetcher_test

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/modtest/vcstest"
)

// vgotest1 is the repository of the tables that the scripts have under another
// name.
const vgotest1 = "github.com/rsc/vgotest1"

// TestGoCommandsRepositories makes the git repositories that the go command is
// tested with, and compares all that they have with what the machine's go
// command makes of them; and with what its own tests expect.
func TestGoCommandsRepositories(t *testing.T) {
	t.Parallel()
	src := vcstest.Open(t)
	for i, name := range src.Names("git") {
		t.Run(path.Base(name), func(t *testing.T) {
			if testing.Short() && i%4 > 0 {
				t.Skip("-short compares a quarter of the repositories")
			}
			t.Parallel()
			repo := src.Build(t, name)
			if repo.VCS != "git" {
				t.Skip("it is no repository, but the page of one that is missing")
			}
			if strings.TrimSpace(repo.Run("git", "rev-parse", "--show-object-format")) != "sha1" {
				t.Skip("go-git does not read SHA-256 repositories")
			}
			net := modtest.NewInternet(t)
			root := vcstest.Host + "/" + name
			net.Secure(vcstest.Host)
			net.Handle(root, repo.Handler("/"+name))
			pages(t, src, net)
			state := repo.Run("git", "for-each-ref") + repo.Run("git", "rev-parse", "--symbolic-full-name", "HEAD")
			o := &other{net: net, rec: modtest.NewRecorded(t, "vcstest/"+name, state), f: newFetcher(t, net, nil)}
			o.compare(t, references(repo, root))
		})
	}
}

// pages serves the go-import pages that come with the repositories.
func pages(t *testing.T, src *vcstest.Source, net *modtest.Internet) {
	for _, name := range slices.Concat(src.Names("go"), src.Names("go/mod")) {
		net.Handle(vcstest.Host+"/"+name, src.Build(t, name).Handler("/"+name))
	}
}

// references lists what can be asked of a repository: each module that a go.mod
// or a tag could mean, at each tag, branch and commit.
func references(repo *vcstest.Repo, root string) []string {
	lines := func(args ...string) []string { return strings.Fields(repo.Run("git", args...)) }
	tags, branches := lines("tag"), lines("for-each-ref", "--format=%(refname:short)", "refs/heads")
	queries := slices.Concat([]string{"latest", "v1", "nosuch"}, tags, branches)
	for _, line := range strings.Split(strings.TrimSpace(repo.Run("git", "log", "--all", "-5", "--date=format-local:%Y%m%d%H%M%S", "--format=%H %cd")), "\n") {
		hash, date, _ := strings.Cut(line, " ")
		queries = append(queries, hash[:12], "v0.0.0-"+date+"-"+hash[:12])
	}
	dirs := map[string]bool{"": true}
	for _, ref := range append(tags, branches...) {
		for _, file := range lines("ls-tree", "-r", "--name-only", ref) {
			if path.Base(file) == "go.mod" {
				dirs[strings.Trim(path.Dir(file), ".")] = true
			}
		}
		if len(ref) > 1 && ref[0] == 'v' && ref[1] > '1' && ref[1] <= '9' {
			dirs[ref[:2]] = true
		}
	}
	var refs []string
	for dir := range dirs {
		for _, q := range queries {
			if base, ok := strings.CutPrefix(q, dir+"/"); ok {
				q = base // a tag of this folder's module
			}
			if !strings.Contains(q, "/") && (dir == "" || !strings.HasPrefix(q, "v0.0.0-2")) {
				refs = append(refs, path.Join(root+".git", dir)+"@"+q)
			}
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// other is a Fetcher beside the go command.
type other struct {
	net *modtest.Internet
	rec *modtest.Recorded
	f   *fetcher.Fetcher
}

// compare asks both for all references, the go command for many at once. What
// they resolve to is asked for afresh.
func (o *other) compare(t *testing.T, refs []string) {
	slices.SortStableFunc(refs, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	answers := o.direct(t, refs)
	var more []string
	for _, ref := range refs {
		modulePath, _, _ := strings.Cut(ref, "@")
		if d := answers[ref]; !d.Refused && !isExact(ref) {
			if exact := modulePath + "@" + d.Version; answers[exact].Version == "" && !slices.Contains(more, exact) {
				more = append(more, exact)
			}
		}
	}
	for ref, d := range o.direct(t, more) {
		answers[ref] = d
	}
	var paths []string
	for _, ref := range refs {
		modulePath, query, _ := strings.Cut(ref, "@")
		if !slices.Contains(paths, modulePath) {
			paths = append(paths, modulePath)
		}
		t.Run(strings.ReplaceAll(ref, "/", "|"), func(t *testing.T) { o.one(t, answers, modulePath, query) })
	}
	compareLists(t, o.net, o.rec, o.f, paths)
}

// rank orders what one go command is asked: what it has found for a branch or a
// hash would be its answer for the version that it came to, too.
func rank(ref string) int {
	_, query, _ := strings.Cut(ref, "@")
	switch {
	case isExact(ref):
		return 0
	case query == "latest" || prefix.MatchString(query):
		return 1
	case !hashAtEnd.MatchString(query):
		return 2
	}
	return 3
}

// prefix matches the beginning of a version.
var prefix = regexp.MustCompile(`^v[0-9]+(\.[0-9]+)?$`)

// isExact reports whether a reference is a version that the path may have.
func isExact(ref string) bool {
	modulePath, query, _ := strings.Cut(ref, "@")
	return query == module.CanonicalVersion(query) && module.Check(modulePath, query) == nil
}

// direct asks a go command with an empty cache for all of refs.
func (o *other) direct(t *testing.T, refs []string) map[string]modtest.Answer {
	answers := make(map[string]modtest.Answer)
	for _, a := range o.rec.Get(refs, func(refs []string) []modtest.Answer {
		list := modtest.NewGo(t, o.net).Download(refs...)
		require.Len(t, list, len(refs))
		var answers []modtest.Answer
		for i, d := range list {
			require.True(t, strings.HasPrefix(refs[i], d.Path+"@"), "the order of the answers")
			answers = append(answers, d.Answer(refs[i]))
		}
		return answers
	}) {
		answers[a.Ref] = a
	}
	return answers
}

// one compares the answers for one reference.
func (o *other) one(t *testing.T, answers map[string]modtest.Answer, modulePath, query string) {
	want := answers[modulePath+"@"+query]
	version := query
	var err error
	if !isExact(modulePath + "@" + query) {
		var info *athens.Info
		info, err = o.f.Resolve(t.Context(), modulePath, query)
		if err == nil && !want.Refused {
			version = info.Version
			sameInfo(t, want, query, info)
			want = answers[modulePath+"@"+want.Version]
		} else if err == nil {
			version = info.Version
		}
	}
	var got modtest.Files
	if err == nil {
		got, err = modtest.FetchAll(t, o.f, modulePath, version)
	}
	if want.Refused {
		assert.Error(t, err, "the go command refuses it")
		assert.NotErrorAs(t, err, new(*athens.UnavailableError))
		return
	}
	require.NoError(t, err, "the go command resolves it to %s", want.Version)
	sameInfo(t, want, version, got.Info)
	assert.Equal(t, want.Sum, got.Sum, "h1 of the zip")
	assert.Equal(t, want.GoModSum, got.ModSum, "h1 of the .mod")
}

// hashAtEnd matches a commit's hash and pseudo-versions.
var hashAtEnd = regexp.MustCompile(`^(.*-)?[0-9a-f]{12}(\+incompatible)?$`)

// sameInfo compares what both say of a query. A go command that has a commit
// already, from an earlier question, does not look up which reference leads to
// it; TestInterop asks one that has nothing.
func sameInfo(t *testing.T, want modtest.Answer, query string, got *athens.Info) {
	origin := *want.Origin
	if origin.Ref == "" && hashAtEnd.MatchString(query) {
		origin.Ref = got.Origin.Ref
	}
	expect := modtest.Info{Version: want.Version, Time: want.Time, Origin: &origin}
	assert.Equal(t, modtest.JSON(t, expect), modtest.JSON(t, got), query)
}

// TestGoCommandsExpectations holds the Fetcher against the tables of the go
// command's own tests, as far as their repositories are made by scripts.
func TestGoCommandsExpectations(t *testing.T) {
	t.Parallel()
	src := vcstest.Open(t)
	net := modtest.NewInternet(t)
	net.Secure(vcstest.Host, "github.com")
	pages(t, src, net)
	for _, name := range src.Names("git") {
		net.Handle(vcstest.Host+"/"+name, src.Build(t, name).Handler("/"+name))
	}
	net.Handle(vgotest1, src.Build(t, "git/vgotest1").Handler("/rsc/vgotest1"))
	f := newFetcher(t, net, nil)
	held := 0
	each := func(table string, check func(t *testing.T, row vcstest.Row)) {
		for _, row := range src.Table(t, table) {
			here := module.MatchPrefixPatterns(vcstest.Host+","+vgotest1, row.Text("path"))
			if row.Text("vcs") == "git" && here {
				held++
				name := strings.Join([]string{table, row.Text("path"), row.Text("rev")}, " ")
				t.Run(strings.ReplaceAll(name, "/", "|"), func(t *testing.T) { check(t, row) })
			}
		}
	}
	each("codeRepoTests", func(t *testing.T, row vcstest.Row) { expectRevision(t, f, row) })
	each("codeRepoVersionsTests", func(t *testing.T, row vcstest.Row) {
		list, err := f.Versions(t.Context(), row.Text("path"))
		require.NoError(t, err)
		var have []string
		for _, v := range list {
			if strings.HasPrefix(v, row.Text("prefix")) {
				have = append(have, v)
			}
		}
		assert.Equal(t, row.List("versions"), have)
	})
	each("latestTests", func(t *testing.T, row vcstest.Row) {
		info, err := f.Resolve(t.Context(), row.Text("path"), "HEAD")
		if row.Text("err") != "" {
			assert.ErrorAs(t, err, new(*athens.MissingError), "the go command says %s", row.Text("err"))
			return
		}
		require.NoError(t, err)
		assert.Equal(t, row.Text("version"), info.Version)
	})
	assert.Greater(t, held, 35, "rows whose repository is made by a script")
}

func expectRevision(t *testing.T, f *fetcher.Fetcher, row vcstest.Row) {
	modulePath, rev := row.Text("path"), row.Text("rev")
	version := rev
	var info *athens.Info
	var err error
	if !isExact(modulePath + "@" + rev) {
		if info, err = f.Resolve(t.Context(), modulePath, rev); err == nil {
			version = info.Version
		}
	}
	var got modtest.Files
	if err == nil {
		got, err = modtest.FetchAll(t, f, modulePath, version)
	}
	if row.Text("err") != "" {
		assert.ErrorAs(t, err, new(*athens.MissingError), "the go command says %s", row.Text("err"))
		return
	}
	require.NoError(t, err)
	info = cmp.Or(info, got.Info)
	assert.Equal(t, row.Text("version"), info.Version)
	assert.Equal(t, row.Text("name"), info.Origin.Hash)
	assert.Equal(t, row.Time("time"), info.Time)
	if mod := row.Text("gomod"); mod != "" {
		assert.Equal(t, mod, string(got.Mod))
	}
	if sum := row.Text("zipSum"); sum != "" {
		assert.Equal(t, sum, got.Sum)
	}
	if names := row.List("zip"); names != nil {
		assert.Equal(t, names, got.Names)
	}
}
