package fetcher_test

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// newFetcher makes a Fetcher that lives in an internet.
func newFetcher(t testing.TB, net *modtest.Internet, change func(*fetcher.Options)) *fetcher.Fetcher {
	t.Helper()
	opts := &fetcher.Options{Transport: net.Transport(), Insecure: modtest.Insecure, Netrc: "none", GitConfig: "none", SSHDir: "none", DownTTL: 1}
	if change != nil {
		change(opts)
	}
	f, err := fetcher.New(t.TempDir(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f
}

// TestInterop asks, for each of the repositories in testdata/repos and those of
// modtest, a Fetcher and the real go command for all that the script offers:
// both must give the same version or both must refuse. What the go command says is
// recorded (see modtest.Recorded), but for one reference of each kind; a case that is
// not recorded yet is asked for. A new case is a new file, or a word in its offer line, where {REV} stands for a commit's hash,
// {REV:N} for its first N digits, {object:REV} for the hash of what may be no commit,
// and {pseudo:BASE:REV} for a pseudo-version.
func TestInterop(t *testing.T) {
	files, err := filepath.Glob("testdata/repos/*.txt")
	require.NoError(t, err)
	for _, name := range modtest.ReadyNames() {
		t.Run("modtest-"+name, func(t *testing.T) {
			t.Parallel()
			interop(t, "modtest-"+name, modtest.Ready(t, name)[0])
		})
	}
	for i, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			if testing.Short() && i%4 > 0 {
				t.Skip("-short compares a quarter of the repositories")
			}
			t.Parallel()
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			interop(t, name, modtest.NewRepo(t, string(script)))
		})
	}
}

func interop(t *testing.T, name string, repo *modtest.Repo) {
	net := modtest.NewInternet(t, repo)
	if strings.HasPrefix(repo.Path, "github.com/") || strings.HasPrefix(repo.Path, "gopkg.in/") {
		host, _, _ := strings.Cut(repo.Path, "/")
		net.Secure(host)
	}
	f := newFetcher(t, net, nil)
	var refs, paths []string
	for _, offer := range repo.Offers {
		ref := expand(repo, offer)
		path, _, _ := strings.Cut(ref, "@")
		refs, paths = append(refs, ref), append(paths, path)
	}
	slices.Sort(paths)
	rec := modtest.NewRecorded(t, name, repo.State())
	compareLists(t, net, rec, f, slices.Compact(paths))
	downloads := &direct{net: net, rec: rec, held: make(map[string]modtest.Answer)}
	downloads.getTags(t, refs)
	for _, ref := range refs {
		path, query, _ := strings.Cut(ref, "@")
		t.Run(strings.ReplaceAll(ref, "/", "|"), func(t *testing.T) {
			compareQuery(t, downloads, f, path, query)
		})
	}
	var answers []modtest.Answer
	for _, ref := range refs {
		answers = append(answers, downloads.get(t, ref))
	}
	compareServed(t, net, answers)
}

