package bench_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

// measureStuck has an upstream never answer some misses, and looks at the others.
func measureStuck(t *testing.T, b *table) {
	held := newZip(t, "held.test/mod", "v1.0.0", 1000)
	others := make([]*modtest.Version, 2*b.rounds*b.misses)
	for i := range others {
		others[i] = newZip(t, fmt.Sprintf("other.test/mod%d", i), "v1.0.0", 1000)
	}
	upstream := modtest.NewGoProxy(t, append(others, held)...)
	upstream.Break("other.test", modtest.Delay(b.away))
	upstream.Break("stuck.test", modtest.Hang(nil))
	env := modtest.NewGo(t, nil).Env()
	for _, sys := range systems() {
		start := func() *server { return sys.start(t, t.TempDir(), upstream.URL, env) }
		strangers(t, b, "a slow upstream", sys, start, paths([]*modtest.Version{held}, ".info")[0], paths(others, ".mod"))
	}
}

// measureStuckRepos does the same with repositories that never answer.
func measureStuckRepos(t *testing.T, b *table) {
	repos, _ := newRepos(t, "other.test", 2*b.rounds*b.misses)
	held, _ := newRepos(t, "held.test", 1)
	internet := modtest.NewInternet(t, append(repos, held...)...)
	internet.Break("other.test", modtest.Delay(b.away))
	internet.Break("stuck.test", modtest.Hang(nil))
	env := modtest.NewGo(t, internet).Env()
	var others []string
	for _, r := range repos {
		others = append(others, r.Path+"/@v/v1.0.0.mod")
	}
	for _, sys := range directSystems() {
		start := func() *server { return sys.start(t, t.TempDir(), upstreamDirect, env) }
		strangers(t, b, "slow repositories", sys, start, "held.test/repo00/@v/v1.0.0.info", others)
	}
}

// missLimit is how long a miss may take that has nothing to do with the stuck ones.
const missLimit = 10 * time.Second

// strangers compares an idle server with one that has stuck misses: requests for
// what it holds, and other misses.
func strangers(t *testing.T, b *table, what string, sys system, start func() *server, held string, others []string) {
	t.Helper()
	idle, busy := start(), start()
	ctx, cancel := context.WithCancel(t.Context())
	var stuck sync.WaitGroup
	defer stuck.Wait()
	defer cancel()
	client := newClient(t, b.stuck)
	for _, s := range []*server{idle, busy} {
		mustHold(t, s.name, flood(t, s.url, []string{held}, 1, 20))
	}
	for i := range b.stuck {
		stuck.Go(func() {
			path := fmt.Sprintf("/stuck.test/mod%d/@v/v1.0.0.info", i)
			_, _ = fetch(ctx, client, busy.url+path, make([]byte, 1000)) // it ends with ctx
		})
	}
	_ = pause(ctx, b.spread)

	waits := map[*server][]time.Duration{}
	var tails, misses = map[*server][]time.Duration{}, map[*server][]time.Duration{}
	late := 0
	for range b.rounds {
		for _, s := range []*server{idle, busy} {
			var round []time.Duration
			answers := flood(t, s.url, []string{held}, 1, b.latency)
			mustHold(t, s.name, answers)
			for _, a := range answers {
				round = append(round, a.whole)
			}
			waits[s], tails[s] = append(waits[s], round...), append(tails[s], quantile(round, 0.99))
			for range b.misses {
				took, ok := miss(t, s.url+"/"+others[0])
				others = others[1:]
				misses[s] = append(misses[s], took)
				if !ok {
					late++
				}
			}
		}
	}
	mine, base := quantile(tails[busy], 0.5), quantile(tails[idle], 0.5)
	head := fmt.Sprintf("%d misses stuck at %s", b.stuck, what)
	b.add(t, line{head + ": p99 of a held .info to idle", sys.name, ratio(mine, base), "×", sys.target(2),
		fmt.Sprintf("%s; idle %s; p50 %s, idle %s", short(mine), short(base), short(quantile(waits[busy], 0.5)), short(quantile(waits[idle], 0.5)))})
	mine, base = quantile(misses[busy], 0.5), quantile(misses[idle], 0.5)
	b.add(t, line{head + ": p50 of another miss to idle", sys.name, ratio(mine, base), "×", sys.target(2),
		fmt.Sprintf("%s; idle %s; not answered within %s: %d", short(mine), short(base), missLimit, late)})
	idle.kill()
	busy.kill()
}

// miss asks for what is not held, and reports whether it came in time.
func miss(t *testing.T, url string) (time.Duration, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), missLimit)
	defer cancel()
	begin := time.Now()
	a, err := fetch(ctx, newClient(t, 1), url, make([]byte, 64<<10))
	return time.Since(begin), err == nil && a.status == 200
}
