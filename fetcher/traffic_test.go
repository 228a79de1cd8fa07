package fetcher_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

func TestHangingHostLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, seriesRepo(t))
	release := make(chan struct{})
	net.Break("hang.test", modtest.Hang(release))
	f := newFetcher(t, net, func(o *fetcher.Options) { o.Concurrency = 4 })
	var asking sync.WaitGroup
	for i := range 40 {
		asking.Go(func() { _, _ = f.Versions(t.Context(), fmt.Sprintf("hang.test/m%d", i)) })
	}
	net.Await("hang.test", 4)
	_, err := modtest.FetchAll(t, f, series, "v1.0.0")
	assert.NoError(t, err)
	close(release)
	asking.Wait()
}

// remembering believes everything for as long as a test may take.
func remembering(o *fetcher.Options) {
	o.RefsTTL, o.MissTTL, o.DiscoveryTTL = time.Hour, time.Hour, time.Hour
}

// TestRefusalsCostNoClone probes as the go command does for an import path.
func TestRefusalsCostNoClone(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, remembering)
	probe := func(paths ...string) {
		for _, path := range paths {
			_, err := f.Resolve(t.Context(), path, "latest")
			require.ErrorAs(t, err, new(*athens.MissingError), path)
		}
	}
	pages := func() int { return net.Count("") - net.Count(series+"/info/refs") }

	probe("none.test/a/b/c/d", "none.test/a/b/c", "none.test/a/b")
	assert.Equal(t, 3, net.Count("none.test/a"), "one page each")
	before := net.Count("")
	probe("none.test/a/b/c/d", "none.test/a/b/c", "none.test/a/b")
	assert.Equal(t, before, net.Count(""), "remembered")

	net.Reset()
	for _, path := range []string{series + "/a/b/c", series + "/a/b", series + "/a"} {
		_, err := f.Fetch(t.Context(), module.Version{Path: path, Version: "v1.0.0"})
		require.ErrorAs(t, err, new(*athens.MissingError), path)
	}
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
	assert.Zero(t, net.Packs(series))
	first := pages()
	for _, path := range []string{series + "/a/b/c", series + "/a/b", series + "/a"} {
		_, err := f.Versions(t.Context(), path)
		require.NoError(t, err, path)
	}
	assert.Equal(t, first, pages(), "discovered once")
	assert.Zero(t, net.Packs(series))
}

// TestProbesShareWhatTheyNeed counts what several paths below one root cost: a
// page each, and what they have in common once.
func TestProbesShareWhatTheyNeed(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, remembering)
	host, _, _ := strings.Cut(series, "/")
	for _, path := range []string{series + "/a/b/c", series + "/a/b", series + "/a"} {
		_, err := f.Fetch(t.Context(), module.Version{Path: path, Version: "v1.0.0"})
		require.ErrorAs(t, err, new(*athens.MissingError), path)
	}
	assert.Equal(t, 1, net.Count(host+":443"), "that https does not work is remembered")
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
	assert.Len(t, net.Requests(""), 7, "%v", net.Requests(""))
}

// TestRepositoryThatIsDownIsAskedOnce asks for a path whose root is another
// one's: the repository is asked while the root's page is.
func TestRepositoryThatIsDownIsAskedOnce(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, seriesRepo(t))
	net.Break(series+"/info/refs", modtest.Status(http.StatusServiceUnavailable))
	f := newFetcher(t, net, nil)
	_, err := f.Versions(t.Context(), series+"/a")
	require.ErrorAs(t, err, new(*athens.UnavailableError))
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
}

// TestCommitsAreFetchedTogether asks for nine versions while a tenth is being
// fetched.
func TestCommitsAreFetchedTogether(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, nil)
	_, err := f.Versions(t.Context(), series)
	require.NoError(t, err)
	net.Break("", modtest.Delay(200*time.Millisecond))
	var asking sync.WaitGroup
	for i := range 10 {
		asking.Go(func() {
			_, err := modtest.FetchAll(t, f, series, fmt.Sprintf("v1.%d.0", i))
			assert.NoError(t, err)
		})
	}
	asking.Wait()
	assert.LessOrEqual(t, net.Packs(series), 4)
}

// An errand is the same question to the go command and to a Fetcher.
type errand struct {
	name     string
	warm     bool // v1.0.0 was fetched before
	most     float64
	commands [][]string
	ask      func(testing.TB, *fetcher.Fetcher)
}

// errands are what the other way to do this, a go command started for each
// request, is measured by.
func errands() []errand {
	list := furtherTags()
	list = append(list, errand{"one tag", false, 0.7, [][]string{{"mod", "download", series + "@v1.0.0"}}, func(t testing.TB, f *fetcher.Fetcher) {
		_, err := modtest.FetchAll(t, f, series, "v1.0.0")
		require.NoError(t, err)
	}})
	list = append(list, errand{"list", false, 0.5, [][]string{{"list", "-m", "-versions", series}}, func(t testing.TB, f *fetcher.Fetcher) {
		_, err := f.Versions(t.Context(), series)
		require.NoError(t, err)
	}})
	return append(list, errand{"refusal", false, 0.5, [][]string{{"mod", "download", series + "/a@v1.0.0"}}, func(t testing.TB, f *fetcher.Fetcher) {
		_, err := f.Fetch(t.Context(), module.Version{Path: series + "/a", Version: "v1.0.0"})
		require.ErrorAs(t, err, new(*athens.MissingError))
	}})
}

