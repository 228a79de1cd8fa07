package bench_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

// measureRepos downloads all versions of git repositories, directly and through
// an empty registry.
func measureRepos(t *testing.T, b *table) {
	repos, offers := newRepos(t, "git.test", b.repos)
	internet := modtest.NewInternet(t, repos...)
	internet.Break("", modtest.Delay(b.away))
	client := modtest.NewGo(t, internet)
	download := func(url string) (cost, traffic) {
		client.Set("GOPROXY=" + url)
		c := goDownload(t, client, offers...)
		if got := downloaded(t, client); got != len(offers) {
			t.Fatalf("the go command downloaded %d versions, not %d", got, len(offers))
		}
		return c, trafficOf(internet)
	}
	all := directSystems()
	var (
		direct       []cost
		directly     traffic
		cold, spent  = make([][]cost, len(all)), make([][]cost, len(all))
		caused       = make([]traffic, len(all))
		environments = client.Env()
	)
	for range b.rounds {
		internet.Reset()
		c, seen := download("direct")
		direct, directly = append(direct, c), seen
		for i, sys := range all {
			internet.Reset()
			s := sys.start(t, t.TempDir(), upstreamDirect, environments)
			c, seen := download(s.url)
			cold[i], caused[i] = append(cold[i], c), seen.max(caused[i])
			spent[i] = append(spent[i], cost{cpu: s.cpu(t)})
			s.kill()
		}
	}
	base := median(direct)
	for i, sys := range all {
		c := median(cold[i])
		b.add(t, line{fmt.Sprintf("cold from git, %d repositories × 3 versions", b.repos), sys.name, ratio(c.wall, base.wall), "×", sys.target(0.7),
			fmt.Sprintf("%s; direct %s; CPU of go %s, of the server %s; direct %s",
				short(c.wall), short(base.wall), short(c.cpu), short(median(spent[i]).cpu), short(base.cpu))})
		b.add(t, line{"git requests for it", sys.name, float64(caused[i].git), "calls", sys.target(float64(directly.git)),
			fmt.Sprintf("direct %d; packs %d, direct %d; pages %d, direct %d",
				directly.git, caused[i].packs, directly.packs, caused[i].pages, directly.pages)})
		b.add(t, line{"bytes from git for it", sys.name, float64(caused[i].bytes) / 1e3, "kB", sys.target(float64(directly.bytes) / 1e3),
			fmt.Sprintf("direct %d kB", directly.bytes/1e3)})
	}
}

// traffic is what version control was asked.
type traffic struct {
	git, packs, pages int
	bytes             int64 // of git's answers
}

func trafficOf(internet *modtest.Internet) traffic {
	var sum traffic
	for _, r := range internet.Requests("") {
		if !strings.HasSuffix(r.Path, "/info/refs") && !strings.HasSuffix(r.Path, "/git-upload-pack") {
			sum.pages++
			continue
		}
		sum.git++
		sum.bytes += r.Sent
		if r.Pack {
			sum.packs++
		}
	}
	return sum
}

func (a traffic) max(b traffic) traffic {
	return traffic{max(a.git, b.git), max(a.packs, b.packs), max(a.pages, b.pages), max(a.bytes, b.bytes)}
}
