package e2e_test

import (
	"context"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/warm"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// warmMod makes a version with that go line and those requirements.
func warmMod(t testing.TB, path, version, goLine string, requires ...string) *modtest.Version {
	text := "module " + path + "\n\ngo " + goLine + "\n"
	for _, r := range requires {
		text += "require " + r + "\n"
	}
	return modtest.NewVersion(t, path, version, map[string]string{"go.mod": text, "a.go": "package a\n"})
}

// warmUpstream has a graph: new is pruned, old is not.
func warmUpstream(t testing.TB) *modtest.GoProxy {
	return modtest.NewGoProxy(t,
		warmMod(t, "new.test/a", "v1.0.0", "1.20", "old.test/b v1.0.0", "new.test/c v1.0.0"), warmMod(t, "new.test/c", "v1.0.0", "1.20", "new.test/d v1.0.0"), warmMod(t, "new.test/c", "v1.2.0", "1.20"),
		warmMod(t, "new.test/d", "v1.0.0", "1.20"), warmMod(t, "old.test/b", "v1.0.0", "1.15", "old.test/e v1.0.0"), warmMod(t, "old.test/b", "v1.1.0", "1.15", "old.test/e v1.0.0"),
		warmMod(t, "old.test/e", "v1.0.0", "1.15", "old.test/f v1.0.0"), warmMod(t, "old.test/f", "v1.0.0", "1.15"), warmMod(t, "fork.test/c", "v1.3.0", "1.20"), warmMod(t, "list.test/x", "v1.0.0", "1.20"), warmMod(t, "list.test/x", "v1.1.0", "1.20"),
		warmMod(t, "golang.org/toolchain", "v0.0.1-go1.22.3.linux-amd64", "1.20"))
}

// warmTarget is an empty store with a handler before that upstream.
func warmTarget(t testing.TB, up *modtest.GoProxy) (warm.Target, *storage.Store, *athens.Handler) {
	r, err := redirect.New(up.URL, nil)
	require.NoError(t, err)
	s := storage.NewMemory()
	h, err := athens.NewHandler(s, &athens.Options{Upstream: r, MissFetch: true, Prefetch: -1})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.Shutdown(context.WithoutCancel(t.Context()))) })
	return warm.Handler(h, s), s, h
}

