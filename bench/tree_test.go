package bench_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modtest"
)

// noise is text that hardly compresses, the same each time.
func noise(seed uint64, n int) string {
	random := rand.New(rand.NewPCG(seed, 1))
	var s strings.Builder
	for s.Len() < n {
		s.WriteString("// ")
		for range 9 {
			fmt.Fprintf(&s, "%x", random.Uint64())
		}
		s.WriteByte('\n')
	}
	return s.String()[:n]
}

// unpruned is a go version of the time before module graphs were pruned: who
// requires such a module reads all that it requires.
const unpruned = "1.16"

// goMod is a go.mod.
func goMod(path, goVersion string, require []string) string {
	return "module " + path + "\n\ngo " + goVersion + "\n\nrequire (\n\t" + strings.Join(require, "\n\t") + "\n)\n"
}

// graph is a module graph: all of its versions, and the go.mod of a main module,
// which since go 1.17 names each module of its build list.
type graph struct {
	versions []*modtest.Version
	files    []map[string]string // of each version
	main     string
}

// repos makes a git repository of each module in the graph, with a tag for each version.
func (g graph) repos(t *testing.T) []*modtest.Repo {
	t.Helper()
	scripts, sections := map[string]string{}, map[string]string{}
	var order []string
	for i := len(g.versions) - 1; i >= 0; i-- { // the old ones first
		v := g.versions[i]
		if scripts[v.Path] == "" {
			scripts[v.Path] = "# A module of the graph.\nrepo " + v.Path + "\n"
			order = append(order, v.Path)
		}
		scripts[v.Path] += fmt.Sprintf("files %[1]s\ncommit 2020-01-01T10:00:00Z %[1]s\ntag %[1]s\n", v.Version.Version)
		for name, text := range g.files[i] {
			sections[v.Path] += fmt.Sprintf("-- %s/%s --\n%s\n", v.Version.Version, name, text)
		}
	}
	var repos []*modtest.Repo
	for _, path := range order {
		repos = append(repos, modtest.NewRepo(t, scripts[path]+sections[path]))
	}
	return repos
}

// newGraph makes a graph of n modules, of old of which it mentions a lower
// version too: a tree with three branches at each module, and beside it the tree
// of the old versions, which the modules of the first one require in a scattered
// way.
func newGraph(t *testing.T, n, old int) graph {
	t.Helper()
	path := func(i int) string { return fmt.Sprintf("graph.test/team%d/mod%03d", i%7, i) }
	step := scatter(n)
	require := func(i int, version string, below int) []string {
		var all []string
		for child := 3*i + 3; child < min(3*i+6, below); child++ {
			all = append(all, path(child)+" "+version)
		}
		return all
	}
	var g graph
	add := func(i int, version string, requires []string, size int) {
		files := map[string]string{"go.mod": goMod(path(i), unpruned, requires)}
		for part := range 4 {
			files[fmt.Sprintf("part%d.go", part)] = "package mod\n\n" + noise(uint64(4*i+part), size/4)
		}
		g.versions, g.files = append(g.versions, modtest.NewVersion(t, path(i), version, files)), append(g.files, files)
	}
	for i := range n {
		requires := require(i, "v1.1.0", n)
		if j := (i*step + 2) % n; j < old {
			requires = append(requires, path(j)+" v1.0.0")
		}
		add(i, "v1.1.0", requires, 40<<10)
	}
	for i := range old {
		add(i, "v1.0.0", require(i, "v1.0.0", old), 40<<10)
	}
	var requires []string
	for i := range n {
		requires = append(requires, path(i)+" v1.1.0")
	}
	g.main = goMod("main.test/main", "1.21", requires)
	return g
}

// scatter returns a step such that i*step+2 modulo n is another number for each
// i below n, and never i itself nor a branch of it.
func scatter(n int) int {
	for step := 2; ; step++ {
		seen, good := map[int]bool{}, true
		for i := range n {
			j := (i*step + 2) % n
			good = good && !seen[j] && j != i && (j < 3*i+3 || j >= 3*i+6)
			seen[j] = true
		}
		if good {
			return step
		}
	}
}

// newZip makes a version with a zip of about that many bytes, which is not
// compressed: that would take longer than all the rest.
func newZip(t *testing.T, path, version string, size int) *modtest.Version {
	t.Helper()
	v := &modtest.Version{Version: module.Version{Path: path, Version: version}, Mod: []byte("module " + path + "\n")}
	v.Info, _ = json.Marshal(modtest.Info{Version: version, Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
	chunk := []byte(noise(uint64(size), min(size, 1<<20)))
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	write := func(name string, content []byte) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: path + "@" + version + "/" + name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", v.Mod)
	for i := 0; i*len(chunk) < size; i++ {
		write(fmt.Sprintf("data/%04d.txt", i), chunk[:min(len(chunk), size-i*len(chunk))])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	v.Zip = packed.Bytes()
	return v
}

// paths are where the files of the versions are asked for.
func paths(versions []*modtest.Version, extensions ...string) []string {
	var all []string
	for _, v := range versions {
		for _, extension := range extensions {
			all = append(all, v.Path+"/@v/"+v.Version.Version+extension)
		}
	}
	return all
}

// newRepos makes repositories with three tagged versions each, and lists what a
// go command can download of them.
func newRepos(t *testing.T, host string, n int) (repos []*modtest.Repo, offers []string) {
	t.Helper()
	for i := range n {
		path := fmt.Sprintf("%s/repo%02d", host, i)
		script := "# Three versions.\nrepo " + path + "\n"
		files := "-- v0/go.mod --\nmodule " + path + "\n\ngo 1.21\n"
		for v := range 3 {
			script += fmt.Sprintf("files v%d\ncommit 2020-0%d-01T10:00:00Z Version %d\ntag v1.%d.0\n", v, v+1, v, v)
			for part := range 10 {
				files += fmt.Sprintf("-- v%d/dir%d/part.go --\npackage part\n\n%s", v, part, noise(uint64(100*i+10*part+v), 4<<10)+"\n")
			}
			offers = append(offers, fmt.Sprintf("%s@v1.%d.0", path, v))
		}
		repos = append(repos, modtest.NewRepo(t, script+files))
	}
	return repos, offers
}
