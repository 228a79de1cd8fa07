package bench_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

// measureLarge has many clients ask for one large zip that is not held, from an
// upstream that sends each answer at a certain speed.
func measureLarge(t *testing.T, b *table) {
	v := newZip(t, "large.test/mod", "v1.0.0", b.large)
	zip := paths([]*modtest.Version{v}, ".zip")
	upstream := modtest.NewGoProxy(t, v)
	upstream.Break("*.zip", paced(b.rate))
	upstream.Break("", modtest.Delay(b.away))
	env := modtest.NewGo(t, nil).Env()

	type times struct{ first, worst, last time.Duration }
	ask := func(url string, clients int) times {
		var firsts, wholes []time.Duration
		answers := flood(t, url, zip, clients, clients)
		mustHold(t, url, answers)
		for _, a := range answers {
			if a.bytes != int64(len(v.Zip)) {
				t.Fatalf("%d bytes of a zip of %d", a.bytes, len(v.Zip))
			}
			firsts, wholes = append(firsts, a.first), append(wholes, a.whole)
		}
		return times{quantile(firsts, 0.5), quantile(firsts, 1), quantile(wholes, 1)}
	}
	all := systems()
	var direct []times
	crowd, spent, calls := make([][]times, len(all)), make([][]cost, len(all)), make([]int, len(all))
	for range b.rounds {
		direct = append(direct, ask(upstream.URL, 1))
		for i, sys := range all {
			s := sys.start(t, t.TempDir(), upstream.URL, env)
			upstream.Reset()
			crowd[i] = append(crowd[i], ask(s.url, b.clients))
			calls[i] = max(calls[i], upstream.Count("*.zip"))
			spent[i] = append(spent[i], cost{cpu: s.cpu(t)})
			s.kill()
		}
	}
	last := func(x times) time.Duration { return x.last }
	first := func(x times) time.Duration { return x.first }
	what := fmt.Sprintf("one cold zip of %d MB, %d clients", b.large>>20, b.clients)
	for i, sys := range all {
		b.add(t, line{what + ": upstream fetches", sys.name, float64(calls[i]), "calls", sys.target(1), ""})
		mine, base := middle(crowd[i], last), middle(direct, last)
		b.add(t, line{what + ": last one done", sys.name, ratio(mine, base), "×", sys.target(1.4),
			fmt.Sprintf("%s; one direct client %s; CPU of the proxy %s", short(mine), short(base), short(median(spent[i]).cpu))})
		mine, base = middle(crowd[i], first), middle(direct, first)
		b.add(t, line{what + ": first byte", sys.name, ratio(mine, base), "×", sys.target(2),
			fmt.Sprintf("%s, the last client's %s; one direct client %s",
				short(mine), short(middle(crowd[i], func(x times) time.Duration { return x.worst })), short(base))})
	}
}