// warmHeld lists what a store holds; * marks a zip.
func warmHeld(t testing.TB, s *storage.Store) []string {
	all := []string{}
	for m, err := range s.All(t.Context()) {
		require.NoError(t, err)
		o, err := s.Open(t.Context(), m, athens.ZipFile)
		name := m.String()
		if err == nil {
			name += "*"
			require.NoError(t, o.Body.Close())
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// warmProject writes files to a folder.
func warmProject(t testing.TB, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	return dir
}

// A go.mod needs what the real go command downloads for it, no more and no less.
func TestWarmIsAsTheGoCommand(t *testing.T) {
	replaced := map[string]string{
		"go.mod":      "module p.test\n\ngo 1.20\n\nrequire new.test/a v1.0.0\nrequire new.test/c v1.0.0 // indirect\nrequire local.test/l v1.0.0\nreplace new.test/c => fork.test/c v1.3.0\nreplace local.test/l => ./l\n",
		"l/go.mod":    "module local.test/l\n\ngo 1.15\n\nrequire old.test/b v1.1.0\n",
		"p.go":        "package p\n",
		"x/y/nothing": "",
	}
	for name, c := range map[string]struct {
		files map[string]string
		env   []string
	}{
		"pruned":    {map[string]string{"go.mod": "module p.test\n\ngo 1.20\n\nrequire new.test/a v1.0.0\nrequire (\n\tnew.test/c v1.2.0 // indirect\n\told.test/b v1.0.0 // indirect\n)\n"}, nil},
		"unpruned":  {map[string]string{"go.mod": "module p.test\n\ngo 1.16\n\nrequire new.test/a v1.0.0\n"}, nil},
		"excluded":  {map[string]string{"go.mod": "module p.test\n\ngo 1.16\n\nrequire new.test/a v1.0.0\nexclude old.test/e v1.0.0\n"}, nil},
		"replaced":  {replaced, nil},
		"workspace": {map[string]string{"go.work": "go 1.20\n\nuse ./a\nuse ./b\n", "a/go.mod": "module a.test\n\ngo 1.20\n\nrequire new.test/a v1.0.0\nrequire new.test/c v1.0.0\n", "b/go.mod": "module b.test\n\ngo 1.20\n\nrequire new.test/c v1.2.0\nrequire old.test/b v1.1.0\n"}, []string{"GOWORK=auto"}},
	} {
		t.Run(name, func(t *testing.T) {
			up := warmUpstream(t)
			dir := warmProject(t, c.files)
			tgt, s, _ := warmTarget(t, up)
			plan := warm.NewPlan()
			main := filepath.Join(dir, "go.mod")
			if c.env != nil {
				main = filepath.Join(dir, "go.work")
			}
			require.NoError(t, plan.Add(main))
			sum, err := warm.Run(t.Context(), tgt, plan, nil)
			require.NoError(t, err)
			assert.Empty(t, sum.Failed)
			got := warmHeld(t, s)

			g := modtest.NewGo(t, nil)
			g.Dir = dir
			g.Set("GOPROXY=" + up.URL)
			g.Set(c.env...)
			up.Reset()
			_, stderr, err := g.Run("mod", "download")
			require.NoError(t, err, stderr)
			assert.Equal(t, warmDownloaded(t, g.ModCache), got)
		})
	}
}

// warmDownloaded lists what is in a module cache, as held does.
func warmDownloaded(t testing.TB, cache string) []string {
	top, all := filepath.Join(cache, "cache", "download"), map[string]bool{}
	require.NoError(t, filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(top, name)
		path, file, ok := strings.Cut(filepath.ToSlash(rel), "/@v/")
		if ext := filepath.Ext(file); ok && (ext == ".mod" || ext == ".zip") {
			key := path + "@" + strings.TrimSuffix(file, ext)
			all[key] = all[key] || ext == ".zip"
		}
		return err
	}))
	var list []string
	for key := range maps.Keys(all) {
		if all[key] {
			key += "*"
		}
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

func TestWarmPlans(t *testing.T) {
	up := warmUpstream(t)
	b, x := warmMod(t, "old.test/b", "v1.0.0", "1.15", "old.test/e v1.0.0"), warmMod(t, "list.test/x", "v1.0.0", "1.20")
	for name, c := range map[string]struct {
		add     func(p *warm.Plan) error
		opts    *warm.Options
		want    []string
		failure string
	}{
		"go.sum": {func(p *warm.Plan) error {
			return p.Add(filepath.Join(warmProject(t, map[string]string{"go.sum": "list.test/x v1.0.0 " + x.Sum + "\nlist.test/x v1.0.0/go.mod " + x.GoModSum + "\nold.test/b v1.0.0/go.mod " + b.GoModSum + "\n"}), "go.sum"))
		}, nil, []string{"list.test/x@v1.0.0*", "old.test/b@v1.0.0"}, ""},
		"go.sum with another hash": {func(p *warm.Plan) error {
			return p.Add(filepath.Join(warmProject(t, map[string]string{"go.sum": "list.test/x v1.0.0 " + b.Sum + "\n"}), "go.sum"))
		}, nil, []string{"list.test/x@v1.0.0*"}, "its zip has the hash " + x.Sum + "; go.sum says " + b.Sum},
		"go.sum with another hash of a go.mod": {func(p *warm.Plan) error {
			return p.Add(filepath.Join(warmProject(t, map[string]string{"go.sum": "list.test/x v1.0.0/go.mod " + b.GoModSum + "\n"}), "go.sum"))
		}, nil, []string{"list.test/x@v1.0.0"}, "go.sum says " + b.GoModSum},
		"list": {func(p *warm.Plan) error {
			return p.AddList("list", strings.NewReader("p.test\nlist.test/x@latest # newest\nold.test/b v1.0.0\nnew.test/c v1.0.0 => fork.test/c v1.3.0\na.test/l v1.0.0 => ../l\n\n"))
		}, nil, []string{"fork.test/c@v1.3.0*", "list.test/x@v1.1.0*", "old.test/b@v1.0.0*"}, "p.test"},
		"all versions": {func(p *warm.Plan) error { return p.AddAllVersions("list.test/x") }, nil, []string{"list.test/x@v1.0.0*", "list.test/x@v1.1.0*"}, ""},
		"toolchains": {func(p *warm.Plan) error {
			return p.Add(warmProject(t, map[string]string{"a/go.mod": "module p.test\n\ngo 1.22\n\ntoolchain go1.22.3\n", "vendor/go.mod": "broken"}))
		}, &warm.Options{Platforms: []string{"linux/amd64"}}, []string{"golang.org/toolchain@v0.0.1-go1.22.3.linux-amd64*"}, ""},
		"lacking": {func(p *warm.Plan) error {
			return p.AddVersion(module.Version{Path: "none.test/x", Version: "v1.0.0"})
		}, nil, []string{}, "none.test/x"},
	} {
		t.Run(name, func(t *testing.T) {
			tgt, s, _ := warmTarget(t, up)
			plan := warm.NewPlan()
			require.NoError(t, c.add(plan))
			sum, err := warm.Run(t.Context(), tgt, plan, c.opts)
			require.NoError(t, err)
			assert.Equal(t, c.want, warmHeld(t, s))
			if c.failure == "" {
				assert.Empty(t, sum.Failed)
				again, err := warm.Run(t.Context(), tgt, plan, c.opts)
				require.NoError(t, err)
				assert.Equal(t, []int{sum.Versions, 0}, []int{again.Held, int(again.Bytes)}, "all was held")
			} else if assert.Len(t, sum.Failed, 1) {
				assert.ErrorContains(t, sum.Failed[0], c.failure)
			}
		})
	}
}

// A server that runs is filled by requests; one that redirects fills later.
func TestWarmServer(t *testing.T) {
	up := warmUpstream(t)
	_, s, h := warmTarget(t, up)
	front := httptest.NewServer(h)
	defer front.Close()
	tgt, err := warm.Server(front.URL, nil)
	require.NoError(t, err)
	plan := warm.NewPlan()
	require.NoError(t, plan.Add(filepath.Join(warmProject(t, map[string]string{"go.mod": "module p.test\n\ngo 1.16\n\nrequire new.test/a v1.0.0\n"}), "go.mod")))
	sum, err := warm.Run(t.Context(), tgt, plan, &warm.Options{Parallel: 3, Progress: func(warm.Progress) {}})
	require.NoError(t, err)
	assert.Empty(t, sum.Failed)
	assert.Equal(t, []string{"new.test/a@v1.0.0*", "new.test/c@v1.0.0*", "new.test/d@v1.0.0*", "old.test/b@v1.0.0*", "old.test/e@v1.0.0*", "old.test/f@v1.0.0*"}, warmHeld(t, s))
	assert.Equal(t, 6, sum.Zips)

	r, err := redirect.New(up.URL, nil)
	require.NoError(t, err)
	later, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Upstream: r})
	require.NoError(t, err)
	redirecting := httptest.NewServer(later)
	defer redirecting.Close()
	tgt, err = warm.Server(redirecting.URL+"/", &warm.ServerOptions{Token: "secret"})
	require.NoError(t, err)
	sum, err = warm.Run(t.Context(), tgt, plan, nil)
	require.NoError(t, err)
	assert.Empty(t, sum.Failed)
	assert.Equal(t, 6, sum.Scheduled)
	_, err = warm.Server("corp", nil)
	assert.ErrorContains(t, err, "not the URL")
}

// What is canceled is continued by the next run.
func TestWarmCanceled(t *testing.T) {
	up := warmUpstream(t)
	tgt, s, _ := warmTarget(t, up)
	plan := warm.NewPlan()
	require.NoError(t, plan.AddAllVersions("list.test/x"))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := warm.Run(ctx, tgt, plan, &warm.Options{Parallel: 1, Progress: func(warm.Progress) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	sum, err := warm.Run(t.Context(), tgt, plan, nil)
	require.NoError(t, err)
	assert.Empty(t, sum.Failed)
	assert.Len(t, warmHeld(t, s), 2)
	_, err = warm.Run(t.Context(), tgt, plan, &warm.Options{Parallel: -1})
	assert.ErrorContains(t, err, "negative")
}

// A graph is read and filled in little more than the time of its longest chain of requests: with
// 30 ms away, a chain of .mod files as deep as the graph, and then a round of zips.
func TestWarmSpeed(t *testing.T) {
	n := modtest.Soak(12, 120)
	const away = 30 * time.Millisecond
	var all []*modtest.Version
	requires := ""
	name := func(i int) string { return "graph.test/m" + string(rune('a'+i/26)) + string(rune('a'+i%26)) }
	for i := range n {
		var below []string
		for child := 3*i + 1; child < min(3*i+4, n); child++ {
			below = append(below, name(child)+" v1.0.0")
		}
		all = append(all, warmMod(t, name(i), "v1.0.0", "1.20", below...))
		requires += "require " + name(i) + " v1.0.0\n"
	}
	up := modtest.NewGoProxy(t, all...)
	up.Break("", modtest.Delay(away))
	tgt, s, _ := warmTarget(t, up)
	plan := warm.NewPlan()
	require.NoError(t, plan.Add(filepath.Join(warmProject(t, map[string]string{"go.mod": "module p.test\n\ngo 1.20\n\n" + requires}), "go.mod")))
	began := time.Now()
	sum, err := warm.Run(t.Context(), tgt, plan, nil)
	require.NoError(t, err)
	assert.Len(t, warmHeld(t, s), n)
	assert.Equal(t, n, sum.Zips)
	assert.Equal(t, 3*n, up.Count(""))
	t.Logf("%d modules, %v away: %v", n, away, time.Since(began).Round(time.Millisecond))
}