func splitRef(ref string) module.Version {
	path, query, _ := strings.Cut(ref, "@")
	return module.Version{Path: path, Version: query}
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

func expand(repo *modtest.Repo, offer string) string {
	return placeholder.ReplaceAllStringFunc(offer, func(s string) string {
		s = strings.Trim(s, "{}")
		if rest, ok := strings.CutPrefix(s, "pseudo:"); ok {
			base, rev, _ := strings.Cut(rest, ":")
			return pseudo(repo, base, rev)
		}
		if rest, ok := strings.CutPrefix(s, "object:"); ok {
			return revParse(repo, rest)
		}
		rev, digits, ok := strings.Cut(s, ":")
		hash := repo.Hash(rev)
		if ok {
			n := 0
			for _, c := range digits {
				n = 10*n + int(c-'0')
			}
			hash = hash[:n]
		}
		return hash
	})
}

// compareLists compares Versions with "go list -m -versions", which leaves out
// what is retracted unless it is told not to.
func compareLists(t *testing.T, net *modtest.Internet, rec *modtest.Recorded, f *fetcher.Fetcher, paths []string) {
	answers := rec.Get(paths, func(paths []string) []modtest.Answer { return asUnavailable(t, net, paths) })
	for _, want := range answers {
		got, err := f.Versions(t.Context(), want.Ref)
		if want.Refused {
			// The go command also asks for the latest version's go.mod then.
			t.Logf("go list refuses %s; Athens: %v, %v", want.Ref, got, err)
		} else if assert.NoError(t, err, want.Ref) {
			assert.Equal(t, want.Versions, got, "list of %s", want.Ref)
		}
	}
}

// asUnavailable asks the go command for the lists of several modules.
func asUnavailable(t *testing.T, net *modtest.Internet, paths []string) []modtest.Answer {
	stdout, stderr, err := modtest.NewGo(t, net).Run(append([]string{"list", "-m", "-versions", "-retracted", "-json", "-e"}, paths...)...)
	require.NoError(t, err, stderr)
	in := json.NewDecoder(strings.NewReader(stdout))
	var answers []modtest.Answer
	for range paths {
		var list struct {
			Path     string
			Versions []string
			Error    *struct{ Err string }
		}
		require.NoError(t, in.Decode(&list))
		if list.Error != nil {
			t.Logf("go list: %s", list.Error.Err)
		}
		answers = append(answers, modtest.Answer{Ref: list.Path, Versions: list.Versions, Refused: list.Error != nil})
	}
	return answers
}

// compareQuery compares what a query resolves to, and the three files of that
// version.
func compareQuery(t *testing.T, downloads *direct, f *fetcher.Fetcher, path, query string) {
	direct := downloads.get(t, path+"@"+query)
	version := query
	var resolved *athens.Info
	var err error
	if query != module.CanonicalVersion(query) || module.Check(path, query) != nil {
		resolved, err = f.Resolve(t.Context(), path, query)
		if err == nil {
			version = resolved.Version
		}
	}
	var got modtest.Files
	if err == nil {
		got, err = modtest.FetchAll(t, f, path, version)
	}
	if direct.Refused {
		t.Logf("Athens: %v", err)
		assert.Error(t, err, "the go command refuses it")
		var outage *athens.UnavailableError
		assert.NotErrorAs(t, err, &outage)
		return
	}
	require.NoError(t, err, "the go command resolves it to %s", direct.Version)
	require.Equal(t, direct.Version, version)
	if resolved != nil {
		assert.Equal(t, modtest.JSON(t, modtest.Info{Version: direct.Version, Time: direct.Time, Origin: direct.Origin}), modtest.JSON(t, resolved), "query")
		direct = downloads.get(t, path+"@"+version)
	}
	assert.Equal(t, modtest.JSON(t, modtest.Info{Version: direct.Version, Time: direct.Time, Origin: direct.Origin}), modtest.JSON(t, got.Info), ".info")
	assert.Equal(t, direct.GoModSum, got.ModSum, "h1 of the .mod")
	assert.Equal(t, direct.Sum, got.Sum, "h1 of the zip")
}

// direct remembers what the go command said of a reference, each time with an
// empty module cache: what it has fetched before can change what it says.
type direct struct {
	net  *modtest.Internet
	rec  *modtest.Recorded
	held map[string]modtest.Answer
}

var listQuery = regexp.MustCompile(`^(v[0-9]+(\.[0-9]+)?|[<>].*)$`)

// getTags gets all references at once that are versions and no pseudo-versions, or
// choose among versions. A tag, which is all that they depend on, means the same
// whatever is there.
func (d *direct) getTags(t *testing.T, refs []string) {
	var tags []string
	for _, ref := range refs {
		path, version, _ := strings.Cut(ref, "@")
		exact := version == module.CanonicalVersion(version) && module.Check(path, version) == nil && !module.IsPseudoVersion(version)
		if exact || listQuery.MatchString(version) {
			tags = append(tags, ref)
		}
	}
	for _, a := range d.rec.Get(tags, func(tags []string) []modtest.Answer { return d.ask(t, tags) }) {
		d.held[a.Ref] = a
	}
}

// ask asks a go command with an empty cache for all of refs, and others for those
// that it does not tell apart.
func (d *direct) ask(t *testing.T, refs []string) []modtest.Answer {
	got := make(map[string]modtest.Download)
	for _, download := range modtest.NewGo(t, d.net).Download(refs...) {
		got[download.Path+"@"+cmp.Or(download.Query, download.Version)] = download
	}
	var answers []modtest.Answer
	for _, ref := range refs {
		download, ok := got[ref]
		if !ok {
			download = modtest.NewGo(t, d.net).Download(ref)[0]
		}
		if download.Error != "" {
			t.Logf("go: %s: %s", ref, download.Error)
		}
		answers = append(answers, download.Answer(ref))
	}
	return answers
}

func (d *direct) get(t *testing.T, ref string) modtest.Answer {
	if _, ok := d.held[ref]; !ok {
		d.held[ref] = d.rec.Get([]string{ref}, func(refs []string) []modtest.Answer {
			download := modtest.NewGo(t, d.net).Download(refs...)[0]
			if download.Error != "" {
				t.Logf("go: %s: %s", ref, download.Error)
			}
			return []modtest.Answer{download.Answer(ref)}
		})[0]
	}
	return d.held[ref]
}

// pseudo makes a pseudo-version of a commit of a repository.
func pseudo(repo *modtest.Repo, base, rev string) string {
	major := ""
	if m, ok := strings.CutSuffix(base, ".none"); ok {
		major, base = m, ""
	}
	return module.PseudoVersion(major, base, commitTime(repo, rev), repo.Hash(rev)[:12])
}

// revParse returns the hash of what a revision names, which may be no commit.
func revParse(repo *modtest.Repo, rev string) string {
	out, err := exec.Command("git", "-C", repo.Dir(), "rev-parse", "--verify", rev).Output()
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(out))
}

func commitTime(repo *modtest.Repo, rev string) time.Time {
	out, err := exec.Command("git", "-C", repo.Dir(), "show", "-s", "--format=%ct", rev+"^{commit}").Output()
	if err != nil {
		panic(err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		panic(err)
	}
	return time.Unix(seconds, 0).UTC()
}
