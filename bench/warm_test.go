package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

// warmTree is a store on disk that holds versions.
type warmTree struct {
	dir                  string
	small, medium, large []string // paths: .info and .mod, zips of 100 KB, the large zip
}

// newWarmTree fills a store by asking a proxy for everything. Without large there
// is no large zip.
func newWarmTree(t *testing.T, n int, large int) warmTree {
	t.Helper()
	w := warmTree{dir: t.TempDir()}
	var small, medium []*modtest.Version
	for i := range n {
		small = append(small, newZip(t, fmt.Sprintf("warm.test/small%03d", i), "v1.0.0", 1000))
		if i < max(1, n/10) {
			medium = append(medium, newZip(t, fmt.Sprintf("warm.test/medium%03d", i), "v1.0.0", 100_000))
		}
	}
	all := append(small[:n:n], medium...)
	w.small, w.medium = paths(small, ".info", ".mod"), paths(medium, ".zip")
	if large > 0 {
		v := newZip(t, "warm.test/large", "v1.0.0", large)
		w.large, all = paths([]*modtest.Version{v}, ".zip"), append(all, v)
	}
	upstream := modtest.NewGoProxy(t, all...)
	s := proxy(t, w.dir, upstream.URL, "fetch", modtest.NewGo(t, nil).Env())
	files := paths(all, ".mod", ".info", ".zip")
	// The second time shows that all is held.
	for range 2 {
		upstream.Reset()
		mustHold(t, s.name, flood(t, s.url, files, 4, len(files)))
	}
	if got := upstream.Requests(""); len(got) > 0 {
		t.Fatalf("asked again for what is held: %v", got)
	}
	s.kill()
	return w
}

// conns is how many connections read from a warm server.
const conns = 16

// measureWarm reads what is held, from the proxy and from file servers on the
// same folder.
func measureWarm(t *testing.T, b *table) {
	tree := newWarmTree(t, 100, b.large)
	env := modtest.NewGo(t, nil).Env()
	base := fileServer(t, tree.dir)
	servers := []*server{base}
	if s := nginx(t, tree.dir); s != nil {
		servers = append(servers, s)
	}
	all := systems()
	for _, sys := range all {
		if sys.own {
			// Nobody is there: what is held needs nobody.
			servers = append(servers, sys.start(t, tree.dir, "http://"+freeAddr(t), env))
		} else {
			servers = append(servers, warmPeer(t, sys, tree, env))
		}
	}
	for _, part := range []struct {
		what                string
		paths               []string
		requests            int
		ofNginx, ofFileServ float64
	}{
		{".info and .mod", tree.small, b.small, 1.8, noTarget},
		{"zips of 100 KB", tree.medium, b.medium, 1.75, noTarget},
		{fmt.Sprintf("zip of %d MB", b.large>>20), tree.large, b.big, 1, noTarget},
	} {
		costs := map[*server][]cost{}
		for range b.rounds {
			for _, s := range servers {
				before, begin := s.cpu(t), time.Now()
				answers := flood(t, s.url, part.paths, conns, part.requests)
				costs[s] = append(costs[s], cost{time.Since(begin), s.cpu(t) - before})
				mustHold(t, s.name, answers)
			}
		}
		each := func(s *server) cost {
			m := median(costs[s])
			return cost{m.wall / time.Duration(part.requests), m.cpu / time.Duration(part.requests)}
		}
		for _, s := range servers {
			for _, to := range servers[:len(servers)-len(all)] {
				if s == to || s.name == nginxName {
					continue
				}
				target := float64(noTarget)
				switch {
				case s != servers[len(servers)-len(all)]: // only this project's has targets
				case to.name == nginxName:
					target = part.ofNginx
				default:
					target = part.ofFileServ
				}
				b.add(t, line{"warm " + part.what + ", CPU a request to that of " + to.name, s.name, ratio(each(s).cpu, each(to).cpu), "×", target,
					fmt.Sprintf("CPU %s to %s; wall %s to %s", short(each(s).cpu), short(each(to).cpu), short(each(s).wall), short(each(to).wall))})
			}
		}
	}
}

// warmPeer fills a peer with the same files, in a folder of its own.
func warmPeer(t *testing.T, sys system, tree warmTree, env []string) *server {
	t.Helper()
	source := fileServer(t, tree.dir)
	s := sys.start(t, t.TempDir(), source.url, env)
	files := append(append(tree.small[:len(tree.small):len(tree.small)], tree.medium...), tree.large...)
	mustHold(t, s.name, flood(t, s.url, files, 4, len(files)))
	return s
}

// measureStart starts the proxy on a warm store, again and again, and asks it for
// what it holds as soon as it listens.
func measureStart(t *testing.T, b *table) {
	tree := newWarmTree(t, 100, 0)
	env := modtest.NewGo(t, nil).Env()
	bin := modtest.Build(t, "./examples/proxy")
	var all []time.Duration
	for range b.starts {
		s, whole := firstAnswer(t, env, bin, tree.dir, downURL, tree.small[0])
		all = append(all, whole)
		s.kill()
	}
	m := quantile(all, 0.5)
	b.add(t, line{"process start to first held answer", "athens", float64(m) / 1e6, "ms", 10,
		fmt.Sprintf("fastest %s, slowest %s", short(quantile(all, 0)), short(quantile(all, 1)))})
}

// downURL is an upstream that is down.
const downURL = "http://127.0.0.1:9"

// firstAnswer starts the proxy on a folder, asks it for one path, and returns how
// long that took from the start of the process.
func firstAnswer(t *testing.T, env []string, bin, dir, upstream, path string) (*server, time.Duration) {
	t.Helper()
	s := begin(t, ownName, env, bin, "-addr", "{addr}", "-dir", dir, "-upstream", upstream, "-private", "private.test")
	conn := s.dial(t)
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(startLimit)); err != nil {
		t.Fatal(err)
	}
	request := []byte("GET /" + path + " HTTP/1.1\r\nHost: bench.test\r\n\r\n")
	if err := exchange(conn, request, make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	return s, time.Since(s.begun)
}
