package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/packtest"
)

// Each test here fills all the memory that a server with default settings may use, at once,
// with items of the largest legal size: answers, lists, .mods, small files of the store,
// names for the prefetcher. What it asks for comes in random order by clientsAtOnce clients.
const clientsAtOnce = 24

// largeUpstream is a GOPROXY server whose answers are as large as they may be.
type largeUpstream struct{ mod, list, info, small int }

// ServeHTTP implements [http.Handler]. The first letter of the module's path says what is
// large about it.
func (u *largeUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	modulePath, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/@")
	version := strings.TrimSuffix(path.Base(file), path.Ext(file))
	out := bufio.NewWriterSize(w, 1<<20)
	defer out.Flush() // the client may have left
	switch {
	case strings.HasSuffix(file, "list"):
		for i, left := 0, u.list; left > 40; i++ {
			n, _ := fmt.Fprintf(out, "v1.%d.0\n", i)
			left -= n
		}
	case strings.HasSuffix(file, ".mod"):
		size := u.small
		if modulePath[0] == 'm' {
			size = u.mod
		}
		n, _ := fmt.Fprintf(out, "module %s\n", modulePath)
		for left := size - n; left > 100; {
			n, _ := fmt.Fprintf(out, "require d%d.test/%s v1.0.0\n", left, modulePath)
			left -= n
		}
	default:
		size := u.small
		if modulePath[0] == 'q' {
			version, size = "v1.0.0", u.info
		}
		if version == "latest" {
			version = "v1.0.0"
		}
		fmt.Fprintf(out, `{"Version":%q,"Time":"2020-01-01T00:00:00Z","Note":%q}`, version, strings.Repeat("x", max(size-100, 1)))
	}
}

// askAtOnce asks for all paths, at the same time and in random order, twice.
func askAtOnce(t *testing.T, n *server, paths []string) {
	random := rand.New(rand.NewPCG(1, 2))
	queue := make(chan string)
	statuses := map[int]int{}
	var (
		mu      sync.Mutex
		running sync.WaitGroup
	)
	for range clientsAtOnce {
		running.Go(func() {
			for p := range queue {
				resp, err := http.Get(n.URL + "/" + p)
				if !assert.NoError(t, err, p) {
					continue
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				mu.Lock()
				if statuses[resp.StatusCode]++; err != nil {
					statuses[0]++ // cut
				}
				mu.Unlock()
			}
		})
	}
	for range 2 {
		random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for _, p := range paths {
			queue <- p
		}
	}
	close(queue)
	running.Wait()
	peak := peakMB(t, n)
	t.Logf("%d paths, peak %d MB, answers by status: %v", len(paths), peak, statuses)
	assert.Zero(t, statuses[http.StatusInternalServerError])
	assert.NotZero(t, statuses[http.StatusOK])
	assert.LessOrEqual(t, peak, mostMemoryMB)
}

// numbered returns n paths of modules with one letter.
func numbered(n int, letter, file string) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%s%d.test/m/@%s", letter, i, file))
	}
	return all
}

func TestProxyMemoryAtOnce(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(&largeUpstream{
		mod: modtest.Soak(1<<20, 31<<20), list: modtest.Soak(256<<10, 15<<20), info: 60 << 10, small: 15 << 10,
	})
	t.Cleanup(up.Close)
	n := startServer(t, modtest.NewInternet(t), "proxy", "proxy", "-upstream", up.URL, "-miss", "fetch", "-private", "")
	var paths []string
	for _, file := range []string{"v/v1.0.0.mod", "v/v1.0.0.info", "v/list"} {
		paths = append(paths, numbered(modtest.Soak(6, 24), "m", file)...)
	}
	small := modtest.Soak(10, 1500)
	for _, file := range []string{"v/v1.0.0.mod", "v/v1.0.0.info", "latest"} {
		paths = append(paths, numbered(small, "s", file)...)
	}
	paths = append(paths, numbered(small, "q", "v/branch.info")...)
	askAtOnce(t, n, paths)
}

func TestRegistryMemoryAtOnce(t *testing.T) {
	t.Parallel()
	internet := modtest.NewInternet(t)
	host := packtest.NewHost(t.TempDir())
	add := func(name string, c packtest.Case) {
		require.NoError(t, host.Add(name, c))
		internet.Handle(name, host)
	}
	large, mods := new(packtest.Maker).LargeMod(modtest.Soak(1<<20, 15<<20)), modtest.Soak(3, 24)
	for i := range mods {
		add(fmt.Sprintf("m%d.test", i), large)
	}
	sound := new(packtest.Maker).Sound()
	lists, hosts := &listHost{packtest.NewHost(t.TempDir()), fmt.Sprintf("%x", sound.Tip), modtest.Soak(256<<10, legalList)}, modtest.Soak(1, 4)
	for i := range hosts {
		name := fmt.Sprintf("l%d.test", i)
		require.NoError(t, lists.Add(name, sound))
		internet.Handle(name, lists)
	}
	packs := 0
	for _, build := range packtest.Corpus(corpusSize()) {
		if packs == modtest.Soak(3, 1000) {
			break
		}
		add(fmt.Sprintf("p%d.test", packs), build())
		packs++
	}
	small := modtest.Soak(5, 300)
	for i := range small {
		add(fmt.Sprintf("s%d.test", i), new(packtest.Maker).Sound())
	}
	n := startServer(t, internet, "registry", "registry")
	paths := numbered(packs, "p", "v/v1.0.0.zip")
	for _, file := range []string{"v/v1.0.0.mod", "v/v1.0.0.info"} {
		paths = append(paths, numbered(mods, "m", file)...)
	}
	for _, file := range []string{"v/list", "latest", "v/v1.0.info", "v/v1.0.1.info"} {
		paths = append(paths, numbered(hosts, "l", file)...)
	}
	for _, file := range []string{"v/v1.0.0.zip", "latest", "v/" + strings.Repeat("b", 200) + ".info"} {
		paths = append(paths, numbered(small, "s", file)...)
	}
	askAtOnce(t, n, paths)
}
