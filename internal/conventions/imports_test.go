package conventions_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
)

// mod is allowed everywhere: the go command's own ideas of paths, versions, zips.
const mod = "golang.org/x/mod"

// outside says which modules beside mod the packages under a folder may import;
// the longest folder that matches counts. Whoever adds one here adds it to the
// builds of everyone who imports that folder.
var outside = map[string][]string{
	".":                nil,
	"storage":          {"github.com/spf13/afero", "golang.org/x/sys"},
	"storage/bundle":   {"github.com/klauspost/compress"}, // which requires nothing
	"fetcher":          {"github.com/go-git/go-git/v5", "github.com/go-git/go-billy/v5", "golang.org/x/crypto"},
	"redirect":         nil,
	"redirect/rules":   {"github.com/Masterminds/semver/v3"},
	"fill":             nil,
	"ledger":           {"go.etcd.io/bbolt"},
	"serve":            nil,
	"serve/auth":       {"golang.org/x/crypto"},
	"serve/web":        {"github.com/yuin/goldmark"}, // which requires nothing
	"serve/limit":      {"golang.org/x/time"},
	"internal":         nil,
	"internal/durable": {"github.com/spf13/afero", "golang.org/x/sys"},
	"internal/modtest": {"github.com/rogpeppe/go-internal", "github.com/stretchr/testify"},
	// Fakes, for tests.
	"internal/athenstest": {"github.com/spf13/afero", "github.com/stretchr/testify"},
	"examples":            {"github.com/spf13/afero"},
	// The kits are for backends, whose builds they must not weigh down.
	"storage/storagetest": nil,
	"fetcher/fetchertest": nil,
	"fill/filltest":       nil,
	"ledger/ledgertest":   nil,
}

// forTests may be imported by any test beside what its package may import.
var forTests = []string{
	"github.com/stretchr/testify", "github.com/rogpeppe/go-internal", "github.com/spf13/afero", "github.com/go-git/go-git/v5",
}

// forTestsOnly are packages that only tests, and each other, may import.
var forTestsOnly = []string{"internal/modtest", "internal/athenstest"}

// folders are the implementations of the contracts. None imports another.
var folders = []string{"storage", "fetcher", "redirect", "fill", "ledger"}

// within reports whether p is one of dirs or below one.
func within(p string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
}

// allowed is what dir may import from other modules.
func allowed(dir string) []string {
	best := "."
	for under := range outside {
		if within(dir, under) && len(under) >= len(best) {
			best = under
		}
	}
	return append([]string{mod}, outside[best]...)
}

// nested are modules of their own, which import what they are there for.
var nested = []string{"backends", "examples/cluster", "tools"}

// Imports run one way: examples, folders, root.
func TestImportsRunOneWay(t *testing.T) {
	for _, f := range sources(t) {
		if within(f.dir, nested...) {
			continue
		}
		for _, p := range f.imports() {
			own := within(p, self)
			std := !strings.Contains(strings.Split(p, "/")[0], ".")
			switch {
			case std:
			case own:
				if why := wrongWay(f, strings.TrimPrefix(strings.TrimPrefix(p, self), "/")); why != "" {
					t.Errorf("%s imports %s: %s", f.name, p, why)
				}
			case within(p, allowed(f.dir)...), f.test && within(p, forTests...):
			default:
				t.Errorf("%s imports %s, which is not on the list for %s", f.name, p, f.dir)
			}
		}
	}
}

// wrongWay says why f may not import the package in folder to; "" is the root.
func wrongWay(f *file, to string) string {
	from := strings.Split(f.dir, "/")[0]
	other := strings.Split(to, "/")[0]
	switch {
	case from == "examples", other == from, to == "":
		return ""
	case other == "examples":
		return "nothing imports an example"
	case other == "internal":
		if within(to, forTestsOnly...) && !f.test && !within(f.dir, forTestsOnly...) {
			return to + " is for tests"
		}
		return ""
	case within(f.dir, "internal/athenstest") && to == "storage":
		return "" // the fake of a store is a real one that fails
	case f.test && (from == "." || from == "internal" || from == "bench"):
		return "" // flows are tested, and measured, with everything in place
	case f.test && within(to, "storage/storagetest", "fetcher/fetchertest", "fill/filltest", "ledger/ledgertest"):
		return "" // a kit is for every implementation
	case from == "serve" && slices.Contains(folders, other):
		return "" // it stands above them; TestServeIsLight says how far
	case slices.Contains(folders, from) && slices.Contains(folders, other):
		return "a folder does not import its sibling"
	}
	return "imports run from examples to folders to the root"
}

// Who imports the contracts gets the standard library, x/mod and nothing else.
func TestRootIsLight(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	for _, p := range strings.Fields(string(out)) {
		if p != self && !within(p, self+"/internal", mod) {
			t.Errorf("the root package depends on %s", p)
		}
	}
}

// A service that imports serve does not get a store, git or an upstream with it.
func TestServeIsLight(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./serve")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	for _, p := range strings.Fields(string(out)) {
		if p != self && !within(p, self+"/serve", self+"/internal", self+"/fill", mod) {
			t.Errorf("serve depends on %s", p)
		}
	}
}

// Importing net/http/pprof mounts profiles on http.DefaultServeMux, so that a service that
// serves it shows its memory to clients.
func TestNothingMountsProfiles(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test && slices.Contains(f.imports(), "net/http/pprof") {
			t.Errorf("%s imports net/http/pprof", f.name)
		}
	}
}

// A program that redirects, and has no rules file, does not link the library that
// compares versions with constraints; one that keeps versions, and carries none to
// another place, no compression.
func TestRoomsLinkWhatTheyNeed(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./redirect", "./storage", "./storage/evict")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	for _, p := range strings.Fields(string(out)) {
		if within(p, "github.com/Masterminds", self+"/redirect/rules", "github.com/klauspost") {
			t.Errorf("redirect or storage depends on %s", p)
		}
	}
}

// Who has this module in a go.mod gets what the lists above name, and never what a
// backend is made of.
func TestModuleIsLight(t *testing.T) {
	name := filepath.Join(root, "go.mod")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	parsed, err := modfile.Parse(name, data, nil)
	require.NoError(t, err)
	named := append(slices.Concat(slices.Collect(maps.Values(outside))...), append(forTests, mod)...)
	heavy := []string{"gocloud.dev", "cloud.google.com/go", "google.golang.org", "go.opentelemetry.io", "github.com/aws", "github.com/Azure", "github.com/versity"}
	for _, r := range parsed.Require {
		if !r.Indirect && !slices.Contains(named, r.Mod.Path) {
			t.Errorf("go.mod requires %s, which no list names", r.Mod.Path)
		}
		if within(r.Mod.Path, heavy...) {
			t.Errorf("go.mod requires %s, which is for a module under backends/", r.Mod.Path)
		}
	}
}
