package bench_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

// measureGraph downloads a module graph with the real go command: straight from
// the upstream, through an empty proxy, and as the second client of a proxy.
func measureGraph(t *testing.T, b *table) {
	g := newGraph(t, b.modules, b.old)
	upstream := modtest.NewGoProxy(t, g.versions...)
	upstream.Break("", modtest.Delay(b.away))
	measureGraphBy(t, b, g, upstream, 2, 0.3, 0.08)
	measureGraphBy(t, b, g, upstream, 16, 0.2, 0.08)
	// Without "all" the go command asks for one .info after the other.
	measureGraphBy(t, b, g, upstream, 16, noTarget, noTarget, "all")
}

// measureGraphBy does so by "go mod download args...", with a go command that does
// so many things at once.
func measureGraphBy(t *testing.T, b *table, g graph, upstream *modtest.GoProxy, procs int, coldest, warmest float64, args ...string) {
	client := modtest.NewGo(t, nil)
	client.Set(fmt.Sprintf("GOMAXPROCS=%d", procs), "GOFLAGS=-modcacherw")
	download := func(url string) cost {
		client.Set("GOPROXY=" + url)
		client.Write("go.mod", g.main)
		client.Write("go.sum", "")
		c := goDownload(t, client, args...)
		if got := downloaded(t, client); got != b.modules {
			t.Fatalf("the go command downloaded %d modules, not %d", got, b.modules)
		}
		return c
	}
	all := systems()
	var straight, redirected []cost
	cold, warm, spent := make([][]cost, len(all)), make([][]cost, len(all)), make([][]cost, len(all))
	requests, zips := make([]int, len(all)), make([]int, len(all))
	for range b.rounds {
		straight = append(straight, download(upstream.URL))
		for i, sys := range all {
			upstream.Reset()
			s := sys.start(t, t.TempDir(), upstream.URL, client.Env())
			cold[i] = append(cold[i], download(s.url))
			spent[i] = append(spent[i], cost{cpu: s.cpu(t)})
			warm[i] = append(warm[i], download(s.url))
			requests[i] = max(requests[i], upstream.Count(""))
			zips[i] = max(zips[i], upstream.Count("*.zip"))
			s.kill()
		}
		s := proxy(t, t.TempDir(), upstream.URL, "redirect", client.Env())
		redirected = append(redirected, download(s.url))
		s.kill()
	}
	command := strings.Join(append([]string{"go mod download"}, args...), " ")
	what := fmt.Sprintf("cold `%s` of %d modules, %d procs", command, b.modules, procs)
	base := median(straight)
	wanted := 2*len(g.versions) + b.modules
	note := func(c cost) string {
		return fmt.Sprintf("%s; straight %s; CPU of go %s; straight %s", short(c.wall), short(base.wall), short(c.cpu), short(base.cpu))
	}
	for i, sys := range all {
		c := median(cold[i])
		b.add(t, line{what, sys.name, ratio(c.wall, base.wall), "×", sys.target(coldest),
			note(c) + ", of the proxy " + short(median(spent[i]).cpu)})
		b.add(t, line{"upstream requests for it", sys.name, float64(requests[i]), "calls", sys.target(float64(wanted) * 1.05),
			fmt.Sprintf("%d .info and .mod each, %d zips wanted; zips asked for: %d", len(g.versions), b.modules, zips[i])})
		c = median(warm[i])
		b.add(t, line{"the second client", sys.name, ratio(c.wall, base.wall), "×", sys.target(warmest), note(c)})
	}
	c := median(redirected)
	b.add(t, line{what, "athens -miss redirect", ratio(c.wall, base.wall), "×", 1.15, note(c)})
}
