package e2e_test

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modtest"
)

// refusedRefs are questions that a go command answers with no, by direct download
// too.
var refusedRefs = []string{
	"git.test/simple@v1.9.9", "git.test/simple@v9.9.9", "git.test/simple@nosuchbranch", "git.test/none@v1.0.0", "git.test/none@latest",
	"git.test/simple/v2@v2.0.0", "git.test/simple@v1.0.0+incompatible",
	"git.test/simple@v1.0.1-0.20200101000000-123456789abc",
}

// TestInterop asks a go command for what the ready repositories offer: directly, and
// through the servers in each way that they work. What it gets must be the same.
//
// An ordinary run asks for a reference of each kind; ATHENS_FULL=1 for all of them.
func TestInterop(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(modtest.ReadyNames()), 12)
	repos := modtest.Ready(t, modtest.ReadyNames()...)
	net := modtest.NewInternet(t, repos...)
	var refs []string
	for _, repo := range repos {
		refs = append(refs, repo.Offers...)
	}
	if !fullRun() {
		refs = firstOfEachKind(refs)
	}
	t.Logf("%d references", len(refs))
	direct := downloadOutcomes(t, func() *modtest.Go { return modtest.NewGo(t, net) }, refs)
	for _, ref := range refs {
		require.NotEmpty(t, direct[ref].Sum, "direct download of %s", ref)
	}

	registry := startServer(t, net, "registry", "registry")
	for _, way := range []struct {
		name string
		*server
	}{
		{"registry", registry},
		{"proxy that redirects", startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-fill-after", "0")},
		{"proxy that fetches", startServer(t, net, "proxy", "proxy", "-upstream", registry.URL, "-miss", "fetch")},
		{"proxy without upstream", startServer(t, net, "proxy", "proxy", "-upstream", "off")},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			for _, state := range []string{"cold", "warm"} {
				machine := func() *modtest.Go {
					g := modtest.NewGo(t, net)
					g.Set(way.Env...)
					return g
				}
				got := downloadOutcomes(t, machine, refs)
				way.settle()
				for _, ref := range refs {
					assert.Equal(t, direct[ref], got[ref], "%s, %s", ref, state)
				}
				if state == "warm" {
					break
				}
				refused := machine().Download(refusedRefs...)
				require.Len(t, refused, len(refusedRefs))
				for _, d := range refused {
					assert.NotEmpty(t, d.Error, "%s@%s", d.Path, cmp.Or(d.Query, d.Version))
				}
			}
		})
	}
}

// fullRun reports whether ATHENS_FULL asks for everything, which takes minutes.
func fullRun() bool { return os.Getenv("ATHENS_FULL") != "" }

// refKinds are the kinds of queries, each by what it looks like; the first that
// matches counts.
var refKinds = []*regexp.Regexp{
	regexp.MustCompile(`^latest$`),
	regexp.MustCompile(`\+incompatible$`),
	regexp.MustCompile(`-[0-9]{14}-[0-9a-f]{12}$`),  // a pseudo-version
	regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+-`), // a prerelease
	regexp.MustCompile(`^v0\.[0-9]+\.[0-9]+$`),
	regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`),
	regexp.MustCompile(`^v[0-9]+(\.[0-9]+)?$`), // a prefix
	regexp.MustCompile(`.`),                    // a branch
}

// firstOfEachKind chooses from refs, in their order, the first of each kind, of each
// kind of module path, and of each pair of these.
func firstOfEachKind(refs []string) []string {
	seen := map[string]bool{}
	var chosen []string
	for _, ref := range refs {
		path, query, _ := strings.Cut(ref, "@")
		_, major, _ := module.SplitPathVersion(path)
		escaped, _ := module.EscapePath(path)
		host, rest, _ := strings.Cut(escaped, "/")
		kind := fmt.Sprint(host, strings.Contains(rest, "!"), strings.Contains(rest, "/"), major != "",
			slices.IndexFunc(refKinds, func(like *regexp.Regexp) bool { return like.MatchString(query) }))
		if !seen[kind] {
			seen[kind] = true
			chosen = append(chosen, ref)
		}
	}
	return chosen
}

// outcome is what has to be equal of a download.
type outcome struct {
	Version, Sum, GoModSum string
	Time                   time.Time
	// Origin is what is printed, and Stored what the .info says. Only of an
	// exact version it can be the same: a GOPROXY says nothing of where a list
	// or @latest comes from, and of several references to one commit the .info
	// names the one by which it was stored.
	Origin, Stored *modtest.Origin
	Error          string
}

// downloadOutcomes downloads refs: the exact versions on one machine, the queries on
// another, since what a machine has of a version says how it came to it.
func downloadOutcomes(t testing.TB, machine func() *modtest.Go, refs []string) map[string]outcome {
	all := map[string]outcome{}
	queries := slices.DeleteFunc(slices.Clone(refs), isExactRef)
	versions := slices.DeleteFunc(slices.Clone(refs), func(ref string) bool { return !isExactRef(ref) })
	for _, d := range append(machine().Download(versions...), machine().Download(queries...)...) {
		o := outcome{Version: d.Version, Sum: d.Sum, GoModSum: d.GoModSum, Origin: d.Origin, Error: d.Error}
		if d.Stored != nil {
			o.Time, o.Stored = d.Stored.Time, d.Stored.Origin
		}
		ref := d.Path + "@" + cmp.Or(d.Query, d.Version)
		if !isExactRef(ref) {
			o.Origin = nil
			if o.Stored != nil {
				o.Stored = &modtest.Origin{VCS: o.Stored.VCS, URL: o.Stored.URL, Subdir: o.Stored.Subdir, Hash: o.Stored.Hash}
			}
		}
		all[ref] = o
	}
	require.Len(t, all, len(refs))
	return all
}

// isExactRef reports whether ref asks for a version and is no query.
func isExactRef(ref string) bool {
	_, version, _ := strings.Cut(ref, "@")
	return version == module.CanonicalVersion(version)
}
