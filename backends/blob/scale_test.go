package blob_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// clients is what they ask of a number of proxies behind one name.
type clients struct {
	proxies  int
	rate     int // requests a second, of all together
	versions int // that are asked for, some far more often than others
	signed   bool
}

// bucketLoad is requests of the bucket, a second.
type bucketLoad struct{ meta, zip float64 }

// simulate plays ten minutes of requests after ten that warm up. It goes by what a
// request costs the bucket, which TestRequests counts: an .info or .mod nothing
// while its version is in memory, else one GET for both; a zip one GET, and a
// HEAD if its size is not in memory. A signed URL costs the proxy the HEAD alone.
// Of each four requests one is for a zip: a build asks for more .mods than zips.
func simulate(l clients) (a bucketLoad) {
	const keep, run = 5 * time.Minute, 20 * time.Minute
	random := rand.New(rand.NewPCG(1, 2))
	popular := rand.NewZipf(random, 1.1, 10, uint64(l.versions-1))
	type seen struct{ meta, zip time.Duration } // until when it is in memory
	memory := make([]map[uint64]seen, l.proxies)
	for i := range memory {
		memory[i] = map[uint64]seen{}
	}
	step := time.Second / time.Duration(l.rate)
	for now := time.Duration(0); now < run; now += step {
		m, v := memory[random.IntN(l.proxies)], popular.Uint64()
		s, counts := m[v], now >= run/2
		if random.IntN(4) > 0 {
			if s.meta < now {
				s.meta = now + keep
				if counts {
					a.meta++
				}
			}
		} else {
			if s.zip < now {
				s.zip = now + keep
				if counts {
					a.zip++ // the HEAD
				}
			}
			if counts && !l.signed {
				a.zip++
			}
		}
		m[v] = s
	}
	seconds := (run / 2).Seconds()
	return bucketLoad{a.meta / seconds, a.zip / seconds}
}

// TestScale prints the table of docs/scale.md, and sees to it that what it says
// in words holds: more proxies cost more requests, but never more than clients make.
func TestScale(t *testing.T) {
	last := 0.0
	for _, l := range []clients{
		{proxies: 1, rate: 100, versions: 100_000},
		{proxies: 3, rate: 1000, versions: 1_000_000},
		{proxies: 10, rate: 1000, versions: 1_000_000},
		{proxies: 100, rate: 1000, versions: 1_000_000},
		{proxies: 100, rate: 1000, versions: 1_000_000, signed: true},
	} {
		a := simulate(l)
		t.Logf("| %d | %d | %d | %v | %.0f | %.0f | %.2f |", l.proxies, l.rate, l.versions, l.signed, a.meta, a.zip, (a.meta+a.zip)/float64(l.rate))
		if all := a.meta + a.zip; all > 1.25*float64(l.rate) {
			t.Errorf("%s: %.0f requests a second", fmt.Sprint(l), all)
		}
		if l.rate == 1000 && !l.signed {
			if a.meta < last {
				t.Errorf("%s: fewer requests than with fewer proxies", fmt.Sprint(l))
			}
			last = a.meta
		}
	}
}