// furtherTags asks for ten more versions of a repository: as many at once as
// "go mod download" of all ten does, once for each .info and then for the rest;
// all at once, as many clients do; and one after the other.
func furtherTags() []errand {
	together, each := []string{"mod", "download"}, [][]string{}
	for i := 1; i <= 10; i++ {
		version := fmt.Sprintf("%s@v1.%d.0", series, i)
		together, each = append(together, version), append(each, []string{"mod", "download", version})
	}
	const most = 0.3
	return []errand{
		{"ten further tags/as one command", true, most, [][]string{together}, func(t testing.TB, f *fetcher.Fetcher) {
			eachVersion(runtime.GOMAXPROCS(0), func(version string) {
				c, err := f.Fetch(t.Context(), module.Version{Path: series, Version: version})
				if assert.NoError(t, err) {
					_, err = c.Info(t.Context())
					assert.NoError(t, err)
				}
			})
			eachVersion(runtime.GOMAXPROCS(0), fetchVersion(t, f))
		}},
		{"ten further tags/at once", true, most, [][]string{together}, func(t testing.TB, f *fetcher.Fetcher) {
			eachVersion(10, fetchVersion(t, f))
		}},
		{"ten further tags/in turn", true, most, each, func(t testing.TB, f *fetcher.Fetcher) {
			eachVersion(1, fetchVersion(t, f))
		}},
	}
}

// eachVersion calls do for ten versions, of which some run at once.
func eachVersion(atOnce int, do func(version string)) {
	var running sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := 1; i <= 10; i++ {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			do(fmt.Sprintf("v1.%d.0", i))
		})
	}
	running.Wait()
}

func fetchVersion(t testing.TB, f *fetcher.Fetcher) func(version string) {
	return func(version string) {
		_, err := modtest.FetchAll(t, f, series, version)
		assert.NoError(t, err)
	}
}

// A cost is what an errand took.
type cost struct {
	wall     time.Duration
	requests int
}

// elevenTags is the series and one tag more.
func elevenTags(t testing.TB) *modtest.Repo {
	repo := seriesRepo(t)
	repo.Run("tag v1.10.0\n")
	return repo
}

// run does an errand both ways, each from nothing.
func (e *errand) run(t testing.TB, net *modtest.Internet) (ours, theirs cost) {
	f, goCmd := newFetcher(t, net, nil), modtest.NewGo(t, net)
	if e.warm {
		_, err := modtest.FetchAll(t, f, series, "v1.0.0")
		require.NoError(t, err)
		_, stderr, err := goCmd.Run("mod", "download", series+"@v1.0.0")
		require.NoError(t, err, stderr)
	}
	measure := func(do func()) cost {
		net.Reset()
		start := time.Now()
		do()
		return cost{time.Since(start), net.Count("")}
	}
	ours = measure(func() { e.ask(t, f) })
	theirs = measure(func() {
		for _, command := range e.commands {
			_, _, _ = goCmd.Run(command...)
		}
	})
	return ours, theirs
}

// TestFewerRequestsThanTheGoCommand counts what BenchmarkBesideTheGoCommand
// measures: the requests an errand takes don't depend on how busy this machine
// is.
func TestFewerRequestsThanTheGoCommand(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, elevenTags(t))
	for _, e := range errands() {
		if len(e.commands) > 1 && os.Getenv("ATHENS_SOAK") == "" {
			continue // many go commands
		}
		ours, theirs := e.run(t, net)
		t.Logf("%s: %d requests, the go command %d", e.name, ours.requests, theirs.requests)
		assert.LessOrEqual(t, ours.requests, theirs.requests, e.name)
	}
}

// BenchmarkBesideTheGoCommand does the same errands with the go command and a
// Fetcher, both from nothing, over a network where each request takes 20 ms.
// The ratio of wall times is to stay below most.
func BenchmarkBesideTheGoCommand(b *testing.B) {
	net := modtest.NewInternet(b, elevenTags(b))
	net.Break("", modtest.Delay(20*time.Millisecond))
	for _, e := range errands() {
		b.Run(e.name, func(b *testing.B) {
			var ours, theirs cost
			for range b.N {
				o, g := e.run(b, net)
				ours.wall, ours.requests = ours.wall+o.wall, ours.requests+o.requests
				theirs.wall, theirs.requests = theirs.wall+g.wall, theirs.requests+g.requests
			}
			b.ReportMetric(float64(ours.wall)/float64(theirs.wall), "ratio")
			b.ReportMetric(e.most, "most")
			b.ReportMetric(float64(ours.requests)/float64(b.N), "requests/op")
			b.ReportMetric(float64(theirs.requests)/float64(b.N), "go-requests/op")
			b.ReportMetric(float64(ours.wall.Milliseconds())/float64(b.N), "ms/op")
			b.ReportMetric(float64(theirs.wall.Milliseconds())/float64(b.N), "go-ms/op")
		})
	}
}
