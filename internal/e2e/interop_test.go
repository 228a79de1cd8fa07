package e2e_test

import (
	"cmp"
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

// TestInterop asks a go command for all that the ready repositories offer:
// directly, and through the servers in each way that they work. What it gets
// must be the same.
func TestInterop(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.Ready(t, modtest.ReadyNames()...)...)
	require.GreaterOrEqual(t, len(modtest.ReadyNames()), 12)
	var refs []string
	for _, name := range modtest.ReadyNames() {
		refs = append(refs, modtest.Ready(t, name)[0].Offers...)
	}
	direct := downloadOutcomes(t, func() *modtest.Go { return modtest.NewGo(t, net) }, refs)
	for _, ref := range refs {
		require.NotEmpty(t, direct[ref].Sum, "direct download of %s", ref)
	}

	registry := startServer(t, net, "registry", "registry")
	for _, way := range []struct {
		name string
		node *server
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
					g.Set(way.node.Env...)
					return g
				}
				got := downloadOutcomes(t, machine, refs)
				way.node.settle()
				for _, ref := range refs {
					assert.Equal(t, direct[ref], got[ref], "%s, %s", ref, state)
				}
				if state == "warm" {
					break
				}
				g := machine()
				for _, ref := range refusedRefs {
					d := g.Download(ref)
					require.Len(t, d, 1)
					assert.NotEmpty(t, d[0].Error, ref)
				}
			}
		})
	}
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
